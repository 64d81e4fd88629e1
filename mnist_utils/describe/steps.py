"""What the units of one map read of the map before it, where it is not one window sliding.

Upsampling, transposed convolution and adaptive pooling read by a pattern that repeats: after so
many units, so many positions further on.
"""

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from mnist_utils.receptive_field import Window


class Steps(NamedTuple):
    """A repeating pattern along one axis.

    Unit `q·len(reads) + r` reads the positions `reads[r]`, each `q·advance` further on. `border` as
    in `Window`.
    """

    reads: tuple[tuple[int, ...], ...]
    advance: int
    border: str = "zeros"

    @classmethod
    def of(cls, window: "Window | Steps") -> "Steps":
        """A sliding window is a pattern of one unit."""
        if isinstance(window, Steps):
            return window
        kernel_size, stride, padding, dilation, border = window
        return cls((tuple(t * dilation - padding for t in range(kernel_size)),), stride, border)

    def read_by(self, unit: int) -> list[int]:
        """The positions that one unit reads, beyond the map's edge where the pattern goes on."""
        turns, phase = divmod(unit, len(self.reads))
        return [position + turns * self.advance for position in self.reads[phase]]


def transposed(kernel_size: int, stride: int, padding: int, dilation: int) -> Steps:
    """A transposed convolution: unit `u` reads `i` wherever `u = i·stride − padding + t·dilation`.

    A phase that reads nothing, as with kernels smaller than the stride, is empty.
    """
    reads = []
    for unit in range(stride):
        reached = [unit + padding - t * dilation for t in range(kernel_size)]
        reads.append(tuple(sorted({r // stride for r in reached if r % stride == 0})))
    return Steps(tuple(reads), 1)


def resized(before: int, after: int, kind: str, align_corners: bool = False) -> Steps:
    """Resizing `before` units to `after`.

    `kind`: nearest, nearest_exact, bilinear, bicubic; or mean, as adaptive pooling takes it.
    """
    corners = align_corners and after > 1
    ratio = Fraction(before - corners, after - corners)  # positions per unit
    reads = []
    for unit in range(ratio.denominator):
        if kind == "mean":
            reads.append(tuple(range(floor(unit * ratio), ceil((unit + 1) * ratio))))
            continue
        centre = unit * ratio if corners or kind == "nearest" else (unit + Fraction(1, 2)) * ratio
        if kind.startswith("nearest"):
            reads.append((floor(centre),))
            continue
        centre -= 0 if corners else Fraction(1, 2)
        reach = {"bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}[kind]
        if centre.denominator == 1:  # the neighbours weigh nothing
            reach = (0,)
        reads.append(tuple(floor(centre) + r for r in reach))
    return Steps(tuple(reads), ratio.numerator, "replicate")
