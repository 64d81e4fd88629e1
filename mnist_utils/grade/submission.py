"""What a student hands in, read with care: regular files of a sensible size, and nothing else."""

import csv
import io
import json
import math
import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from mnist_utils.checks.recurrence import Row
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

MODELS = ("Model1", "Model2", "Model3")
COLUMNS = (
    "model", "layer", "kernel_size", "stride", "padding", "dilation",
    "size", "receptive_field", "jump", "start",
)  # fmt: skip
LARGEST = 1 << 20  # bytes of a file
MOST_FILES = 60  # of a kind
LARGEST_BATCH = 512  # for which a core's memory is enough
# What training.toml may not decide.
OURS = {"model", "seed", "validation", "evaluate_every", "subset", "threads", "workers"}


@dataclass(frozen=True)
class Entry:
    """A row of fields.csv."""

    layer: str
    window: tuple[float, float, float, float]  # kernel size, stride, padding, dilation
    row: Row


@dataclass
class Submission:
    """A folder as it was handed in; what could not be read is in `problems`, by file."""

    folder: Path
    code: dict[str, bytes] = field(default_factory=dict)  # model.py, and other .py beside it
    table: dict[str, list[Entry]] = field(default_factory=dict)
    analysis: str = ""
    training: dict = field(default_factory=dict)
    runs: dict[str, dict] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises
    ------
    InputError
        It is missing, a link, a device, or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InputError("is missing") from None
    except OSError as error:
        linked = path.is_symlink()
        raise InputError(
            "is a link; hand in the file itself" if linked else error.strerror
        ) from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InputError("is no file")
        if about.st_size > LARGEST:
            raise InputError(f"has {about.st_size:,} bytes; {LARGEST:,} are the most")
        return file.read(LARGEST + 1)[:LARGEST]


def read(folder: Path) -> Submission:
    """Read a folder; whatever is wrong with a file is noted, and the others are read."""
    found = Submission(folder)
    readers = {
        "model.py": _code,
        "fields.csv": _table,
        "analysis.md": _analysis,
        "training.toml": _training,
    }
    for name, reader in readers.items():
        try:
            reader(found, read_file(folder / name))
        except InputError as error:
            if name != "training.toml" or str(error) != "is missing":
                found.problems[name] = str(error)
    _runs(found)
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is no UTF-8 text") from None


def _code(found: Submission, content: bytes) -> None:
    found.code["model.py"] = content
    for path in sorted(found.folder.glob("*.py"))[:MOST_FILES]:
        try:
            found.code[path.name] = read_file(path)
        except InputError as error:
            found.problems[path.name] = str(error)


def _table(found: Submission, content: bytes) -> None:
    try:
        table = csv.DictReader(io.StringIO(_text(content)), skipinitialspace=True)
        names, rows = table.fieldnames or [], list(table)
    except csv.Error as error:
        raise InputError(f"is no table: {error}") from None
    if missing := [name for name in COLUMNS if name not in names]:
        raise InputError(f"has no column {missing[0]!r}; its first line is {','.join(COLUMNS)}")
    if not rows:
        raise InputError("has no line below its first: write one for each layer")
    for line, row in enumerate(rows, start=2):
        model = (row["model"] or "").strip()
        if model not in MODELS:
            raise InputError(f"line {line}: {model!r} is not one of {', '.join(MODELS)}")
        numbers = [_number(line, name, row[name]) for name in COLUMNS[2:]]
        entry = Entry((row["layer"] or "").strip(), tuple(numbers[:4]), Row(*numbers[4:]))
        found.table.setdefault(model, []).append(entry)


def _number(line: int, name: str, text: str | None) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise InputError(f"line {line}, {name}: {text!r} is no number") from None
    if not math.isfinite(value):
        raise InputError(f"line {line}, {name}: {text!r} is no number")
    return int(value) if value == int(value) else value


def _analysis(found: Submission, content: bytes) -> None:
    found.analysis = _text(content)


def _training(found: Submission, content: bytes) -> None:
    try:
        asked = tomllib.loads(_text(content))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is no TOML: {error}") from None
    if ours := sorted(set(asked) & OURS):
        raise InputError(f"sets {ours[0]}, which the grader decides")
    config = TrainConfig.from_dict(asked | {"augmentation": "batch", "workers": 0})
    if config.batch_size > LARGEST_BATCH:
        raise InputError(f"sets batch_size = {config.batch_size}; {LARGEST_BATCH} are the most")
    found.training = asked


def _runs(found: Submission) -> None:
    runs = found.folder / "runs"
    paths = [] if runs.is_symlink() else sorted(runs.glob("*/history.json"))[:MOST_FILES]
    if runs.is_symlink():
        found.problems["runs/"] = "is a link; hand in the folder itself"
    for path in paths:
        name = str(path.relative_to(found.folder))
        try:
            if path.parent.is_symlink():
                raise InputError("lies behind a link; hand in the folder itself")
            history = json.loads(_text(read_file(path)))
            rows, config = history["epochs"], history["config"]
            [(row["epoch"], row["held_out"], row.get("held_out_accuracy")) for row in rows]
            if not rows:
                raise InputError("has no epochs")
            config["epochs"] + config["validation"] + history["held_out_accuracy"]
            found.runs[name] = history
        except InputError as error:
            found.problems[name] = str(error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found.problems[name] = "is no history of `mnist_utils.train`"
