"""What the units of one map read of the map before it: a window that slides, or a pattern.

Upsampling, transposed convolution and adaptive pooling read by a pattern that repeats: after so
many units, so many positions further on.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple


class Window(NamedTuple):
    """How one unit reads the map before it, along one axis, in units of that map.

    Unit `u` reads positions `u·stride − padding + t·dilation` for `t = 0 .. kernel_size − 1`.
    A pointwise layer is `Window(1)`; global pooling over `n` units `Window(n, n)`; `stride=0`
    says that one value is broadcast to every unit. `border` tells what lies beyond the map's
    edge: nothing to read (`zeros`), or its own units again (`reflect`, `replicate`, `circular`).
    """

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    border: str = "zeros"


POINT, BROADCAST = Window(1), Window(1, stride=0)


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

    def as_window(self) -> Window | None:
        """The sliding window that it is, if it is one."""
        [first, *more], *others = self.reads
        dilation = more[0] - first if more else 1
        kernel_size = 1 + len(more)
        if others or [first, *more] != [first + t * dilation for t in range(kernel_size)]:
            return None
        return Window(kernel_size, self.advance, -first, dilation)

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

    `kind`: nearest, nearest_exact, bilinear, bicubic; or adaptive, as that pooling takes them.
    """
    corners = align_corners and after > 1
    ratio = Fraction(before - corners, after - corners)  # positions per unit
    reads = []
    for unit in range(ratio.denominator):
        if kind == "adaptive":
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


def pattern(reads: Sequence[tuple[int, ...]], inputs: int) -> Window | Steps | None:
    """The window, or the pattern, by which units read the positions `reads`; None if by none.

    What it reads beyond the edge of the `inputs` positions is missing in `reads`.
    """
    firsts = [r[0] for r in reads if r]
    rolled = [((i + firsts[0]) % inputs,) for i in range(inputs)] if firsts else []
    if list(reads) == rolled != sorted(rolled):
        return Window(1, padding=min(-firsts[0], inputs - firsts[0], key=abs), border="circular")
    if firsts != sorted(firsts):
        return None
    for period in range(1, len(reads) + 1):
        phases = [range(phase, len(reads), period) for phase in range(period)]
        whole = [max(units, key=lambda unit: len(reads[unit])) for units in phases]
        advances = [
            after[0] - before[0]
            for unit, (before, after) in enumerate(zip(reads, reads[period:], strict=False))
            if len(before) == len(after) == len(reads[whole[unit % period]]) > 0
        ]
        if period == 1 and firsts and not advances:  # one unit alone
            advances = [reads[whole[0]][-1] - reads[whole[0]][0] + 1]
        if not advances or (period > 1 and advances[0] == 0) or not all(reads[u] for u in whole):
            continue
        moved = [(unit // period * advances[0], reads[unit]) for unit in whole]
        steps = Steps(tuple(tuple(p - by for p in own) for by, own in moved), advances[0])
        inside = [[p for p in steps.read_by(u) if 0 <= p < inputs] for u in range(len(reads))]
        if inside == list(map(list, reads)):
            return steps.as_window() or steps
    return None
