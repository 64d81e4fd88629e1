"""The designs of the factorial: receptive field × depth × size, the field changed in three ways.

A field cannot be changed alone, so it is changed in three ways that differ in what else they
change, and a sentence about the field holds where all three agree.

=== ============================== ========================== ====================================
way what is changed                equal at a depth           what else changes
=== ============================== ========================== ====================================
A   1×1 kernels to 3×3 and larger  depth; parameters to 5%    width, layers that mix neighbours, map
B   where the pools stand, or      depth, layers, parameters  map, multiply-adds, how much is pooled
    how wide the one pool is
C   dilation, without holes        depth, layers, parameters, padding's share, how densely one layer
                                   map, multiply-adds         reads
=== ============================== ========================== ====================================

Depth counts the convolutions before GAP, the 1×1 among them. In the notations (`chains.rows`) `+`
stands for the channels of the first convolution, `*` for those of the others.
"""

import json
import re
from typing import NamedTuple

import numpy as np

from mnist_utils.files import RESULTS

SIZES = (3_000, 19_000)  # parameters, to 5%


class Design(NamedTuple):
    """One cell of the factorial; a network may stand in two, where two ways meet."""

    way: str
    depth: int  # convolutions before GAP
    field: int  # of a unit before GAP, pixels
    size: int  # one of SIZES
    notation: str

    @property
    def name(self) -> str:
        """Where it lies in `results/`."""
        return f"factorial/{self.notation}"

    @property
    def family(self) -> tuple:
        """What networks share that differ by their way's change alone, and so in the field."""
        convolutions = re.findall(r"\d+C\d", self.notation) if self.way != "A" else ()
        return self.way, self.depth, self.size, self.notation.count("MP"), *convolutions

    @property
    def shape(self) -> str:
        """The notation without its channels."""
        return re.sub(r"\d+C", "C", self.notation)


