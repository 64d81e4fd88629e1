"""What each row of a network sees of the image: the lesson's recurrence, for branches as well.

Pixels are counted from 0 at their centres, so unit `u` sees the pixels `−padding + u·jump` to
`−padding + u·jump + size − 1`, and `start`, the centre of unit 0's field, is
`−padding + (size − 1)/2` (Dang Ha's own starts are 0.5 larger).

All of it describes `eval()`, where BatchNorm and Dropout change no receptive field. The field
of a map is that of all its channels together; those of a concatenation are told apart until they
mix (`channels`). `measured` finds the same by gradient.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mnist_utils.describe.operations import AXES
from mnist_utils.describe.rows import Row, reads_of
from mnist_utils.errors import InputError
from mnist_utils.receptive_field import Window


class Field(NamedTuple):
    """What the units of one map see along one axis, in input pixels.

    `fixed`: every unit sees the same pixels, because something global was added (the gate of
    squeeze-and-excitation); `jump` is then the spacing of the map only. `aligned`: all paths
    from the image agree on jump and centre.
    """

    size: int = 1
    jump: int = 1
    padding: int = 0  # effective padding: how far unit 0 reaches beyond the image's edge
    fixed: bool = False
    aligned: bool = True

    @property
    def start(self) -> float:
        """Centre of unit 0's field; the image's first pixel has its centre at 0."""
        return -self.padding + (self.size - 1) / 2

    def span(self, unit: int) -> tuple[int, int]:
        """First and last pixel that `unit` sees, beyond the image's edge where it is padded."""
        first = -self.padding + unit * self.jump * (not self.fixed)
        return first, first + self.size - 1


CONSTANT = "it does not depend on the image"


class Unknown(NamedTuple):
    """No field: `source` is the row that could not be read, `reason` says why."""

    source: str
    reason: str


def after(field: Field, window: Window) -> Field:
    """The field after one more window: `receptive_field`'s two lines, with the padding."""
    size, jump, padding, fixed, aligned = field
    if window.stride == 0:  # one value broadcast to every unit
        return Field(size, 0, padding, True, aligned)
    if not fixed:
        size += window.dilation * (window.kernel_size - 1) * jump
        padding += window.padding * jump
    return Field(size, jump * window.stride, padding, fixed, aligned)


def merge(fields: Sequence[Field], units: int, pixels: int) -> Field | None:
    """The field where branches meet: from the first pixel to the last that any of them sees.

    None when it differs from unit to unit: branches of unequal jump on a map of several units.
    `units` is the map's length along this axis, `pixels` the image's.
    """
    local = [f for f in fields if not f.fixed]
    jumps, fixed = {f.jump for f in local or fields}, len(local) < len(fields)
    aligned = all(f.aligned for f in fields) and len({(f.jump, f.start) for f in local}) <= 1
    if local and len(jumps) > 1 and units > 1:
        return None
    spans = [f.span(0) for f in fields]
    if fixed and units > 1:  # what is global must cover, in the image, what the others see
        spans = [(max(first, 0), min(last, pixels - 1)) for first, last in spans]
        first, last = _union(s for f, s in zip(fields, spans, strict=True) if f.fixed)
        for f in local:
            if f.span(0)[0] < first > 0 or f.span(units - 1)[1] > last < pixels - 1:
                return None
        spans = [(first, last)]
    first, last = _union(spans)
    return Field(last - first + 1, max(jumps), -first, fixed or len(jumps) > 1, aligned)


