"""The receptive field on paper: how much of the image one unit sees, layer by layer.

Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
2019. `jump`, Dang Ha's word, is their `effective_stride`: how many pixels lie between the fields of
two neighbouring units. The package `receptive` does the same for any network.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple


class Window(NamedTuple):
    """How one unit reads the map before it, along one axis, in units of that map.

    Unit `u` reads positions `u·stride − padding + t·dilation` for `t = 0 .. kernel_size − 1`.
    """

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class Row(NamedTuple):
    """What the table says of one layer, along one axis: its map, and what its units see."""

    size: int  # units of the map
    receptive_field: int  # pixels
    jump: int  # pixels between the fields of neighbours
    start: float  # centre of the first unit's field; the first pixel's centre is 0


IMAGE = Row(28, 1, 1, 0.0)  # before the first layer: MNIST's pixels


def step(before: Row, window: Window) -> Row:
    """Return the next row of the table (Araujo et al. 2019, with dilation).

    Raises
    ------
    ValueError
        Nothing of the map would be left.
    """
    reach = window.dilation * (window.kernel_size - 1)
    size = (before.size + 2 * window.padding - reach - 1) // window.stride + 1
    if size < 1:
        raise ValueError(
            f"a window of {reach + 1} does not fit a map of {before.size + 2 * window.padding}"
        )
    return Row(
        size,
        before.receptive_field + reach * before.jump,
        before.jump * window.stride,
        before.start + (reach / 2 - window.padding) * before.jump,
    )


def table(windows: Iterable[Window], image: Row = IMAGE) -> list[Row]:
    """Return the row of each window of a chain; `image` is the row before the first."""
    return list(accumulate(windows, step, initial=image))[1:]


def receptive_field(windows: Iterable[Window]) -> tuple[int, int]:
    """Return (size, jump) of one unit after a chain of windows, in input pixels.

    The lesson's version, Araujo et al. 2019, eq. 2; vgg_16 up to pool5 gives (212, 32).
    """
    size, jump = 1, 1
    for window in windows:
        size += window.dilation * (window.kernel_size - 1) * jump
        jump *= window.stride
    return size, jump


def variance(windows: Iterable[Window]) -> float:
    """Variance, in square pixels, of what a unit sees through equal weights, along one axis.

    A window of `k` equal weights, `d` apart, has variance `d²(k² − 1)/12`; the windows of a chain
    are independent, so that theirs add up, each scaled by its jump: the closed form behind
    Luo et al., NeurIPS 2016. Model3: 12.917 before its global pooling, 15.583 at a logit.
    """
    total, jump = 0.0, 1
    for window in windows:
        total += (jump * window.dilation) ** 2 * (window.kernel_size**2 - 1) / 12
        jump *= window.stride
    return total
