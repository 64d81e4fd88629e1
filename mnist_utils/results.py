"""What was measured, and what the source claims: `results/`, read.

`results/STUDY.json` holds a study: of each configuration what differs from `TrainConfig`'s
defaults, every seed, a line each, and, where weights are kept, the epochs of seed 0.
`results/STUDY/NAME.safetensors` are the weights of seed 0, `NAME-1.safetensors` those of seed 1. A
name without a study is a recipe's: `course` is `recipes/course`.
"""

import functools
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats
from torch import nn

from mnist_utils import weights
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS

# The README this course began from: one run, no seed, no interval.
SOURCE = {"train_accuracy": 0.9843, "train_loss": 0.0511}
SOURCE |= {"test_accuracy": 0.994, "test_loss": 0.0187}


def study_and_name(name: str) -> tuple[str, str]:
    """`course` is of the study "recipes", by the name "course"."""
    study, _, rest = name.rpartition("/")
    return study or "recipes", rest


def weights_path(name: str, seed: int = 0, folder: Path = RESULTS) -> Path:
    """Where a seed's weights lie: recipes/course.safetensors, recipes/course-1.safetensors."""
    study, name = study_and_name(name)
    return folder / study / f"{name}{f'-{seed}' if seed else ''}.safetensors"


def names(study: str, folder: Path = RESULTS) -> list[str]:
    """The configurations of a study that were measured: `sweep/…`."""
    return [f"{study}/{name}" for name in study_of(study, folder)]


def read(name: str, folder: Path = RESULTS) -> dict | None:
    """A configuration's stored measurements: `config`, `runs`, perhaps `history`; or None.

    Raises
    ------
    InputError
        The study's file is not JSON.
    """
    study, rest = study_and_name(name)
    if (stored := study_of(study, folder).get(rest)) is None:
        return None
    config = TrainConfig.from_dict(stored["config"]).to_dict()
    del config["seed"]  # each run has its own
    return stored | {"config": config}


def runs(name: str, folder: Path = RESULTS) -> list[dict]:
    """One entry per seed: its errors, held-out and training figures, seconds and machine.

    Raises
    ------
    InputError
        Nothing of that name was measured.
    """
    return _kept(name, "runs", folder)


def history(name: str, folder: Path = RESULTS) -> dict:
    """What seed 0 left: its configuration, last figures, and `epochs`, one row each.

    Raises
    ------
    InputError
        No history of that name is kept.
    """
    return _kept(name, "history", folder)


def study_of(study: str, folder: Path) -> dict:
    """Name -> what is stored of it, to be read and not changed."""
    file = folder / f"{study}.json"
    try:
        about = file.stat()
    except FileNotFoundError:
        return {}
    return _parsed(file, about.st_ino, about.st_mtime_ns)  # another file or time: read anew


@functools.lru_cache(maxsize=32)
def _parsed(file: Path, *_: int) -> dict:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}); restore or delete it") from None


def _kept(name: str, part: str, folder: Path):
    stored = read(name, folder)
    if stored is None or part not in stored:
        raise InputError(f"{name!r} is not measured: `python -m tools.reproduce {name}`")
    return stored[part]


def network(name: str, folder: Path = RESULTS, seed: int = 0) -> nn.Module:
    """The network that a seed trained, in `eval()` mode; of most only seed 0's is kept."""
    return weights.load_network(weights_path(name, seed, folder))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95% interval of the mean of two values or more."""
    t = float(stats.t.ppf(0.975, len(values) - 1))
    half = t * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


class Difference(NamedTuple):
    """How far the mean of one group of runs lies above another's."""

    mean: float
    low: float  # of Welch's 95% interval of the difference: these digits, other seeds
    high: float
    p: float  # of a difference at least as large, if the means were equal
    seeds: tuple[int, int]


def difference(
    name: str, rival: str, quantity: str = "held_out_accuracy", folder: Path = RESULTS
) -> Difference:
    """`name` less `rival` in a quantity of each run, over the seeds of each."""
    return welch(*([run[quantity] for run in runs(one, folder)] for one in (name, rival)))