def _union(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    firsts, lasts = zip(*spans, strict=True)
    return min(firsts), max(lasts)


def fields(rows: Sequence[Row], global_context: bool = True) -> list[tuple[Field, Field] | Unknown]:
    """Return for each row the field along height and width, or why there is none.

    Squeeze-and-excitation, or the statistics of GroupNorm, let every unit see the whole map.
    `global_context=False` leaves such branches out where a local one goes beside them.
    """
    image, found = rows[0].extent, [(Field(), Field())]
    groups = [found[:]]  # by row, the fields of each group of its channels
    for i, row in enumerate(rows[1:], start=1):
        groups.append([])
        for reads in reads_of(rows, i):
            inputs = []
            for j, chosen in reads.items():
                part = found[j]
                if len(chosen) < len(groups[j]) and not isinstance(part, Unknown):
                    part = _meet(rows[j], [groups[j][g] for g in chosen], image, global_context)
                inputs.append(part)
            groups[i].append(_field(row, inputs, image, global_context))
        found.append(_meet(row, groups[i], image, global_context))
    return found


def _field(row: Row, inputs: list, image: tuple[int, int], global_context: bool):
    inputs = _varying(inputs)
    for found in inputs:
        if isinstance(found, Unknown):
            return found
    if row.reason or not inputs:
        return Unknown(row.name, row.reason or CONSTANT)
    if not global_context:
        inputs = _local(inputs)
    moved = [tuple(map(after, found, row.windows)) for found in inputs]
    return _meet(row, moved, image, True)


def _varying(found: list) -> list:
    """Constants beside maps see nothing, and take nothing from what those see."""
    constant = [isinstance(one, Unknown) and one.reason == CONSTANT for one in found]
    return found if all(constant) else [o for o, c in zip(found, constant, strict=True) if not c]


def _local(found: list) -> list:
    return [i for i in found if not (i[0].fixed or i[1].fixed)] or found


def _meet(row: Row, found: list, image: tuple[int, int], global_context: bool):
    """The fields along both axes of channels, or of branches, taken together."""
    found = _varying(found)
    for one in found:
        if isinstance(one, Unknown):
            return one
    if not global_context:
        found = _local(found)
    if len(found) == 1:
        return found[0]
    both = []
    for axis in AXES:
        field = merge([one[axis] for one in found], row.extent[axis], image[axis])
        if field is None:
            jumps = sorted({one[axis].jump for one in found})
            why = f"jumps {jumps}" if len(jumps) > 1 else "different reach"
            return Unknown(row.name, f"branches of {why} meet: its units see fields of many sizes")
        both.append(field)
    return tuple(both)


def chain(rows: Sequence[Row], index: int) -> list[tuple[Window, Window]]:
    """The windows from the image to row `index`, for `receptive_field` and `variance`.

    Raises InputError when branches meet on the way: they have no single chain.
    """
    windows = []
    while index:
        row = rows[index]
        if row.reason or len(row.inputs) != 1:
            raise InputError(f"{row.name} has no single chain of windows to the image")
        windows.append(row.windows)
        index = row.inputs[0]
    return windows[::-1]


# --- The exact pixels -------------------------------------------------------------------------


def pixels(rows: Sequence[Row], index: int, unit: tuple[int, int]) -> Tensor:
    """Return the mask (H, W) of the pixels that reach `unit` of row `index`, clipped to the image.

    Row by row back to the image, so that it is exact at the border as well, and shows the holes
    that dilation, or strides larger than kernels, leave.

    Raises InputError when the row comes after one that could not be read, or has no such unit.
    """
    if not all(0 <= u < n for u, n in zip(unit, rows[index].extent, strict=True)):
        raise InputError(f"unit={unit} is outside the map of {rows[index].extent} units")
    here = torch.zeros(rows[index].extent)
    here[unit] = 1
    reached = {(index, group): here for group in range(len(rows[index].reads) or 1)}
    for i in range(index, 0, -1):
        for group, reads in enumerate(reads_of(rows, i)):
            if (i, group) not in reached:
                continue
            if rows[i].reason:
                raise InputError(f"{rows[i].name} cannot be read: {rows[i].reason}")
            mask = reached.pop((i, group))
            for j, chosen in reads.items():
                down, across = (
                    _taps(w, *n)
                    for w, *n in zip(rows[i].windows, rows[i].extent, rows[j].extent, strict=True)
                )
                seen = (down.T @ mask @ across > 0).float()
                for g in chosen:
                    reached[j, g] = torch.maximum(reached.get((j, g), torch.zeros(1)), seen)
    return reached.get((0, 0), torch.zeros(rows[0].extent)) > 0


def _taps(window: Window, units: int, inputs: int) -> Tensor:
    """Matrix (units, inputs) of 0 and 1: which position of the map before each unit reads."""
    matrix = torch.zeros(units, inputs)
    taps = torch.arange(window.kernel_size) * window.dilation - window.padding
    for unit in range(units):
        position = unit * window.stride + taps
        if window.border == "reflect":
            position = inputs - 1 - (inputs - 1 - position.abs()).abs()
        elif window.border == "replicate":
            position = position.clamp(0, inputs - 1)
        matrix[unit, position[(position >= 0) & (position < inputs)]] = 1
    return matrix


def bounding_box(mask: Tensor) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((top, bottom), (left, right)) of a mask (H, W), both ends included; None when empty."""
    if not mask.any():
        return None
    edges = (mask.any(1).nonzero(), mask.any(0).nonzero())
    return tuple((int(e.min()), int(e.max())) for e in edges)
