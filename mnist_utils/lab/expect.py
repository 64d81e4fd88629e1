"""What accuracy to expect of a network that nobody has trained: a surface through the sweep.

The sweep trained 68 small networks of one kind from three seeds each, by one short recipe
(`reproduce.plan.SWEEP`). The log-odds of a held-out digit being misread are fitted by a quadratic
in the logarithms of the parameters and of the receptive field before GAP.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnist_utils import chains, results
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS
from mnist_utils.lab.design import numbers


class Swept(NamedTuple):
    """A network of the sweep."""

    notation: str  # see chains.rows
    field: int  # of a unit before GAP, pixels
    parameters: int
    macs: int
    accuracies: tuple[float, ...]  # on 5,000 held-out digits, one of each seed

    @property
    def accuracy(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.accuracies))

    @property
    def family(self) -> str:
        """The notation without its channels: networks of one family differ in these alone."""
        return re.sub(r"\d+C", "C", self.notation)


@cache
def sweep(folder: Path = RESULTS) -> list[Swept]:
    """The sweep's networks, as measured. Raises InputError where there are none."""
    found = []
    for name in results.names("sweep", folder):
        stored = results.read(name, folder)
        notation = stored["config"]["model"]
        lines, kinds = numbers(chains.rows(notation)), [r["kind"] for r in chains.rows(notation)]
        sizes = [sum(line[of] for line in lines) for of in ("parameters", "macs")]
        accuracies = tuple(run["held_out_accuracy"] for run in stored["runs"])
        found.append(Swept(notation, lines[kinds.index("gap") - 1]["field"], *sizes, accuracies))
    if not found:
        raise InputError(f"{folder / 'sweep.json'} holds nothing: python -m mnist_utils.reproduce")
    return sorted(found, key=lambda network: (network.field, network.parameters))


def terms(networks: list[Swept]) -> np.ndarray:
    """(networks, 6): 1, x, y, x², xy, y² with x = ln parameters and y = ln field."""
    x = np.log([network.parameters for network in networks])
    y = np.log([network.field for network in networks])
    return np.stack([x**0, x, y, x * x, x * y, y * y], axis=1)


def log_odds(networks: list[Swept]) -> np.ndarray:
    """Of a held-out digit being misread."""
    wrong = 1 - np.array([network.accuracy for network in networks])
    return np.log(wrong / (1 - wrong))


def left_out(networks: list[Swept]) -> np.ndarray:
    """How far each network lies from the surface through those of the other families."""
    families = np.array([network.family for network in networks])
    inputs, odds, misses = terms(networks), log_odds(networks), np.zeros(len(networks))
    for family in sorted(set(families)):
        out = families == family
        coefficients, *_ = np.linalg.lstsq(inputs[~out], odds[~out], rcond=None)
        misses[out] = odds[out] - inputs[out] @ coefficients
    return misses


@cache
def surface(folder: Path = RESULTS) -> dict:
    """The surface and its interval as the page needs them.

    `half` is half of the interval, in log-odds: 95 per cent of the sweep's networks lie within it
    when their family is left out of the fit.
    """
    networks = sweep(folder)
    coefficients, *_ = np.linalg.lstsq(terms(networks), log_odds(networks), rcond=None)
    half = np.quantile(np.abs(left_out(networks)), 0.95)
    fields, sizes = [n.field for n in networks], [n.parameters for n in networks]
    return {
        "coefficients": [float(f"{c:.6g}") for c in coefficients],
        "half": round(float(half), 4),
        "fields": [min(fields), max(fields)],
        "sizes": [min(sizes), max(sizes)],
        "networks": len(networks),
    }
