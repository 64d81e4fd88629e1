"""Where things lie, and how a file is written: whole, or not at all."""

import os
import tempfile
from pathlib import Path

from mnist_utils.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
DATA, RESULTS = ROOT / "data", ROOT / "results"


def check_writable(*folders: Path) -> None:
    """Raise InputError for a folder in which nothing can be written, before work is spent on it."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise _cannot_write(folder, error) from None


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot write {path}: {error.strerror}; choose another folder")


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write to a temporary name beside `path`, then rename: a reader sees old or new, no mixture.

    Raises
    ------
    InputError
        The folder cannot be made or written.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as partial:
            partial.write(content)
            partial.flush()
            os.fsync(partial.fileno())
        os.chmod(partial.name, 0o644)  # temporary files start as 0600
        os.replace(partial.name, path)
    except OSError as error:
        raise _cannot_write(path, error) from None
