"""Advice on a network's design, for an object of so many pixels: what to look at, and one change.

Fields are what a unit can see. Layers whose input sees all of the object already add little
(Richter et al., 2021); most of what a unit does see lies in the middle of its field (Luo et al.,
2016), so that a field just as large as the object is small.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, prod

from receptive.show import pair, show

LESSON = "notebooks/02c_field_worth.ipynb"
COUNTING = "notebooks/03_parameter_counting.ipynb"


def advice(description, object_size: int) -> list[str]:
    """Sentences on a `Description`, each with its numbers, a change, and the lesson's page."""
    lines = [r for r in description.rows if not r.container and r.status in ("known", "measured")]
    sizes = {"input": [1, 1]} | {
        r.name: pair(r.local_field if r.local_field is not None else r.receptive_field)
        for r in lines
    }
    before = {r.name: _largest([sizes.get(name, [0, 0]) for name in r.inputs]) for r in lines}
    maps = [r for r in lines if len(r.output_shape) == 3 and max(r.output_shape[1:]) > 1]
    rules = (
        _unproductive(description, lines, before, object_size),
        _averaged(lines, maps, sizes, before, object_size),
        _holes(maps),
        _padding(description, maps),
        _heavy(description, lines),
    )
    return [sentence for rule in rules for sentence in rule]


def _largest(fields: Sequence) -> list[int]:
    return [max(axis) for axis in zip(*fields, strict=True)] or [0, 0]


def _unproductive(description, lines: Sequence, before: dict, size: int) -> Iterator[str]:
    """Convolutions whose input sees the whole object already."""
    late = [r for r in lines if _slides(r) and r.macs and min(before[r.name]) >= size]
    if late:
        parameters, macs = (sum(getattr(r, n) for r in late) for n in ("parameters", "macs"))
        yield (
            f"the input of {late[0].name} sees all {size} pixels of the object already "
            f"({show(before[late[0].name])}), and {_count(late, 'convolution')} from there on take "
            f"{parameters / max(description.parameters, 1):.0%} of the parameters and "
            f"{macs / max(description.macs, 1):.0%} of the multiply-adds: take some out, or let a "
            f"stride come later; {LESSON}"
        )


def _averaged(lines: Sequence, maps: Sequence, sizes: dict, before: dict, size: int):
    """A global average or maximum over units that see less than the object."""
    for last, row in pairwise(lines):
        pooled = last in maps and row not in maps and not row.macs and len(row.output_shape) < 4
        shrunk = prod(row.output_shape) < prod(last.output_shape)
        if pooled and shrunk and min(before[row.name]) < size and last.jump:
            seen, jump = min(before[row.name]), Fraction(max(pair(last.jump)))
            more = range(ceil((size - seen) / (2 * jump)))
            yield (
                f"{row.name} averages before a unit has seen the object: {seen} of its {size} "
                f"pixels; {_count(more, 'more 3×3 convolution')} before it, by "
                f"{show(2 * jump)} pixels each, would show it whole; {LESSON}"
            )


def _holes(maps: Sequence) -> Iterator[str]:
    """Pixels that dilation, or a stride larger than the kernel, leaves out."""
    holed = [r for r in maps if r.pixels_read]
    if holed and holed[-1] is maps[-1]:
        read, box = maps[-1].pixels_read
        yield (
            f"a unit of {maps[-1].name} reads {read:,} of the {box:,} pixels in its field, for "
            f"holes open at {holed[0].name}: there dilation times jump should not exceed the "
            f"field before it; {LESSON}"
        )


def _padding(description, maps: Sequence) -> Iterator[str]:
    """How much of what a unit in the corner of the last map sees is padding."""
    known = [r for r in maps if r.field_padding is not None and not any(pair(r.same_for_all_units))]
    if not known:
        return
    last, inside = known[-1], 1.0
    columns = map(pair, (last.receptive_field, last.field_padding))
    for size, padding, pixels in zip(*columns, description.input_shape[1:], strict=True):
        inside *= max(0, min(size - padding, pixels) - max(0, -padding)) / size
    if inside < 0.5:
        padded = [r for r in maps if r.padding is not None and max(pair(r.padding)) > 0]
        yield (
            f"of what the corner unit of {last.name} sees, {1 - inside:.0%} is padding: less of it "
            f"in {_count(padded, 'layer')}, or an image larger than "
            f"{show(list(description.input_shape[1:]))}, would show it more; {LESSON}"
        )


def _heavy(description, lines: Sequence) -> Iterator[str]:
    """One layer that holds most of the parameters, or of the multiply-adds."""
    for column, what in (("parameters", "parameters"), ("macs", "multiply-adds")):
        row = max(lines, key=lambda r: getattr(r, column), default=None)
        share = getattr(row, column, 0) / max(getattr(description, column), 1)
        if share > 0.5 and sum(getattr(r, column) > 0 for r in lines) > 1:
            mend = "a smaller kernel or fewer channels" if _slides(row) else "fewer inputs"
            if column == "macs" and _slides(row):
                mend = "fewer channels, or a pool before it (a quarter of the units)"
            elif len(row.output_shape) == 1:
                mend = "a global average before it, or fewer inputs,"
            yield f"{row.name} holds {share:.0%} of the {what}: {mend} would save most; {COUNTING}"


def _slides(row) -> bool:
    return row.kernel_size is not None and max(pair(row.kernel_size)) > 1


def _count(items: Sequence, noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"
