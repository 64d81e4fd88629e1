"""Step, epoch, fit, resume: one loop for every recipe, on a laptop and in a container.

Command line: `python -m mnist_utils.train --help`.
"""

import argparse
import ctypes
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from mnist_utils import (
    augment,
    checkpoint,
    config,
    container,
    data,
    errors,
    evaluate,
    models,
    parallel,
    recipes,
    tracking,
)
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

try:
    import resource
except ImportError:  # Windows
    resource = None

# --- the loop -----------------------------------------------------------------------------------


@dataclass
class Training:
    """A run in progress: what learns, and the history of the epochs it has finished."""

    config: TrainConfig
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    replica: nn.Module  # `model` itself, or what averages its gradients over processes
    history: list[dict] = field(default_factory=list)

    @classmethod
    def start(cls, config: TrainConfig, device: str = "cpu") -> "Training":
        """Seeded weights, Adam, and the moving average if the configuration asks for one."""
        torch.manual_seed(config.seed)
        model = models.build(config.model).to(device, memory_format=torch.channels_last)
        model = parallel.synchronize(model)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        average = AveragedModel(model, use_buffers=True) if config.ema else None
        return cls(config, model, optimizer, average, parallel.replicate(model))

    @property
    def evaluated(self) -> nn.Module:
        """The network that is tested and kept."""
        return self.average.module if self.average is not None else self.model


def loss_function(log_probabilities: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Negative log likelihood, mean over the batch, of smoothed targets (Szegedy et al. 2016)."""
    loss = F.nll_loss(log_probabilities, labels)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_probabilities.mean()
    return loss


def learning_rate(step: int, total: int, config: TrainConfig) -> float:
    """The rate of a step, counted from 0, of `total` steps."""
    if config.schedule == "constant":
        return config.lr
    warmup = config.warmup * total
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    return config.lr * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


def averaging_decay(total: int, config: TrainConfig) -> float:
    """The decay a step of the moving average, in a run of `total` steps.

    The average reaches back 1 / (1 − decay) steps. More than an eighth of the run would hold on to
    weights from before the network had learnt anything.
    """
    return max(0.0, min(config.ema, 1 - 8 / total))


def train_epoch(
    run: Training, split: data.Split, epoch: int, progress: Callable[[int, Tensor, Tensor], None]
) -> dict:
    """One pass over `split`; mean loss and accuracy as seen while training, augmentation and all.

    `progress` is called after each step with digits seen, the sum of their losses, hits so far.
    """
    settings, model = run.config, run.model.train()
    device = next(model.parameters()).device
    steps = math.ceil(len(split) / settings.batch_size)
    if run.average is not None:
        decay = averaging_decay(settings.epochs * steps, settings)
        run.average.multi_avg_fn = get_ema_multi_avg_fn(decay)
    torch.manual_seed(augment.epoch_seed(settings.seed, epoch))  # dropout's; see training_batches
    seen, loss_sum, right = 0, torch.zeros((), device=device), torch.zeros((), device=device)
    batches = augment.training_batches(split, settings, epoch, device)
    for step, (images, labels) in enumerate(batches, start=(epoch - 1) * steps):
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(step, settings.epochs * steps, settings)
        n = len(labels)
        images, labels = parallel.share(images), parallel.share(labels)
        log_probabilities = run.replica(images.contiguous(memory_format=torch.channels_last))
        loss = loss_function(log_probabilities, labels, settings.label_smoothing)
        run.optimizer.zero_grad()
        parallel.weigh(loss, len(labels), n).backward()
        run.optimizer.step()
        if run.average is not None:
            run.average.update_parameters(model)
        seen += n
        loss_sum += loss.detach() * len(labels)
        right += (log_probabilities.argmax(dim=1) == labels).sum()
        progress(seen, loss_sum, right)
    loss_sum, right = parallel.total(loss_sum), parallel.total(right)
    return {"train_loss": loss_sum.item() / seen, "train_accuracy": right.item() / seen}


def fit(
    run: Training, split: data.Split, held_out: data.Split, after_epoch: Callable[[dict], None]
) -> None:
    """Train from the epoch after `run.history` to the last; `after_epoch` sees each new row."""
    settings = run.config
    total, done = settings.epochs * len(split), len(run.history) * len(split)
    bar = tqdm(total=total, initial=done, unit=" digits", disable=not sys.stderr.isatty())
    within = []  # a run of one epoch has its curve from within: 20 sums so far

    def progress(seen: int, loss_sum: Tensor, right: Tensor) -> None:
        stop.check()
        bar.update(len(run.history) * len(split) + seen - bar.n)
        if not bar.disable and seen // settings.batch_size % 50 == 1:
            bar.set_postfix_str(f"loss {loss_sum / seen:.4f}, accuracy {right / seen:.2%}")
        if settings.epochs == 1 and seen * 20 >= len(split) * (len(within) + 1):
            within.append((seen, loss_sum.item(), right.item()))

    with bar, errors.Stop() as stop:
        for epoch in range(len(run.history) + 1, settings.epochs + 1):
            bar.set_description(f"epoch {epoch}/{settings.epochs}")
            before = _clock()
            row = {"epoch": epoch} | train_epoch(run, split, epoch, progress)
            if not math.isfinite(row["train_loss"]):
                raise InputError(
                    f"the loss is {row['train_loss']} in epoch {epoch}: --lr {settings.lr} is too "
                    "high; choose a smaller one"
                )
            last = epoch == settings.epochs
            due = last or (settings.evaluate_every and epoch % settings.evaluate_every == 0)
            if due and parallel.rank() == 0:
                result = evaluate.evaluate(run.evaluated, held_out)
                row |= {"test_loss": result.loss, "test_accuracy": result.accuracy}
            if within:
                row["within"] = _means_between(within)
            wall, cpu = _clock()
            row |= {"seconds": wall - before[0], "cpu_seconds": cpu - before[1]}
            run.history.append(row)
            after_epoch(row)


def _means_between(sums: list[tuple[int, float, int]]) -> list[dict]:
    """Mean loss and accuracy from one (digits, sum of losses, hits) so far to the next."""
    rows = []
    for (n0, loss0, right0), (n, loss, right) in pairwise([(0, 0.0, 0), *sums]):
        means = {
            "train_loss": (loss - loss0) / (n - n0),
            "train_accuracy": (right - right0) / (n - n0),
        }
        rows.append({"epoch": n / sums[-1][0]} | means)
    return rows


def _clock() -> tuple[float, float]:
    """(wall, CPU) seconds; the CPU's include the loader processes that have ended."""
    if resource is None:
        return time.perf_counter(), time.process_time()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in used)


