"""Arrays to axes, in one style for the whole course; nothing is computed here.

To use it: `plots.keep(plots.bars(range(10), counts, ylabel="images"), "name", "what it shows")`.
Every function takes its data first and draws; most take `ax` and return it, sheets of digits and
histories return their figure. To understand it read `style`; the caller's matplotlib stays as it
was.
"""

from mnist_utils.plots.curves import (
    accuracy_against_field,
    bars,
    confusion,
    frontier,
    history,
    intervals,
    lines,
    reliability,
    seeds,
    shares,
    staircase,
)
from mnist_utils.plots.digits import (
    Box,
    effective_field,
    fields_on_digit,
    images,
    mean_digit,
    mistakes,
)
from mnist_utils.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, keep, save, show

__all__ = [
    "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "RED", "Box", "accuracy_against_field", "bars",
    "confusion", "effective_field", "fields_on_digit", "frontier", "history", "images",
    "intervals", "keep", "lines", "mean_digit", "mistakes", "reliability", "save", "seeds",
    "shares", "show", "staircase",
]  # fmt: skip
