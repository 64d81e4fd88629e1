"""What travels: the source to a container, the model back in a model.tar.gz that is not trusted."""

import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_utils.errors import InputError
from mnist_utils.files import ROOT
from mnist_utils.train import options

# The container has torch, torchvision, numpy; these may be missing.
REQUIREMENTS = ("safetensors>=0.4", "scipy>=1.10", "tqdm>=4.60", "matplotlib>=3.8")
MOST_BYTES, MOST_LEVELS = 500_000_000, 10  # of an archive, unpacked: ours has 100 KB, 3 levels
AUGMENTATION = ("albumentations==2.0.8", "opencv-python-headless>=4.10")
TRACKING = ("mlflow>=3.1", "sagemaker-mlflow>=0.1")


@contextmanager
def training_source(hyperparameters: dict) -> Iterator[Path]:
    """A folder with what the container needs: the packages, its entry script, requirements."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        copy_package(folder)
        (folder / "train.py").write_text(
            "from cloud.container import main\n"
            "from mnist_utils import command\n\n"
            "command.run(main)\n"
        )
        requirements = list(REQUIREMENTS)
        with suppress(InputError):  # of bad hyperparameters the container will tell
            if options.resolve(hyperparameters).augmentation == "albumentations":
                requirements += AUGMENTATION
        if os.environ.get("MLFLOW_TRACKING_URI"):
            requirements += TRACKING
        (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
        yield folder


def copy_package(folder: Path) -> None:
    """Copy `mnist_utils`, and of `cloud` the container's side."""
    for package, stay_here in (("mnist_utils", ()), ("cloud", ("jobs", "rehearsal"))):
        unwanted = shutil.ignore_patterns("__pycache__", *stay_here)
        shutil.copytree(ROOT / package, folder / package, ignore=unwanted)


@contextmanager
def serving_code() -> Iterator[Path]:
    """A folder with what the endpoint needs beside the weights."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        copy_package(folder)
        (folder / "inference.py").write_text(
            "from cloud.serve.handlers import input_fn, model_fn, output_fn, predict_fn\n"
        )
        yield folder  # without requirements.txt: nothing to fetch from the internet at every start


@contextmanager
def whole(name: str | Path) -> Iterator[None]:
    """Context in which an archive that is truncated or damaged is an InputError."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(
            f"{name} is truncated or damaged ({error}); fetch it again, or train again"
        ) from None


def unpack(archive: Path, out: Path) -> None:
    """Unpack a .tar.gz, wholly or not at all; only plain files and folders, only inside `out`.

    Raises
    ------
    InputError
        A member that would land elsewhere or is a link or a device; a truncated archive, or one
        that is too large or too deep unpacked.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole(archive.name),
        tarfile.open(archive, "r:gz") as tar,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as folder,
    ):
        total = 0
        for member in tar:
            path, total = Path(member.name), total + member.size
            if total > MOST_BYTES or len(path.parts) > MOST_LEVELS:
                raise InputError(
                    f"{archive.name}: more than {MOST_BYTES / 1e6:.0f} MB unpacked, or "
                    f"{MOST_LEVELS} levels of folders: no model of ours"
                )
            if path.is_absolute() or ".." in path.parts:
                raise InputError(f"{archive.name}: {member.name!r} would land outside {out}")
            if not (member.isfile() or member.isdir()):
                raise InputError(f"{archive.name}: {member.name!r} is not a plain file")
            tar.extract(member, folder, filter="data")
        shutil.copytree(folder, out, dirs_exist_ok=True)


RAY_CONFIG = """\
applications:
  - name: digits
    route_prefix: /
    import_path: cloud.serve.ray:app
"""


def pack(model_dir: str | Path, archive: str | Path) -> None:
    """Write the model.tar.gz that the Ray Serve image serves: weights, source, configuration."""
    with tempfile.TemporaryDirectory() as folder, serving_code() as code:
        folder = Path(folder)
        shutil.copy(Path(model_dir, "model.safetensors"), folder)
        for package in ("mnist_utils", "cloud"):
            shutil.move(code / package, folder)
        (folder / "config.yaml").write_text(RAY_CONFIG)
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
