"""What each row of a network sees of the image: the lesson's recurrence, for branches as well.

Pixels are counted from 0 at their centres, so that after a chain of windows unit `u` sees the
pixels `−padding + u·jump` to `−padding + u·jump + size − 1`, and `start`, the centre of unit 0's
field, is `−padding + (size − 1)/2` (Dang Ha's own starts are 0.5 larger). After upsampling the
jump is a fraction, and units see fields of several sizes.

All of it describes `eval()`, where BatchNorm and Dropout change no receptive field. The field
of a map is that of all its channels together; those of a concatenation are told apart until they
mix (`layout`). `measured` finds the same by gradient.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import NamedTuple

import torch
from torch import Tensor

from receptive.errors import InputError
from receptive.rows import AXES, Row
from receptive.steps import Steps, Window


class Field(NamedTuple):
    """What the units of one map see along one axis, in input pixels.

    Most maps are regular: `spans` holds the first and last pixel that unit 0 sees, and `advance`,
    the jump, leads from one unit to the next. After upsampling units differ: `spans` then holds
    those of the first few, and the units after these see the same, `advance` pixels further on.

    `fixed`: every unit sees the same pixels, because something global was added (the gate of
    squeeze-and-excitation); `jump` is then the spacing of the map only. `aligned`: all paths
    from the image agree on jump and centre.
    """

    spans: tuple[tuple[int, int], ...] = ((0, 0),)
    advance: int | Fraction = 1
    fixed: bool = False
    aligned: bool = True

    @property
    def sizes(self) -> tuple[int, int]:
        """The smallest and the largest number of pixels that a unit sees."""
        sizes = [last - first + 1 for first, last in self.spans]
        return min(sizes), max(sizes)

    @property
    def size(self) -> int:
        """The largest number of pixels that a unit sees; mostly the same for all."""
        return self.sizes[1]

    @property
    def jump(self) -> int | Fraction:
        """Pixels from the field of one unit to that of the next, on the average."""
        return _ratio(self.advance, len(self.spans))

    @property
    def padding(self) -> int:
        """How far unit 0 reaches beyond the image's edge."""
        return -self.spans[0][0]

    @property
    def start(self) -> float:
        """Centre of unit 0's field; the image's first pixel has its centre at 0."""
        return sum(self.spans[0]) / 2

    def span(self, unit: int) -> tuple[int, int]:
        """First and last pixel that `unit` sees, beyond the image's edge where it is padded."""
        turns, phase = divmod(unit, len(self.spans))
        moved = 0 if self.fixed else turns * self.advance
        first, last = self.spans[phase]
        return first + moved, last + moved


@lru_cache(4096)
def _ratio(pixels: int | Fraction, units: int) -> int | Fraction:
    ratio = Fraction(pixels) / units
    return int(ratio) if ratio.denominator == 1 else ratio


CONSTANT = "it does not depend on the image"


class Unknown(NamedTuple):
    """No field: `source` is the row that could not be read, `reason` says why."""

    source: str
    reason: str


@lru_cache(4096)
def after(field: Field, window: Window | Steps) -> Field:
    """The field after one more layer; for a window, `receptive_field`'s two lines.

    The patterns of both repeat; together they do once each has done so a whole number of times.
    """
    steps = Steps.of(window)
    turns = len(field.spans) // gcd(steps.advance, len(field.spans))
    units = range(turns * len(steps.reads) if steps.advance else len(steps.reads))
    read = [steps.read_by(unit) for unit in units]
    spans = tuple((field.span(min(r))[0], field.span(max(r))[1]) for r in read)
    advance = field.advance * Fraction(len(units) * steps.advance, len(steps.reads))
    advance /= len(field.spans)
    if field.fixed or not steps.advance:  # one value broadcast to every unit
        return Field(spans[:1], advance / len(units), True, field.aligned)
    return _shortest(Field(spans, int(advance), False, field.aligned))