def welch(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """The mean of `ours` less that of `theirs`, by Welch's t-test of two groups.

    Two runs with one seed are not a pair: another network, or another augmentation, draws other
    numbers from it. Their figures are uncorrelated, and to pair them would halve the degrees of
    freedom for nothing.
    """
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = map(float, test.confidence_interval(0.95))
    mean = statistics.mean(ours) - statistics.mean(theirs)
    return Difference(mean, low, high, float(test.pvalue), (len(ours), len(theirs)))


def compared(pairs: dict[str, tuple[str, str]], folder: Path = RESULTS) -> str:
    """A line per pair: how far one configuration is ahead of the other, in points of accuracy.

    With half of Welch's 95% interval; a star where p < .05 by Holm's correction.
    """
    gaps = {label: difference(*names, folder=folder) for label, names in pairs.items()}
    told, wide = told_apart({label: gap.p for label, gap in gaps.items()}), max(map(len, pairs))
    lines = []
    for label, gap in gaps.items():
        mean = round(100 * gap.mean, 2) + 0.0  # no −0
        text = f"{mean:+.2f} ± {100 * (gap.high - gap.mean):.2f}"
        seeds = " and ".join(map(str, dict.fromkeys(gap.seeds)))
        lines.append(f"{label:{wide}}  {text} points, n = {seeds}{' *' * told[label]}")
    return "\n".join(lines)


class Left(NamedTuple):
    """What share of the errors is left after a change: 0.6 says that four in ten are gone."""

    share: float
    low: float  # of Student's 95% interval: other seeds, these digits; nan from one seed each
    high: float
    pairs: int

    def __str__(self) -> str:
        some = f" ({self.low:.0%} to {self.high:.0%})" if self.low == self.low else ""
        return f"{self.share:.0%}{some}"


def errors_left(pairs: Sequence[tuple[str, str]], folder: Path = RESULTS) -> Left:
    """The errors of each pair's second as a share of its first's: the geometric mean over pairs.

    Seeds are not paired: another network draws its random numbers otherwise. The logarithms of the
    errors are taken to scatter alike in all networks of `pairs`; one may stand in several pairs.
    """
    counts = Counter()  # name -> how often it comes second, less how often first
    for first, second in pairs:
        counts.update({first: -1})
        counts.update({second: 1})
    logs = {name: np.log([run["errors"] for run in runs(name, folder)]) for name in counts}
    weight = {name: count / len(pairs) for name, count in counts.items()}
    mean = sum(weight[name] * values.mean() for name, values in logs.items())
    freedom = sum(len(values) - 1 for values in logs.values())
    half = float("nan")
    if min(map(len, logs.values())) > 1:
        scatter = sum(((values - values.mean()) ** 2).sum() for values in logs.values()) / freedom
        variance = scatter * sum(weight[name] ** 2 / len(logs[name]) for name in logs)
        half = stats.t.ppf(0.975, freedom) * variance**0.5
    low, high = (float(np.exp(mean + sign * half)) for sign in (-1, 1))
    return Left(float(np.exp(mean)), low, high, len(pairs))


def told_apart(p_values: dict[str, float]) -> dict[str, bool]:
    """Which of several differences are significant at 5%, by Holm's correction (1979)."""
    told, holds = {}, True
    for rank, name in enumerate(sorted(p_values, key=p_values.get)):
        holds = holds and p_values[name] * (len(p_values) - rank) < 0.05
        told[name] = holds
    return told


def digits_interval(seeds: Sequence[dict]) -> tuple[float, float]:
    """A bootstrap's 95% interval of an accuracy on other digits; the seeds stay the same.

    A digit counts by the share of the seeds that misread it, and the digits are drawn again, 10,000
    times. Seeds of one recipe misread much the same digits, so that pooling their errors as if they
    were of as many digits more would make the interval too narrow.
    """
    n = seeds[0]["digits"]
    misread = Counter(index for run in seeds for index in run["mistakes"])
    by_seeds = Counter(misread.values())  # seeds -> how many digits so many of them misread
    by_seeds[0] = n - len(misread)
    counts, digits = map(np.array, zip(*by_seeds.items(), strict=True))
    drawn = np.random.default_rng(0).multinomial(n, digits / n, size=10_000)
    low, high = np.quantile(1 - drawn @ counts / (n * len(seeds)), (0.025, 0.975))
    return float(low), float(high)


def summary(name: str, folder: Path = RESULTS) -> dict:
    """Mean and deviation of the accuracy, and three 95% intervals of it; fractions.

    `of_seeds`: of the mean over seeds, these digits given; None for one seed. `of_digits`: of this
    recipe on other digits, these seeds given; None where the digits that each seed misread were not
    kept. `of_both`: of another training's mean on other digits; half of it is the root of the sum
    of the other two's squares. None where either is.
    """
    seeds = runs(name, folder)
    accuracies = [run["held_out_accuracy"] for run in seeds]
    kept = all("mistakes" in run for run in seeds)
    mean = statistics.mean(accuracies)
    of_seeds = mean_interval(accuracies) if len(seeds) > 1 else None
    of_digits = digits_interval(seeds) if kept else None
    of_both = None
    if of_seeds and of_digits:
        half = math.hypot(*((high - low) / 2 for low, high in (of_seeds, of_digits)))
        of_both = (mean - half, mean + half)
    return {
        "n": len(seeds),
        "parameters": seeds[0]["parameters"],
        "epochs": read(name, folder)["config"]["epochs"],
        "mean": mean,
        "deviation": statistics.stdev(accuracies) if len(seeds) > 1 else None,
        "of_seeds": of_seeds,
        "of_digits": of_digits,
        "of_both": of_both,
        "loss": statistics.mean(run["held_out_loss"] for run in seeds),
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in seeds),
        "date": max(run["date"] for run in seeds),
    }


def line(name: str, folder: Path = RESULTS) -> str:
    """Parameters, accuracy ± standard deviation and seeds of a configuration, in words."""
    row = summary(name, folder)
    spread = "" if row["deviation"] is None else f" ± {100 * row['deviation']:.2f}"
    return f"{row['parameters']:6,} parameters, {100 * row['mean']:.2f}{spread}%, n = {row['n']}"


def curve(at: Sequence, names: Iterable[str], folder: Path = RESULTS) -> tuple[list, list, list]:
    """Where, mean accuracies and standard deviations of configurations, as `plots` draws them."""
    rows = [summary(name, folder) for name in names]
    return list(at), [row["mean"] for row in rows], [row["deviation"] or 0 for row in rows]


def spent(study: str, folder: Path = RESULTS) -> str:
    """How many trainings a study took, and how many CPU minutes, in words."""
    trainings = [run for name in names(study, folder) for run in runs(name, folder)]
    minutes = sum(run["cpu_seconds"] for run in trainings) / 60
    return f"{study}: {len(trainings)} trainings, {minutes:.0f} CPU minutes"