# --- a run and what it leaves -------------------------------------------------------------------


def train(
    settings: TrainConfig,
    data_dir: str | Path | None,
    out: Path,
    resume: bool = False,
    *,
    checkpoints: Path | None = None,
    watch: Callable[[dict], None] = lambda row: None,
) -> Training:
    """Train to the end, saving a checkpoint every epoch, then the weights and the history.

    Parameters
    ----------
    settings : TrainConfig
    data_dir : path or None
        Folder of the MNIST files; None is the bundle.
    out : Path
        Receives `checkpoint.safetensors`, `model.safetensors` and `history.json`.
    resume : bool
        Go on from the checkpoint, if there is one.
    checkpoints : Path, optional
        Where the checkpoint lies, if not in `out`.
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
    keep_freed_memory()
    container.check_gpu()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    split, held_out = _splits(settings, data_dir)
    parallel.check(len(split), settings.batch_size)
    path = (checkpoints or out) / "checkpoint.safetensors"
    chief = parallel.rank() == 0

    def after_epoch(row: dict) -> None:
        if not chief:
            return
        tqdm.write(_line(row, "validation" if settings.validation else "test"))
        sys.stdout.flush()
        about = {"config": settings.to_dict(), "history": run.history}
        checkpoint.save_training(path, run.model, run.optimizer, run.average, about)
        watch(row)

    with parallel.group(device):
        run = Training.start(settings, device)
        if resume and path.exists():
            _restore(run, path)
            for row in run.history:
                watch(row)
        elif resume and chief:
            print(f"nothing to resume in {path.parent}: starting at epoch 1", flush=True)
        try:
            fit(run, split, held_out, after_epoch)
        except KeyboardInterrupt as stop:
            done = len(run.history)
            stop.args = (
                f"epochs 1 to {done} of {settings.epochs} are saved in {path}; the same command "
                "with --resume goes on"
                if done
                else "before the first epoch ended; nothing was written",
            )
            raise
    if chief:
        about = {"model": settings.model, "config": settings.to_dict()}
        evaluate.save_weights(out / "model.safetensors", run.evaluated, about)
        story = describe_run(run, device, held_out)
        checkpoint.write_atomically(out / "history.json", json.dumps(story, indent=1) + "\n")
    return run


def keep_freed_memory() -> None:
    """Tell glibc to keep what freed tensors leave, up to 2 GiB, for the next step.

    By default it returns the memory to the system after every step, which then costs a third of
    the next one in page faults. Rounding is the same. Other C libraries: no effect.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD: man mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (2 << 30) - 1)


