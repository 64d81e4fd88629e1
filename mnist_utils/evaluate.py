"""Log-probabilities once; accuracy, interval, loss, confusion and mistakes follow from them.

Command line: `python -m mnist_utils.evaluate results/recipes/reference.safetensors`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn

from mnist_utils import command, data, layers, weights
from mnist_utils.files import RESULTS


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Log-probabilities `(N, 10)` on the CPU of uint8 `(N, 28, 28)`, in order, in `eval()` mode."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        chunks = [model(data.standardize(chunk.to(device))) for chunk in images.split(batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(chunks).float().cpu()


@dataclass(frozen=True)
class Evaluation:
    """What follows from log-probabilities `(N, 10)` and labels `(N,)`."""

    log_probabilities: Tensor
    labels: Tensor

    @cached_property
    def predictions(self) -> Tensor:
        """Digits `(N,)`."""
        return self.log_probabilities.argmax(dim=1)

    @cached_property
    def mistakes(self) -> Tensor:
        """Indices of the misclassified digits, ascending."""
        return (self.predictions != self.labels).nonzero().flatten()

    def most_confident_mistakes(self, most: int) -> Tensor:
        """Indices of up to `most` misclassified digits, the surest first."""
        order = self.confidence[self.mistakes].argsort(descending=True)
        return self.mistakes[order[:most]]

    @property
    def n_errors(self) -> int:
        """How many digits are misclassified."""
        return len(self.mistakes)

    @property
    def accuracy(self) -> float:
        """Share of digits classified rightly, a fraction."""
        return 1 - self.n_errors / len(self.labels)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the accuracy, fractions."""
        return wilson_interval(self.n_errors, len(self.labels))

    @property
    def loss(self) -> float:
        """Mean negative log likelihood, nats."""
        return F.nll_loss(self.log_probabilities.double(), self.labels).item()

    @cached_property
    def confidence(self) -> Tensor:
        """Probability given to the predicted digit `(N,)`."""
        return self.log_probabilities.max(dim=1).values.exp()

    @cached_property
    def confusion(self) -> Tensor:
        """Counts `(10, 10)`: rows true, columns predicted."""
        pairs = self.labels * 10 + self.predictions
        return torch.bincount(pairs, minlength=100).view(10, 10)

    def to_dict(self) -> dict:
        """All of it, for JSON."""
        low, high = self.interval
        return {
            "digits": len(self.labels),
            "errors": self.n_errors,
            "accuracy": self.accuracy,
            "interval": {"method": "Wilson", "level": 0.95, "low": low, "high": high},
            "loss": self.loss,
            "confusion": self.confusion.tolist(),
            "mistakes": [
                {
                    "index": i,
                    "label": int(self.labels[i]),
                    "prediction": int(self.predictions[i]),
                    "confidence": round(float(self.confidence[i]), 4),
                }
                for i in self.mistakes.tolist()
            ],
        }

    def __str__(self) -> str:
        low, high = self.interval
        n = len(self.labels)
        rows = [" ".join(f"{count:5d}" for count in row) for row in self.confusion.tolist()]
        table = "\n".join(f"  {digit} |{row}" for digit, row in enumerate(rows))
        return (
            f"accuracy  {self.accuracy:.2%}  (95% Wilson interval {low:.2%} to {high:.2%})\n"
            f"errors    {self.n_errors} of {n:,}\n"
            f"loss      {self.loss:.4f} (negative log likelihood, nats)\n\n"
            f"confusion: rows true, columns predicted\n"
            f"    |{' '.join(f'{digit:5d}' for digit in range(10))}\n{table}\n\n"
            f"misclassified indices: {' '.join(map(str, self.mistakes.tolist())) or 'none'}"
        )


def wilson_interval(errors: int, n: int) -> tuple[float, float]:
    """95% interval of an accuracy seen as `n - errors` of `n` (Wilson 1927), fractions."""
    interval = binomtest(n - errors, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(one: Evaluation, two: Evaluation) -> tuple[int, int, float]:
    """Compare two networks on the same digits: (only one wrong, only two wrong, p-value).

    Digits that both get right or both get wrong say nothing about which is better; of the others,
    if both were equally good, a fair coin would decide (McNemar 1947, exact and two-sided).
    """
    wrong_one, wrong_two = (result.predictions != result.labels for result in (one, two))
    only_one = int((wrong_one & ~wrong_two).sum())
    only_two = int((wrong_two & ~wrong_one).sum())
    p = binomtest(only_one, only_one + only_two).pvalue if only_one + only_two else 1.0
    return only_one, only_two, float(p)


def evaluate(model: nn.Module, split: data.Split) -> Evaluation:
    """Classify every digit of a split, once, in order."""
    return Evaluation(predict(model, split.images), split.labels)


def averaged(results: Sequence[Evaluation]) -> Evaluation:
    """An ensemble's: the mean of several networks' probabilities for the same digits."""
    logs = torch.stack([result.log_probabilities.double() for result in results])
    return Evaluation(logs.logsumexp(0) - math.log(len(results)), results[0].labels)


def main() -> None:
    parser = command.Parser(
        prog="python -m mnist_utils.evaluate", description="Classify the test digits; report."
    )
    parser.add_argument(
        "weights", nargs="?", default=RESULTS / "recipes" / "reference.safetensors",
        help="a model.safetensors (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="folder of the MNIST files (default: bundle)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    arguments = parser.parse_args()
    network = layers.prepared(weights.load_network(arguments.weights))
    _, about = weights.load_tensors(arguments.weights)
    result = evaluate(network, data.load(arguments.data, train=False))
    if arguments.json:
        print(json.dumps({"model": about["model"]} | result.to_dict()))
    else:
        print(f"{about['model']} on the {len(result.labels):,} test digits\n\n{result}")


if __name__ == "__main__":
    command.run(main)