def _shortest(field: Field) -> Field:
    """The same field by the shortest pattern."""
    n = len(field.spans)
    for length in (k for k in range(1, n) if n % k == 0 and field.advance * k % n == 0):
        short = field._replace(spans=field.spans[:length], advance=field.advance * length // n)
        if all(short.span(unit) == span for unit, span in enumerate(field.spans)):
            return short
    return field


@lru_cache(4096)
def merge(fields: tuple[Field, ...], units: int, pixels: int) -> Field | None:
    """The field where branches meet: from the first pixel to the last that any of them sees.

    None when it differs from unit to unit: branches of unequal jump on a map of several units.
    `units` is the map's length along this axis, `pixels` the image's.
    """
    local = [f for f in fields if not f.fixed]
    jumps, fixed = {f.jump for f in local or fields}, len(local) < len(fields)
    turn = lcm(*(len(f.spans) for f in local))  # units after which all local patterns repeat
    centres = {(f.jump, *(sum(f.span(u)) for u in range(turn))) for f in local}
    aligned = all(f.aligned for f in fields) and len(centres) <= 1
    if local and len(jumps) > 1 and units > 1:
        return None
    if fixed and units > 1:  # what is global must cover, in the image, what the others see
        spans = (f.span(0) for f in fields if f.fixed)
        first, last = _union((max(first, 0), min(last, pixels - 1)) for first, last in spans)
        for f in local:
            if f.span(0)[0] < first > 0 or f.span(units - 1)[1] > last < pixels - 1:
                return None
        return Field(((first, last),), max(jumps), True, aligned)
    if fixed or len(jumps) > 1:
        return Field((_union(f.span(0) for f in fields),), max(jumps), True, aligned)
    spans = tuple(_union(f.span(u) for f in local) for u in range(turn))
    return _shortest(Field(spans, int(turn * max(jumps)), False, aligned))


def _union(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    firsts, lasts = zip(*spans, strict=True)
    return min(firsts), max(lasts)


def fields(rows: Sequence[Row], global_context: bool = True) -> list[tuple[Field, Field] | Unknown]:
    """Return for each row the field along height and width, or why there is none.

    Squeeze-and-excitation, or the statistics of GroupNorm, let every unit see the whole map.
    `global_context=False` leaves such branches out where a local one goes beside them.
    """
    image, found = rows[0].extent, [(Field(), Field())]
    for row in rows[1:]:
        seen = [found[i] for i in row.inputs]
        seen = [s if isinstance(s, Unknown) else tuple(map(after, s, row.windows)) for s in seen]
        if row.reason or not seen:
            seen.append(Unknown(row.name, row.reason or CONSTANT))
        found.append(_meet(row, seen, image, global_context))
        fixed = all(getattr(axis, "fixed", True) for one in seen for axis in one)
        if row.alike and global_context and not fixed:
            reason = "tokens that see the image lie beside units of smaller fields"
            found[-1] = Unknown(row.name, reason)
    return found


def _meet(row: Row, seen: list, image: tuple[int, int], global_context: bool):
    """The fields along both axes of channels, or of branches, taken together."""
    # Constants beside maps see nothing, and take nothing from what those see.
    seen = [f for f in seen if getattr(f, "reason", "") != CONSTANT] or seen[:1]
    for one in seen:
        if isinstance(one, Unknown):
            return one
    if not global_context:
        seen = [f for f in seen if not (f[0].fixed or f[1].fixed)] or seen
    if len(seen) == 1:
        return seen[0]
    both = []
    for axis in AXES:
        field = merge(tuple(dict.fromkeys(f[axis] for f in seen)), row.extent[axis], image[axis])
        if field is None:
            jumps = sorted({one[axis].jump for one in seen if not one[axis].fixed})
            why = f"jumps {', '.join(map(str, jumps))}" if len(jumps) > 1 else "different reach"
            return Unknown(row.name, f"branches of {why} meet: its units see fields of many sizes")
        both.append(field)
    return tuple(both)


# --- The exact pixels -------------------------------------------------------------------------


def pixels(rows: Sequence[Row], index: int, unit: tuple[int, int]) -> Tensor:
    """Return the mask (H, W) of the pixels that reach `unit` of row `index`, clipped to the image.

    Row by row back to the image, so that it is exact at the border as well, and shows the holes
    that dilation, or strides larger than kernels, leave.

    Raises InputError when the row comes after one that could not be read, or has no such unit.
    """
    if not all(0 <= u < n for u, n in zip(unit, rows[index].extent, strict=True)):
        raise InputError(f"unit={unit} is outside the map of {rows[index].extent} units")
    reached = {index: torch.zeros(rows[index].extent)}
    reached[index][unit] = 1
    for i in range(index, 0, -1):
        if i not in reached:
            continue
        row, mask = rows[i], reached.pop(i)
        if row.reason:
            raise InputError(f"{row.name} cannot be read: {row.reason}")
        for j in row.inputs:
            sizes = zip(row.windows, row.extent, rows[j].extent, strict=True)
            down, across = (_taps(*one) for one in sizes)
            seen = (down.T @ mask @ across > 0).float()
            reached[j] = torch.maximum(reached.get(j, torch.zeros(1)), seen)
    return reached.get(0, torch.zeros(rows[0].extent)) > 0


def pixels_with_holes(rows: Sequence[Row], seen: Sequence) -> dict[int, list[int]]:
    """For rows whose units leave pixels out: how many a middle unit reads, and of how many.

    Holes open where a dilated kernel, or a strided one, steps further than the field before it is
    wide; later rows may close them again.
    """
    counts = {}
    for i, row in enumerate(rows):
        known = [j for j in row.inputs if not isinstance(seen[j], Unknown)]
        opens = any(
            isinstance(w, Window) and w.kernel_size > 1 and w.dilation * f.jump > f.size
            for j in known
            for w, f in zip(row.windows, seen[j], strict=True)
        )
        if isinstance(seen[i], Unknown) or not (opens or counts.keys() & set(known)):
            continue
        mask = pixels(rows, i, tuple(n // 2 for n in row.extent))
        if (inside := bounding_box(mask)) is None:
            continue  # a unit that reads padding alone
        (top, bottom), (left, right) = inside
        read, box = int(mask.sum()), (bottom - top + 1) * (right - left + 1)
        if read < box:
            counts[i] = [read, box]
    return counts


@lru_cache(1024)
def _taps(window: Window | Steps, units: int, inputs: int) -> Tensor:
    """Matrix (units, inputs) of 0 and 1: which position of the map before each unit reads."""
    matrix, steps = torch.zeros(units, inputs), Steps.of(window)
    for unit in range(units):
        position = torch.tensor(steps.read_by(unit))
        if steps.border == "reflect":
            position = inputs - 1 - (inputs - 1 - position.abs()).abs()
        elif steps.border == "replicate":
            position = position.clamp(0, inputs - 1)
        elif steps.border == "circular":
            position = position % inputs
        matrix[unit, position[(position >= 0) & (position < inputs)]] = 1
    return matrix


def bounding_box(mask: Tensor) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((top, bottom), (left, right)) of a mask (H, W), both ends included; None when empty."""
    if not mask.any():
        return None
    edges = (mask.any(1).nonzero(), mask.any(0).nonzero())
    return tuple((int(e.min()), int(e.max())) for e in edges)