def describe_run(run: Training, device: str, held_out: data.Split) -> dict:
    """The content of `history.json`: what ran, on what, and every epoch's figures."""
    last = run.history[-1]
    return {
        "config": run.config.to_dict(),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "evaluated_on": "validation" if run.config.validation else "test",
        "errors": round((1 - last["test_accuracy"]) * len(held_out)),
        "test_accuracy": last["test_accuracy"],
        "test_loss": last["test_loss"],
        "train_accuracy": last["train_accuracy"],
        "train_loss": last["train_loss"],
        "wall_seconds": sum(row["seconds"] for row in run.history),
        "cpu_seconds": sum(row["cpu_seconds"] for row in run.history),
        "machine": machine(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "epochs": run.history,
    }


def _splits(settings: TrainConfig, data_dir) -> tuple[data.Split, data.Split]:
    split = data.load(data_dir, train=True)
    if settings.validation:
        split, held_out = data.hold_out(split, settings.validation)
    else:
        held_out = data.load(data_dir, train=False)
    return (split.take(slice(settings.subset)) if settings.subset else split), held_out


# What may differ between a checkpoint's run and the run that resumes it.
_FREE = {"threads", "workers"}


def _restore(run: Training, path: Path) -> None:
    about = checkpoint.load_training(path, run.model, run.optimizer, run.average)
    before, now = about["config"], run.config.to_dict()
    if changed := [name for name in now if name not in _FREE and before.get(name) != now[name]]:
        differences = ", ".join(f"{name} {before.get(name)} → {now[name]}" for name in changed)
        raise InputError(
            f"{path} was trained otherwise ({differences}); give the same options, or another --out"
        )
    run.history[:] = about["history"]
    print(f"resuming after epoch {len(run.history)} of {run.config.epochs}", flush=True)


def _line(row: dict, evaluated_on: str) -> str:
    """One epoch as `name=value` words, which log parsers read."""
    words = [f"epoch={row['epoch']}"]
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        if name in row:
            words.append(f"{name.replace('test', evaluated_on)}={row[name]:.4f}")
    return " ".join(words) + f" seconds={row['seconds']:.1f}"


def machine(device: str) -> dict:
    """What decides speed and rounding: processor, device, cores, instruction set."""
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# --- command line -------------------------------------------------------------------------------


def parser(defaults: TrainConfig) -> argparse.ArgumentParser:
    """Every field of TrainConfig as an option, with its help and its default."""
    result = errors.Parser(
        prog="python -m mnist_utils.train",
        description="Train a network on MNIST; leave weights, history and pictures. "
        "Options after --recipe change it; the defaults shown are the recipe's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    names = "|".join(recipes.RECIPES)
    result.add_argument("--recipe", metavar=names, default="course", help="where to start from")
    for item in fields(TrainConfig):
        result.add_argument(
            config.option_name(item),
            type=_reader(item),
            default=getattr(defaults, item.name),
            metavar="|".join(item.metadata["choices"] or ()) or item.name.split("_")[-1].upper(),
            help=item.metadata["help"],
        )
    result.add_argument(
        "--data", metavar="DIR", help="folder of the MNIST files, if not the bundle"
    )
    result.add_argument(
        "--out", metavar="DIR", help="what the run leaves (runs/RECIPE if not given)"
    )
    result.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --out, if there is one"
    )
    return result


def _reader(item):
    """Text to a field's type, or the one line that says why not."""

    def read(text: str):
        try:
            value = type(item.default)(text)
        except ValueError:
            value = text
        config.check(item, value)
        return value

    return read


@container.tells_failure
def main() -> None:
    words = container.options(sys.argv[1:])
    first = errors.Parser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", default="course")
    defaults = recipes.recipe(first.parse_known_args(words)[0].recipe)
    arguments = vars(parser(defaults).parse_args(words))
    names = {item.name for item in fields(TrainConfig)}
    settings = TrainConfig(**{name: arguments[name] for name in names})
    recipe = arguments["recipe"]
    out = Path(arguments["out"] or container.model_folder() or Path("runs", recipe))
    data_dir = arguments["data"] or container.data_folder()
    with tracking.run(settings, recipe) as tracker:
        run = train(
            settings,
            data_dir,
            out,
            arguments["resume"] or container.inside(),
            checkpoints=container.checkpoint_folder(),
            watch=tracker.epoch,
        )
        if parallel.rank() == 0:
            from mnist_utils import report  # costs a second that bad input need not wait for

            print(report.leave_report(run, data_dir, out))
            tracker.files(out)


if __name__ == "__main__":
    errors.run(main)
