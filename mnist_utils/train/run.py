"""A run and what it leaves: checkpoints while it goes on, weights and history at its end."""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from mnist_utils import data, weights
from mnist_utils.command import Stop
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.files import check_writable, write_atomically
from mnist_utils.train import checkpoint, machine, parallel, progress, sampling
from mnist_utils.train.loop import Training, fit


def train(
    settings: TrainConfig,
    out: Path,
    *,
    data_dir: str | Path | None = None,
    resume: bool = False,
    checkpoints: Path | None = None,
    trained: nn.Module | None = None,
    watch: Callable[[dict], None] = lambda row: None,
) -> Training:
    """Train to the end, saving a checkpoint every epoch, then the weights and the history.

    Parameters
    ----------
    settings : TrainConfig
    out : Path
        Receives `checkpoint.safetensors`, `model.safetensors` and `history.json`.
    data_dir : path, optional
        Folder of the MNIST files, if not the bundle.
    resume : bool
        Go on from the checkpoint, if there is one.
    checkpoints : Path, optional
        Where the checkpoint lies, if not in `out`.
    trained : nn.Module, optional
        Its weights are trained on, in place of random ones; of the class that `settings` name.
    watch : callable
        Sees each row of the history, those of a resumed run included.

    Raises
    ------
    InputError
        Unusable data, checkpoint or folder, or a loss that is no longer finite.
    KeyboardInterrupt
        Ctrl-C or SIGTERM, with a message that says what is saved.
    """
    torch.set_num_threads(settings.threads)
    machine.keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    split, held_out = splits(settings, data_dir)
    if settings.augmentation != "albumentations":  # which works on the CPU
        split = data.Split(split.images.to(device), split.labels.to(device))
    for size in sampling.epoch_sizes(len(split), settings)[:2]:
        parallel.check(size, settings.batch_size)
    path = (checkpoints or out) / "checkpoint.safetensors"
    with parallel.group(device):
        run = Training.start(settings, len(split), device, trained)
        if resume:
            _resume(run, path, watch)
        check_writable(out, path.parent)
        try:
            _fit(run, split, held_out, path, watch)
        except KeyboardInterrupt as stop:
            raise type(stop)(_what_is_saved(run, path)) from None
    if parallel.is_first_process():
        about = {"model": settings.model, "config": settings.to_dict()}
        weights.save_network(out / "model.safetensors", run.evaluated, about)
        history = json.dumps(describe_run(run, device, held_out), indent=1)
        write_atomically(out / "history.json", history + "\n")
    return run


def splits(settings: TrainConfig, data_dir: str | Path | None) -> tuple[data.Split, data.Split]:
    """The digits to train on, and those held out: of the training digits, or the test digits."""
    split = data.load(data_dir, train=True)
    if settings.validation:
        split, held_out = data.hold_out(split, settings.validation)
    else:
        held_out = data.load(data_dir, train=False)
    split = split.take(slice(settings.subset)) if settings.subset else split
    return tuple(data.scaled(part, settings.side, settings.canvas) for part in (split, held_out))


def _fit(run: Training, split: data.Split, held_out: data.Split, path: Path, watch) -> None:
    """The loop, with a bar, a line and a checkpoint per epoch, and Ctrl-C between two steps."""
    settings = run.config
    sizes = sampling.epoch_sizes(len(split), settings)

    def after_epoch(row: dict) -> None:
        parts = bar.parts()
        if settings.epochs == 1:
            row["within"] = parts
        if not parallel.is_first_process():
            return
        about = {"config": settings.to_dict(), "history": run.history}
        checkpoint.save_training(path, run, about)
        tqdm.write(progress.line(row))  # now that it is saved: a log never promises more
        sys.stdout.flush()
        watch(row)

    with (
        Stop() as stop,
        progress.Bar(sizes, len(run.history), stop.check) as bar,
    ):
        fit(run, split, held_out, bar.follow, after_epoch)


def _what_is_saved(run: Training, path: Path) -> str:
    done = len(run.history)
    if not done:
        return "before the first epoch ended; nothing was written"
    return (
        f"epochs 1 to {done} of {run.config.epochs} are saved in {path}; the same command with "
        "--resume goes on"
    )


# What may differ between a checkpoint's run and the run that resumes it.
_FREE = {"threads", "workers"}


def _resume(run: Training, path: Path, watch: Callable[[dict], None]) -> None:
    """Restore the state after the last whole epoch, if there is one."""
    if not path.exists():
        if parallel.is_first_process():
            print(f"nothing to resume in {path.parent}: starting at epoch 1", flush=True)
        return
    about = checkpoint.load_training(path, run)
    before, now = TrainConfig.from_dict(about["config"]).to_dict(), run.config.to_dict()
    if changed := [name for name in now if name not in _FREE and before[name] != now[name]]:
        differences = ", ".join(f"{name} {before[name]} → {now[name]}" for name in changed)
        raise InputError(
            f"{path} was trained otherwise ({differences}); give the same options, or another --out"
        )
    run.history[:] = about["history"]
    print(f"resuming after epoch {len(run.history)} of {run.config.epochs}", flush=True)
    for row in run.history:
        watch(row)


def describe_run(run: Training, device: str, held_out: data.Split) -> dict:
    """The content of `history.json`: what ran, on what, and every epoch's figures."""
    last = run.history[-1]
    return {
        "config": run.config.to_dict(),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "held_out": last["held_out"],
        "digits": len(held_out),
        "errors": run.evaluation.n_errors,
        "mistakes": run.evaluation.mistakes.tolist(),
        "held_out_accuracy": last["held_out_accuracy"],
        "held_out_loss": last["held_out_loss"],
        "train_accuracy": last["train_accuracy"],
        "train_loss": last["train_loss"],
        "wall_seconds": sum(row["seconds"] for row in run.history),
        "cpu_seconds": sum(row["cpu_seconds"] for row in run.history),
        "precision": run.precision,
        "machine": machine.describe(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "epochs": run.history,
    }
