"""Where the units of a map lie in a tensor, whatever was done to its dimensions.

For each entry of a tensor: the row and the column of the unit that it shows, and the group of its
channels, −1 where it reads nothing of the image. What only moves data is called on these numbers
themselves (`moved`); all other operations mix units, join maps, or slide along an axis.

Half the channels of `cat([a, b])` see what `a` sees, the others what `b` sees, and `chunk` may part
them again: so the channels of a map fall into groups, and each is a row of its own.

An example, an image of two channels and 4×4 pixels, and what three operations make of its layout
(`follow` tells which rows of the table that takes):

    images                        (1, 2, 4, 4)  y 0 1 2 3 down, x 0 1 2 3 along, g 0 everywhere
    maps = cat([images, conv], 1) (1, 4, 4, 4)  y, x as before; g 0 0 1 1 along the channels
    lines = maps.flatten(2)       (1, 4, 16)    y 0 0 0 0 1 1 1 1 2 …, x 0 1 2 3 0 1 2 3 0 …
    lines[:, 1:3]                 (1, 2, 16)    g 0 1: a channel of the image, and one of conv's
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from math import prod
from typing import NamedTuple

import numpy
import torch
from numpy import ndarray

from receptive.rows import AXES, Row
from receptive.steps import BROADCAST, POINT, Steps, pattern

APART = "it mixes patches, and keeps their pixels apart"
ACROSS = "it joins maps whose axes lie differently"


class Unreadable(Exception):
    """The operation cannot be read as windows; the message says why."""


class Layout(NamedTuple):
    """`y`, `x` and `g` have the tensor's dimensions, each 1 long where it does not vary.

    `y` and `x` count the units of a map of `extent`, `g` the entries of `reads`: the rows that each
    group reads. Where `g` is −1, nothing is read, and `y` and `x` may be −1 as well.
    """

    extent: tuple[int, int]
    reads: tuple[tuple[int, ...], ...]
    y: ndarray
    x: ndarray
    g: ndarray

    @property
    def row(self) -> int:
        return self.reads[0][0]

    @property
    def shape(self) -> tuple[int, ...]:
        return numpy.broadcast_shapes(*(t.shape for t in self[2:]))

    def each(self, function: Callable[[ndarray], ndarray]) -> "Layout":
        return self._replace(y=function(self.y), x=function(self.x), g=function(self.g))

    def changed(self, axis: int, units: int, place: ndarray) -> "Layout":
        """With so many units along an axis, at that place."""
        extent = tuple(units if k == axis else n for k, n in enumerate(self.extent))
        return self._replace(extent=extent, **{"yx"[axis]: place})

    def axes_along(self, d: int) -> list[int]:
        """The axes of the image along which dimension `d` moves."""
        return [k for k in AXES if self[2 + k].shape[d] > 1]

    def alone(self, axis: int) -> bool:
        """Whether one dimension, or none, holds `axis`, and nothing of the other axis."""
        along = _along(self[2 + axis])
        return len(along) < 2 and all(self.axes_along(d) == [axis] for d in along)

    def in_order(self, axis: int) -> bool:
        """Whether `axis` lies alone in one dimension, unit after unit."""
        units = self[2 + axis]
        alike = all(self.g.shape[d] == 1 for d in _along(units)) and self.alone(axis)
        return alike and numpy.array_equal(units.ravel(), range(self.extent[axis]))

    def tangled(self, axis: int) -> bool:
        """Whether an axis lies alone in a dimension, but not unit after unit."""
        return self.alone(axis) and not self.in_order(axis)

    def numbers(self, group: ndarray | int) -> ndarray:
        """A number for each unit of each group, from 1 on; 0 for what reads nothing."""
        height, width = self.extent
        return numpy.where(self.g < 0, 0, 1 + (group * height + self.y) * width + self.x)


def row_of_units(n: int, rank: int, d: int) -> ndarray:
    """0 to n − 1 along one dimension of so many."""
    return numpy.arange(n).reshape([n if k == d % rank else 1 for k in range(rank)])


def _all(groups: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(groups)))


def _along(t: ndarray) -> list[int]:
    return [d for d, n in enumerate(t.shape) if n > 1]


def _short(t: ndarray, unsaid: int = -1) -> ndarray:
    """1 long along dimensions on which the entries, where they are said, do not depend."""
    for d in sorted(_along(t), key=lambda d: -t.shape[d]):
        value = t.max(d, keepdims=True)
        if ((t == value) | (t == unsaid)).all():
            t = value
    return t


def add(rows: list[Row], layout: Layout, windows: Sequence = (POINT, POINT)) -> Layout:
    """Make a row of what each group reads, and say where it lies."""
    first = len(rows)
    rows += [Row("", "", group, layout.extent, tuple(windows)) for group in layout.reads]
    return layout._replace(reads=tuple((i,) for i in range(first, len(rows))))


def spread(rows: list[Row], layout: Layout, axis: int, n: int, place, window=BROADCAST) -> Layout:
    """Show the units along an axis to `n` units at a place: by default the one to all of them."""
    windows = [window if k == axis else POINT for k in AXES]
    return add(rows, layout.changed(axis, n, place), windows)


# --- What operations do ---------------------------------------------------------------------------


def moved(
    maps: Sequence[tuple], function: Callable, full: Iterable | None = None, key: object = None
) -> list[Layout]:
    """Layouts after `function` has moved the data of maps, each given by a layout and a shape.

    It is called on numbers, 0 for what reads nothing, once for each part of a layout; `full` are
    the dimensions whose length matters to it, by default all. Rows are still to be made: `settled`.
    What is moved once is remembered if `key` says all that `function` goes by.
    """
    reads = tuple(dict.fromkeys(read for m, _ in maps for read in m.reads))
    full = range(len(maps[0][1])) if full is None else list(full)
    numbers = []
    for m, _ in maps:
        g = numpy.array([*map(reads.index, m.reads), -1])[m.g]
        numbers.append([numpy.where(g < 0, 0, t + 1) for t in (m.y, m.x, g)])
    shapes, arrays = [shape for _, shape in maps], [t for each in numbers for t in each]
    key = key and (str((key, shapes, [t.shape for t in arrays])), *(t.tobytes() for t in arrays))
    result = MOVED.get(key) or _moved(numbers, shapes, function, full)
    if key and len(MOVED) < 10_000:
        MOVED[key] = result
    extent = maps[0][0].extent
    return [Layout(extent, reads, *places) for places in result]


MOVED: dict = {}  # what was moved before: the blocks of a transformer are alike


def _moved(numbers: list, shapes: list, function: Callable, full: Sequence[int]) -> list[tuple]:
    """y, x and g of each output."""
    parts = []
    for each in zip(*numbers, strict=True):
        sizes = [[1 if d in full else n for d, n in enumerate(t.shape)] for t in each]
        common, arrays = numpy.broadcast_shapes(*sizes), []
        for t, shape in zip(each, shapes, strict=True):
            size = [shape[d] if d in full else n for d, n in enumerate(common)]
            t = numpy.array(numpy.broadcast_to(t, size), "int32", order="C")
            arrays.append(torch.from_numpy(t))
        results = function(*arrays)
        parts.append(results if isinstance(results, (tuple, list)) else [results])
    outcomes = []
    for results in zip(*parts, strict=True):
        if 0 in results[0].shape:
            raise Unreadable("it makes or takes a map without channels")
        y, x, g = (t.numpy() - 1 for t in results)
        outcomes.append((_short(y), _short(x), _short(g, unsaid=-2)))
    return outcomes


def settled(rows: list[Row], layout: Layout) -> Layout | None:
    """Make the row of what was moved; None when nothing of the image is left in it.

    Where an axis lies in one dimension, its units are counted anew, in the order in which they lie.
    """
    windows = [POINT, POINT]
    for k in AXES:
        place, g = layout[2 + k], layout.g
        units, along = place.ravel().tolist(), _along(place)
        if units == list(range(layout.extent[k])) or not layout.alone(k):
            continue
        nothing = (g < 0) & (place < 0)
        g = _short(numpy.where(nothing, g.max(tuple(along), keepdims=True), g), unsaid=-2)
        window = pattern([(u,) if u >= 0 else () for u in units], layout.extent[k])
        if window and all(g.shape[d] == 1 for d in along):
            windows[k], place = window, numpy.arange(len(units)).reshape(place.shape)
            layout = layout.changed(k, len(units), place)._replace(g=g)
    used = [u for u in numpy.unique(layout.g).tolist() if u >= 0]
    g = numpy.where(layout.g < 0, -1, numpy.searchsorted(used, layout.g))
    layout = layout._replace(reads=tuple(layout.reads[u] for u in used), g=g)
    return add(rows, layout, windows) if used else None


def mixed(rows: list[Row], layout: Layout, over: Iterable[int]) -> Layout:
    """Each entry sees what all entries along the dimensions `over` see; they become 1 long."""
    extent, reads, y, x, g = layout
    over = sorted({d % g.ndim for d in over})
    axes = [d for d in over if layout.axes_along(d)]
    if not axes and all(g.shape[d] == 1 for d in over):
        return layout
    if len(reads) > 1 and any(g.shape[d] > 1 for d in axes):  # each group by itself
        parts = []
        for k, group in enumerate(reads):
            y, x = (_short(numpy.where(g == k, t, -1)) for t in layout[2:4])
            only = _short(numpy.where(g == k, 0, -1), unsaid=-2)
            parts.append(mixed(rows, Layout(extent, (group,), y, x, only), over))
        return joined(rows, parts, g.ndim)
    if (g < 0).any():  # what reads nothing lies nowhere
        layout = layout._replace(y=numpy.where(g < 0, -1, y), x=numpy.where(g < 0, -1, x))
    seen = [_seen(t, over, n) for t, n in zip(layout[2:], (*extent, len(reads)), strict=True)]
    if any(len(layout.axes_along(d)) > 1 for d in axes):  # not every row of every column, perhaps
        units = numpy.sort(_last(layout.numbers(0), over))
        count = (units[..., :1] > 0).sum(-1) + (units[..., 1:] > units[..., :-1]).sum(-1)
        if (count != _last(seen[0].sum(-1) * seen[1].sum(-1), over)[..., 0]).any():
            raise Unreadable(APART)
    sets, places = zip(*map(_numbered, seen), strict=True)
    windows = [pattern(*one) for one in zip(sets[:2], extent, strict=True)]
    if None in windows:
        raise Unreadable(APART)
    reads = tuple(_all(reads[i] for i in group) for group in sets[2])
    y, x, g = *map(_short, places[:2]), _short(places[2], unsaid=-2)
    layout = add(rows, Layout((len(sets[0]), len(sets[1])), reads, y, x, g), windows)
    return settled(rows, layout) if (y < 0).any() or (x < 0).any() else layout


def _last(t: ndarray, dims: list[int]) -> ndarray:
    """Those dimensions as one, the last."""
    t = numpy.moveaxis(t, dims, range(-len(dims), 0))
    return t.reshape(*t.shape[: t.ndim - len(dims)], -1)


def _seen(t: ndarray, over: list[int], n: int) -> ndarray:
    """For each entry n booleans: which numbers it meets along the dimensions `over`."""
    lines = _last(t, over)
    reached = numpy.zeros((*lines.shape[:-1], n + 1), bool)
    numpy.put_along_axis(reached, lines, True, -1)  # −1, nothing, goes to the last
    return numpy.expand_dims(reached[..., :-1], over)


def _numbered(seen: ndarray) -> tuple[list[tuple[int, ...]], ndarray]:
    """The different sets in `seen`, in order, and which of them each entry sees, −1 for none."""
    kinds, which = numpy.unique(seen.reshape(-1, seen.shape[-1]), axis=0, return_inverse=True)
    sets = [tuple(kind.nonzero()[0].tolist()) for kind in kinds]
    order = sorted(s for s in sets if s)
    number = numpy.array([order.index(s) if s else -1 for s in sets])
    return order, number[which].reshape(seen.shape[:-1])


def joined(rows: list[Row], layouts: Sequence[Layout], rank: int) -> Layout | None:
    """Make the row of maps that meet value by value; None where none of them reads anything.

    Along each axis the longest map counts, and each unit of a shorter one is shown to several.
    """
    layouts = [m.each(lambda t: t[(None,) * (rank - t.ndim)]) for m in layouts]
    if len(layouts) == 1:
        return add(rows, layouts[0])
    whole = layouts[0]
    for k in AXES:
        longest = max(layouts, key=lambda m: (m.extent[k], m[2 + k].size))
        place, n = longest[2 + k], longest.extent[k]
        for i, m in enumerate(layouts):
            place, window = _meeting(place, n, m[2 + k], m.extent[k])
            if window != POINT:
                layouts[i] = spread(rows, m, k, n, place, window)
        whole = whole.changed(k, n, place)
    if all(len(m.reads) == m.g.size == 1 and m.g.item() == 0 for m in layouts):
        return add(rows, whole._replace(reads=(_all(m.reads[0] for m in layouts),)))
    groups = numpy.broadcast_arrays(*(m.g for m in layouts))
    kinds, which = numpy.unique([g.ravel() for g in groups], axis=1, return_inverse=True)
    reads, number = {}, []
    for kind in kinds.T.tolist():
        own = _all(m.reads[k] for m, k in zip(layouts, kind, strict=True) if k >= 0)
        number.append(reads.setdefault(own, len(reads)) if own else -1)
    g = _short(numpy.array(number)[which].reshape(groups[0].shape), unsaid=-2)
    return add(rows, whole._replace(reads=tuple(reads), g=g)) if reads else None


def _meeting(place: ndarray, units: int, other: ndarray, n: int) -> tuple[ndarray, object]:
    """How the units at `place` read those of another map, and the place, where that has more."""
    if units == n and numpy.array_equal(place, other):
        return place, POINT
    here, there = numpy.broadcast_arrays(place, other)
    both, alone = (here >= 0) & (there >= 0), (here < 0) & (there >= 0)
    reads = numpy.full(units, -1)
    reads[here[both]] = there[both]
    window = pattern([(u,) if u >= 0 else () for u in reads.tolist()], n)
    if window is None or (reads[here] != there)[both].any() or (reads[0] != there)[alone].any():
        raise Unreadable(ACROSS)
    return (numpy.where(alone, 0, here) if alone.any() else place), window


def slid(rows: list[Row], layout: Layout, windows: Sequence, before, after) -> Layout:
    """Windows over the last dimensions, whose sizes are `before` and `after`."""
    both, rank, dims = [POINT, POINT], layout.g.ndim, range(-len(windows), 0)
    for d, window in zip(dims, windows, strict=True):  # over groups
        plain = window != POINT and tuple(window[2:4]) == (0, 1)
        if plain and layout.g.shape[d] > 1 and not layout.axes_along(d):
            by_window = partial(torch.Tensor.unfold, dimension=d, size=window[0], step=window[1])
            [layout] = moved([(layout, layout.shape)], by_window, [rank + d])
            layout = mixed(rows, layout, [-1]).each(lambda t: t.squeeze(-1))
    spare = [k for k in AXES if layout[2 + k].size == layout.extent[k] == 1]
    for d, window, old, new in zip(dims, windows, before, after, strict=True):
        axes = layout.axes_along(d)
        if window == POINT and old == new:
            continue
        if old == 1 and len(windows) == 2:  # a map one unit high or wide
            axes = sorted(spare, key=lambda k: k != d + 2)[:1]  # its own axis, if it can
            spare = [k for k in spare if k not in axes]
        if len(axes) > 1:
            raise Unreadable("it slides over flattened pixels")
        if layout.g.shape[d] > 1 or not all(map(layout.in_order, axes)):
            raise Unreadable(f"it slides over {_disorder(layout, d)}")
        if not axes and _misses(window, old, new):
            raise Unreadable("some of its windows lie in the padding")
        for k in axes:
            both[k], layout = window, layout.changed(k, new, row_of_units(new, rank, d))
    return add(rows, layout, both)


def _misses(window: object, inputs: int, units: int) -> bool:
    """Whether some of the units read only zeros beyond the edge."""
    steps = Steps.of(window)
    reads = (set(steps.read_by(unit)) for unit in range(units))
    return steps.border == "zeros" and any(map(set(range(inputs)).isdisjoint, reads))


def _disorder(layout: Layout, d: int) -> str:
    """What keeps the units along a dimension from being a map's, one after the other."""
    axes = layout.axes_along(d)
    if layout.g.shape[d] > 1:
        return "maps that lie side by side"
    if len(axes) != 1 or not layout.alone(axes[0]):
        return "height or width laid out with something else"
    units, name = layout[2 + axes[0]].ravel().tolist(), ("rows", "columns")[axes[0]]
    if units == sorted(units, reverse=True):
        return f"flipped {name}"
    return f"{'repeated' if len({*units}) < len(units) else 'reordered'} {name}"


