"""What a run tells while it goes on: a line per epoch, the patterns that read it, a bar."""

import sys
from collections.abc import Callable
from itertools import pairwise

from tqdm import tqdm

# Metric name -> what finds its value in a line that `line` wrote; SageMaker reads the log so.
PATTERNS = {
    f"{split}:{quantity}": rf"\b{split}_{quantity}=([0-9.]+)"
    for split in ("train", "test", "validation")
    for quantity in ("loss", "accuracy")
}
PARTS = 20  # of an epoch that is followed from within


def figures(row: dict) -> dict[str, float]:
    """A history row's losses and accuracies, the held-out ones called test or validation."""
    named = {}
    for name in ("train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy"):
        if name in row:
            named[name.replace("held_out", row.get("held_out", ""))] = row[name]
    return named


def line(row: dict) -> str:
    """One epoch as `name=value` words."""
    words = [f"{name}={value:.4f}" for name, value in figures(row).items()]
    return " ".join([f"epoch={row['epoch']}", *words, f"seconds={row['seconds']:.1f}"])


class Bar:
    """A progress bar over all digits of a run, where stderr is a terminal.

    `sizes` are the digits of each epoch, `done` counts the epochs of an earlier run. `follow` keeps
    what it has seen of the epoch in progress, for `parts`.
    """

    def __init__(self, sizes: list[int], done: int, check: Callable[[], None]):
        self.sizes, self.check = sizes, check
        self.sums: list[tuple[int, float, int]] = []
        self.bar = tqdm(
            total=sum(sizes),
            initial=sum(sizes[:done]),
            unit=" digits",
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def follow(self, epoch: int, seen: int, loss_sum, hits) -> None:
        """After a step: digits seen in this epoch, the sum of their losses, hits so far."""
        self.check()
        self.bar.update(sum(self.sizes[: epoch - 1]) + seen - self.bar.n)
        digits = self.sizes[epoch - 1]
        if len(self.sums) * digits <= seen * PARTS - digits:
            self.sums.append((seen, loss_sum.item(), hits.item()))
            self.bar.set_description(f"epoch {epoch}/{len(self.sizes)}")
            self.bar.set_postfix_str(f"loss {loss_sum / seen:.4f}, accuracy {hits / seen:.2%}")

    def parts(self) -> list[dict]:
        """Mean loss and accuracy of each part of the epoch that has just ended."""
        rows = []
        for (n0, loss0, hits0), (n, loss, hits) in pairwise([(0, 0.0, 0), *self.sums]):
            means = {
                "train_loss": (loss - loss0) / (n - n0),
                "train_accuracy": (hits - hits0) / (n - n0),
            }
            rows.append({"epoch": n / self.sizes[0]} | means)
        self.sums = []
        return rows