# Chain -> depth, field, and what `+` and `*` are at each of SIZES.
_A = {
    "+C5-MP2-*C1": (2, 6, (39, 39), (120, 120)),
    "+C5-MP2-*C3": (2, 10, (16, 16), (44, 44)),
    "+C5-MP2-*C5": (2, 14, (10, 10), (27, 27)),
    "+C5-MP2-*C7": (2, 18, (8, 7), (19, 19)),
    "+C5-MP2-*C9": (2, 22, (5, 7), (15, 15)),
    "+C5-MP2-*C1-*C1-*C1": (4, 6, (25, 25), (73, 73)),
    "+C5-MP2-*C3-*C1-*C1": (4, 10, (15, 15), (40, 40)),
    "+C5-MP2-*C3-*C3-*C1": (4, 14, (13, 11), (30, 30)),
    "+C5-MP2-*C3-*C3-*C3": (4, 18, (10, 10), (26, 26)),
    "+C5-MP2-*C5-*C3-*C3": (4, 22, (8, 8), (21, 21)),
    "+C5-MP2-*C5-*C5-*C3": (4, 26, (6, 7), (18, 18)),
    "+C5-MP2-*C1-*C1-*C1-*C1-*C1": (6, 6, (20, 20), (57, 57)),
    "+C5-MP2-*C3-*C1-*C1-*C1-*C1": (6, 10, (15, 13), (36, 36)),
    "+C5-MP2-*C3-*C3-*C1-*C1-*C1": (6, 14, (11, 11), (29, 29)),
    "+C5-MP2-*C3-*C3-*C3-*C1-*C1": (6, 18, (12, 9), (25, 25)),
    "+C5-MP2-*C3-*C3-*C3-*C3-*C1": (6, 22, (11, 8), (22, 22)),
    "+C5-MP2-*C3-*C3-*C3-*C3-*C3": (6, 26, (6, 8), (20, 20)),
}
_B = {
    "+C5-*C5-MP2": (2, 10, (10, 10), (27, 27)),
    "+C5-MP2-*C5": (2, 14, (10, 10), (27, 27)),
    "+C5-MP3-*C5": (2, 19, (10, 10), (27, 27)),
    "+C5-MP4-*C5": (2, 24, (10, 10), (27, 27)),
    "+C3-*C3-*C3-*C3-MP2": (4, 10, (10, 10), (26, 26)),
    "+C3-*C3-MP2-*C3-*C3": (4, 14, (10, 10), (26, 26)),
    "+C3-*C3-*C3-MP2-*C3-MP2": (4, 14, (10, 10), (26, 26)),  # two pools from here on
    "+C3-MP2-*C3-*C3-*C3-MP2": (4, 18, (10, 10), (26, 26)),
    "+C3-MP2-*C3-*C3-MP2-*C3": (4, 22, (10, 10), (26, 26)),
    "+C3-MP2-*C3-MP2-*C3-*C3": (4, 26, (10, 10), (26, 26)),
    "+C3-*C3-*C3-*C3-*C3-*C3-MP2": (6, 14, (8, 8), (20, 20)),
    "+C3-*C3-*C3-*C3-MP2-*C3-*C3": (6, 18, (8, 8), (20, 20)),
    "+C3-*C3-MP2-*C3-*C3-*C3-*C3": (6, 22, (8, 8), (20, 20)),
    "+C3-MP2-*C3-*C3-*C3-*C3-*C3-MP2": (6, 26, (8, 8), (20, 20)),  # two pools
}
# One layer dilated; then two layers. Padding keeps the map that dilation 1 leaves.
_C = {
    "+C5-MP2-*C3": (2, 10, (16, 16), (44, 44)),
    "+C5-MP2-*C3p1d2": (2, 14, (16, 16), (44, 44)),
    "+C5-MP2-*C3p2d3": (2, 18, (16, 16), (44, 44)),
    "+C5-MP2-*C3-*C1-*C1": (4, 10, (15, 15), (40, 40)),
    "+C5-MP2-*C3p1d2-*C1-*C1": (4, 14, (15, 15), (40, 40)),
    "+C5-MP2-*C3p2d3-*C1-*C1": (4, 18, (15, 15), (40, 40)),
    "+C5-MP2-*C3-*C3-*C1": (4, 14, (13, 11), (30, 30)),
    "+C5-MP2-*C3-*C3p1d2-*C1": (4, 18, (13, 11), (30, 30)),
    "+C5-MP2-*C3p1d2-*C3p1d2-*C1": (4, 22, (13, 11), (30, 30)),
    "+C5-MP2-*C3p1d2-*C3p2d3-*C1": (4, 26, (13, 11), (30, 30)),
    "+C5-MP2-*C3-*C1-*C1-*C1-*C1": (6, 10, (15, 13), (36, 36)),
    "+C5-MP2-*C3p1d2-*C1-*C1-*C1-*C1": (6, 14, (15, 13), (36, 36)),
    "+C5-MP2-*C3p2d3-*C1-*C1-*C1-*C1": (6, 18, (15, 13), (36, 36)),
    "+C5-MP2-*C3-*C3-*C1-*C1-*C1": (6, 14, (11, 11), (29, 29)),
    "+C5-MP2-*C3-*C3p1d2-*C1-*C1-*C1": (6, 18, (11, 11), (29, 29)),
    "+C5-MP2-*C3p1d2-*C3p1d2-*C1-*C1-*C1": (6, 22, (11, 11), (29, 29)),
    "+C5-MP2-*C3p1d2-*C3p2d3-*C1-*C1-*C1": (6, 26, (11, 11), (29, 29)),
}

DESIGNS = [
    Design(way, depth, field, size, chain.replace("+", str(first)).replace("*", str(others)))
    for way, table in {"A": _A, "B": _B, "C": _C}.items()
    for chain, (depth, field, *widths) in table.items()
    for size, (first, others) in zip(SIZES, widths, strict=True)
]


