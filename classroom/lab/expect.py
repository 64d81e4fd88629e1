"""What accuracy to expect of a network that nobody has trained: a fit to those that were.

Small networks of one kind, from three seeds each, by one short recipe: the sweep of designs and the
factorial of field and depth (`results/sweep.json`, `results/factorial.json`), those without
dilation. Fitted are the log-odds of a held-out digit being misread. The fit caps the
field at a digit's 20 pixels: it predicts families left out better so than by any curve that falls,
though the factorial still gains a little up to 22. Least is known below 2,000 parameters.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classroom.lab.design import numbers
from mnist_utils import chains, results
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS

ENOUGH = 20  # pixels of field
SHALLOW = 2  # convolutions before GAP; six differ from four by a tenth of the errors at most


class Swept(NamedTuple):
    """A network that was measured."""

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

    @property
    def depth(self) -> int:
        """Convolutions before GAP."""
        return self.notation.count("C")


@cache
def measured(study: str = "sweep", folder: Path = RESULTS) -> list[Swept]:
    """A study's networks, as measured. Raises InputError where there are none."""
    networks = []
    for name in results.names(study, folder):
        stored = results.read(name, folder)
        notation = stored["config"]["model"]
        lines, kinds = numbers(chains.rows(notation)), [r["kind"] for r in chains.rows(notation)]
        sizes = [sum(line[of] for line in lines) for of in ("parameters", "macs")]
        accuracies = tuple(run["held_out_accuracy"] for run in stored["runs"])
        networks.append(Swept(notation, lines[kinds.index("gap") - 1]["field"], *sizes, accuracies))
    if not networks:
        raise InputError(f"{folder / study}.json holds nothing: python -m tools.reproduce")
    return sorted(networks, key=lambda network: (network.field, network.parameters))


@cache
def alike(folder: Path = RESULTS) -> list[Swept]:
    """All networks of the kind of which the lab expects something: each once, none dilated."""
    both = [*measured("sweep", folder), *measured("factorial", folder)]
    return list({n.notation: n for n in both if "d" not in n.notation}.values())


def terms(networks: list[Swept]) -> np.ndarray:
    """(networks, 8): 1, x, y, x², xy, d, dx, dy with x = ln parameters and y = ln field.

    The field is at most `ENOUGH`; d is 1 for more than `SHALLOW` convolutions.
    """
    x = np.log([network.parameters for network in networks])
    y = np.log([min(network.field, ENOUGH) for network in networks])
    d = np.array([float(network.depth > SHALLOW) for network in networks])
    return np.stack([x**0, x, y, x * x, x * y, d, d * x, d * y], axis=1)


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

    `half` is half of the interval, in log-odds: 95 per cent of the networks lie within it when
    their family is left out of the fit.
    """
    networks = alike(folder)
    coefficients, *_ = np.linalg.lstsq(terms(networks), log_odds(networks), rcond=None)
    half = np.quantile(np.abs(left_out(networks)), 0.95)
    fields, sizes = [n.field for n in networks], [n.parameters for n in networks]
    return {
        "coefficients": [float(f"{c:.6g}") for c in coefficients],
        "half": round(float(half), 4),
        "fields": [min(fields), max(fields)],
        "sizes": [min(sizes), max(sizes)],
        "networks": len(networks),
        "families": len({n.family for n in networks}),
        "enough": ENOUGH,
        "shallow": SHALLOW,
    }
