"""What an entry sees after an operation is, unit by unit, what those that it was made of saw."""

import itertools
import random

import numpy

from receptive.layout import Layout, Unreadable, joined, mixed, settled, slid
from receptive.rows import Row
from receptive.steps import Steps, Window

MAPS = 4  # rows that nothing feeds, so that what they show is what can be seen
SEEDS = 6_000


def units(rows, i, place):
    """The units (row, y, x) of the maps at the beginning that one unit of a row sees."""
    if i < MAPS:
        return {(i, *place)}
    reads = []
    for window, unit in zip(rows[i].windows, place, strict=True):
        reads.append(Steps.of(window).read_by(unit))
    found = set()
    for j in rows[i].inputs:
        for at in itertools.product(*reads):
            at = [
                u % n if w.border == "circular" else u
                for u, n, w in zip(at, rows[j].extent, rows[i].windows, strict=True)
            ]
            if all(0 <= u < n for u, n in zip(at, rows[j].extent, strict=True)):
                found |= units(rows, j, tuple(at))
    return found


def seen(rows, layout, entry):
    """What one entry of a tensor sees; nothing, where nothing of the image is left in it."""
    if layout is None:
        return set()
    at = [tuple(e if n > 1 else 0 for e, n in zip(entry, t.shape, strict=True)) for t in layout[2:]]
    y, x, g = (int(t[place]) for t, place in zip(layout[2:], at, strict=True))
    reads = layout.reads[g] if g >= 0 else ()
    return set().union(*(units(rows, i, (y, x)) for i in reads))


def drawn(chance, sizes, maps):
    """A layout of a tensor: its axes along dimensions, flattened, cut in tiles, or in a mess."""

    def along(dims):
        shape = [n if d in dims else 1 for d, n in enumerate(sizes)]
        return numpy.arange(numpy.prod(shape)).reshape(shape)

    def anywhere(low, high):
        t = along(chance.sample(range(3), 2))
        return numpy.array([chance.randint(low, high) for _ in range(t.size)]).reshape(t.shape)

    dims = chance.sample(range(3), 2)
    kind = chance.choice(["axes", "axes", "flat", "tiles", "mess"])
    if kind == "axes":
        y, x = along(dims[:1]), along(dims[1:])
    elif kind == "flat":
        y, x = numpy.divmod(along(dims[:1]), chance.randint(1, 3))
    elif kind == "tiles":
        y, x = along(dims), along([])
    else:
        y, x = anywhere(0, 3), along(dims[:1])
    extent = tuple(int(t.max()) + 1 for t in (y, x))
    g = along([]) if chance.random() < 0.5 else anywhere(-1, len(maps) - 1)
    return Layout(extent, tuple((i,) for i in maps), y, x, g)


def cases():
    """(chance, rows, a layout of the first two maps, one of the others) over and over."""
    for seed in range(SEEDS):
        chance = random.Random(seed)
        sizes = [chance.choice((1, 1, 2, 3, 4)) for _ in range(3)]
        one, other = drawn(chance, sizes, (0, 1)), drawn(chance, sizes, (2, 3))
        if chance.random() < 0.5:  # alike but for its groups
            other = one._replace(g=other.g, reads=other.reads)
        extents = [one.extent, one.extent, other.extent, other.extent]
        yield chance, [Row("", "", (), extent) for extent in extents], one, other


def compare(operate, expected):
    """`operate` on each case; where it can be read, each entry must see what is expected."""
    read = 0
    for seed, (chance, rows, one, other) in enumerate(cases()):
        shape = numpy.broadcast_shapes(one.shape, other.shape)
        try:
            result, after, extra = operate(chance, rows, one, other, shape)
        except Unreadable:
            continue
        read += 1
        for entry in itertools.product(*map(range, after)):
            assert seen(rows, result, entry) == expected(rows, one, other, shape, entry, extra), (
                seed
            )
    return read / SEEDS


def test_what_is_mixed_sees_what_all_that_were_mixed_saw():
    def mix(chance, rows, one, other, shape):
        over = chance.sample(range(3), chance.randint(1, 2))
        after = [1 if d in over else n for d, n in enumerate(shape)]
        return mixed(rows, one, over), after, over

    def all_of(rows, one, other, shape, entry, over):
        lines = [range(n) if d in over else [entry[d]] for d, n in enumerate(shape)]
        return set().union(*(seen(rows, one, e) for e in itertools.product(*lines)))

    assert compare(mix, all_of) > 0.5


def test_what_is_joined_sees_what_both_saw():
    def join(chance, rows, one, other, shape):
        return joined(rows, [one, other], 3), shape, None

    def both(rows, one, other, shape, entry, _):
        return seen(rows, one, entry) | seen(rows, other, entry)

    assert compare(join, both) > 0.5


def test_what_is_settled_sees_what_it_saw():
    def settle(chance, rows, one, other, shape):
        return settled(rows, one), shape, None

    def itself(rows, one, other, shape, entry, _):
        return seen(rows, one, entry)

    assert compare(settle, itself) == 1


def test_what_windows_slide_over_sees_what_all_inside_them_saw():
    def slide(chance, rows, one, other, shape):
        windows, after = [], list(shape)
        for d in range(-chance.randint(1, 2), 0):
            size, stride, padding = chance.randint(1, 3), chance.randint(1, 2), chance.randint(0, 1)
            windows.append(Window(size, stride, padding))
            after[d] = (shape[d] + 2 * padding - size) // stride + 1
        if min(after) < 1:
            raise Unreadable
        n = len(windows)
        return slid(rows, one, windows, shape[-n:], after[-n:]), after, windows

    def all_inside(rows, one, other, shape, entry, windows):
        first = len(shape) - len(windows)
        lines = [[e] for e in entry]
        for d, window in enumerate(windows, first):
            lines[d] = [p for p in Steps.of(window).read_by(entry[d]) if 0 <= p < shape[d]]
        return set().union(*(seen(rows, one, e) for e in itertools.product(*lines)))

    assert compare(slide, all_inside) > 0.1