def family(notation: str, way: str) -> list[Design]:
    """All designs that differ from this one by their way's change alone."""
    (one,) = (d for d in DESIGNS if (d.way, d.notation) == (way, notation))
    return [d for d in DESIGNS if d.family == one.family]


def wider(way: str, low: int, high: int, size: int = SIZES[0]) -> list[tuple[str, str]]:
    """Pairs of one family that see `low` and `high` pixels, as they lie in `results/`."""
    some = [d for d in DESIGNS if (d.way, d.size) == (way, size)]
    lows, highs = ([d for d in some if d.field == field] for field in (low, high))
    return [(a.name, b.name) for a in lows for b in highs if a.family == b.family]


def deeper(depth: int, size: int = SIZES[0]) -> list[tuple[str, str]]:
    """Pairs of equal field and size, the second with two 1×1 convolutions more."""
    some = {d.name: d for d in DESIGNS if d.size == size}.values()
    by_shape = {d.shape: d.name for d in some}
    more = {d.name: by_shape.get(f"{d.shape}-C1-C1") for d in some if d.depth == depth}
    return [pair for pair in more.items() if pair[1]]


# The object's size: the same networks of about 3,000 parameters, trained on digits of three sizes
# on one canvas, to ask whether the field that is enough follows the object.
CANVAS = 40  # pixels
SIDES = (20, 28, 40)  # of MNIST's images, whose digits are then 14, 20 and 28 pixels
OBJECTS = {
    "B": {  # a quarter of each side is left by pools, wherever they stand
        "10C3-10C3-10C3-10C3p1-MP4": 12,
        "10C3-10C3-MP2-10C3-10C3p1-MP2": 16,
        "10C3-10C3-MP2-10C3-MP2-10C3p1": 20,
        "10C3-10C3-MP4-10C3-10C3p1": 24,
        "10C3-MP4-10C3-10C3-10C3p1": 30,
    },
    "C": {
        "12C3-MP2-12C3-12C3-12C1": 12,
        "12C3-MP2-12C3-12C3p1d2-12C1": 16,
        "12C3-MP2-12C3p1d2-12C3p1d2-12C1": 20,
        "12C3-MP2-12C3p1d2-12C3p2d3-12C1": 24,
        "12C3-MP2-12C3p1d2-12C3p3d4-12C1": 28,
        "12C3-MP2-12C3p1d2-12C3p4d5-12C1": 32,
        "12C3-MP2-12C3p1d2-12C3p5d6-12C1": 36,
    },
}


def on_canvas(way: str, side: int) -> dict[int, str]:
    """Where a way's networks on images of this side lie in `results/`, by field."""
    return {field: f"objects/{side}_{name}" for name, field in OBJECTS[way].items()}


# Too large a field: a chain whose layers see 5 to 60 pixels of the 28; what is left of it when its
# last layers are cut; and that made as large again by its width. Notation -> field.
_LONG = "*C5-MP2-*C3p1-*C3p1-*C3p1-MP2" + 5 * "-*C3p1"  # 5 6 10 14 18 20 28 36 44 52 60
TOO_LARGE = {
    _LONG.rsplit("-", cut)[0].replace("*", width): 60 - 8 * cut
    for width, cuts in {"10": (0, 2, 4, 5), "14": (4,), "16": (5,)}.items()
    for cut in cuts
}


def probes(name: str, reading: str) -> tuple[list[int], list[float], list[float]]:
    """Fields of a network's layers, and accuracies of the probe on their "mean" or "grid".

    Mean and standard deviation over seeds; of one seed the deviation is 0.
    """
    by_field = {}
    for row in json.loads((RESULTS / "probes.json").read_text()):
        if row["name"] == name:
            by_field.setdefault(row["field"], []).append(row[reading])
    seeds = by_field.values()
    deviations = [float(np.std(some, ddof=len(some) > 1)) for some in seeds]
    return list(by_field), [float(np.mean(some)) for some in seeds], deviations
