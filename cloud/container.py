"""Training in SageMaker's container: its options, its folders, its failure file, its GPU."""

import functools
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_utils.errors import InputError
from mnist_utils.train import options
from mnist_utils.train.__main__ import run

SEARCH = "MNIST_SEARCH"  # `jobs.tune` sets it: the toolkit hides from a trial that it is one
LONGEST_REASON = 1024  # characters of the failure file that SageMaker shows as FailureReason


def words(arguments: list[str]) -> list[str]:
    """The command line as `train` spells it.

    A job's hyperparameters arrive as `--batch_size 64 --resume true`, or, where the job runs a
    command of its own, in `SM_HPS` alone. What SageMaker adds for itself is dropped.
    """
    if not arguments:
        for name, value in _hyperparameters().items():
            arguments = [*arguments, f"--{name}", _text(value)]
    result, words = [], iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name.startswith(("--sagemaker_", "--_tuning")):
            next(words, None)
        elif word in ("true", "True"):
            pass  # a switch: its name alone turns it on
        elif word in ("false", "False"):
            result.pop()
        else:
            result.append(name.replace("_", "-") + equals + value if name[:2] == "--" else word)
    return result


def _hyperparameters() -> dict:
    text = os.environ.get("SM_HPS", "{}")
    try:
        hyperparameters = json.loads(text)
    except ValueError:
        hyperparameters = None
    if not isinstance(hyperparameters, dict):
        raise InputError(f"SM_HPS={text[:60]!r} is not a JSON object of hyperparameters")
    return hyperparameters


def _text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def data_folder() -> str | None:
    """The channel with the four MNIST files, or None: the bundle."""
    return os.environ.get("SM_CHANNEL_TRAIN") or os.environ.get("SM_CHANNEL_TRAINING")


def checkpoint_folder() -> Path:
    """SageMaker copies this folder to S3 as it changes, and back when a job starts again."""
    folder = os.environ.get("CHECKPOINT_DIR") or "/opt/ml/checkpoints"
    trial = os.environ.get("TRAINING_JOB_NAME", "") if os.environ.get(SEARCH) else ""
    return Path(folder, trial)  # a trial has its own


def check_gpu() -> None:
    """Raise InputError on an instance whose GPU torch does not see: days, at a GPU's price."""
    import torch

    instance = os.environ.get("SM_CURRENT_INSTANCE_TYPE", "")
    if re.match(r"ml\.(g|p)\d", instance) and not torch.cuda.is_available():
        cuda = torch.version.cuda or "none"
        need = {"13": "580", "12": "525"}.get(cuda.split(".")[0], "its own")
        raise InputError(
            f"{instance} has a GPU, but torch {torch.__version__} (CUDA {cuda}) sees none: it "
            f"needs driver {need} or newer, the machine has {_driver()}; choose an image whose "
            "CUDA that driver supports"
        )


def _driver() -> str:
    """The version of NVIDIA's driver, as the kernel tells it."""
    try:
        return re.search(r"\d+\.[\d.]+", Path("/proc/driver/nvidia/version").read_text())[0]
    except (OSError, TypeError):
        return "none that it shows"


def reports_failure(command: Callable[[], int | None]) -> Callable[[], int | None]:
    """Decorate a command: why it failed goes to the failure file, line 1.

    A job that was stopped has not failed.
    """

    @functools.wraps(command)
    def run() -> int | None:
        try:
            return command()
        except InputError as error:
            _report(str(error))
            raise
        except SystemExit as stop:
            if stop.code:
                _report(f"exit status {stop.code}")
            raise
        except Exception as error:
            _report(f"{type(error).__name__}: {error}", traceback.format_exc())
            raise

    return run


def _report(reason: str, details: str = "") -> None:
    folder = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))
    first = " ".join(reason.split())[:LONGEST_REASON]
    with suppress(OSError):  # then the log alone has it
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failure").write_text(f"{first}\n{details}")


@reports_failure
def main() -> None:
    """What a job's container runs, in place of `python -m mnist_utils.train`."""
    asked = options.parse(words(sys.argv[1:]))
    check_gpu()
    out = Path(asked.out or os.environ["SM_MODEL_DIR"])  # at the job's end it becomes model.tar.gz
    places = {"resume": True, "checkpoints": checkpoint_folder()}
    run(asked, out, asked.data or data_folder(), **places)