def together(rows: list[Row], layout: Layout) -> int:
    """The row to show: of all groups, and of a patch's pixels where these lie by themselves."""
    units, pixels = set(), set()
    for k in AXES:
        steps = {d: int(numpy.ptp(layout[2 + k], d).max()) for d in _along(layout[2 + k])}
        *smaller, largest = sorted(steps, key=steps.get) or [None]
        units, pixels = units | {largest}, pixels | set(smaller)
    layout = layout if units & pixels else mixed(rows, layout, pixels)
    tangled = [d for k in AXES for d in _along(layout[2 + k]) if layout.tangled(k)]
    if tangled or units & pixels:
        raise Unreadable(f"it makes {_disorder(layout, min(tangled or units & pixels))}")
    flat = any(len(layout.axes_along(d)) > 1 for d in range(layout.g.ndim))
    if flat and numpy.count_nonzero(numpy.unique(layout.numbers(0))) < prod(layout.extent):
        several = len(layout.reads) > 1
        raise Unreadable("it lays maps end to end" if several else "it cuts the flattened pixels")
    if len(layout.reads) > 1:
        rows.append(Row("", "", tuple(i for (i,) in layout.reads), layout.extent))
        if any(layout.axes_along(d) for d in _along(layout.g)):  # tokens beside units, perhaps
            units = numpy.count_nonzero(numpy.unique(layout.numbers(layout.g)))
            rows[-1].alike = units < prod(layout.extent) * len(layout.reads)
        return len(rows) - 1
    return layout.row
