"""The receptive-field table on paper, right, and wrong in the ways in which people get it wrong.

A mistake is a rule that computes the next entry of one column from the row before, as somebody
would who believes it. So it is recognised in a table of any network, and what merely follows from
an earlier wrong entry is not counted again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mnist_utils.errors import InputError
from mnist_utils.receptive_field import Window

COLUMNS = ("size", "receptive_field", "jump", "start")


class Row(NamedTuple):
    """What the table says of one layer, along one axis: its map, and what its units see."""

    size: int  # units of the map
    receptive_field: int  # pixels
    jump: int  # pixels between the fields of neighbours
    start: float  # centre of the first unit's field; the first pixel's centre is 0


IMAGE = Row(28, 1, 1, 0.0)  # before the first layer: MNIST's pixels


class Layer(NamedTuple):
    """A window with a name and a kind: `conv`, `pool`, or `mean` over the whole map."""

    window: Window
    kind: str = "conv"
    name: str = ""


class Step(NamedTuple):
    """What a rule may look at."""

    before: Row  # as somebody gave it
    layer: Layer
    around: tuple[Row, Row, Row]  # the right rows of the layer before, this one, the one after
    image: Row


def step(before: Row, layer: Layer) -> Row:
    """The next row of the table (Araujo et al. 2019, with dilation).

    Raises
    ------
    InputError
        Nothing of the map would be left.
    """
    kernel_size, stride, padding, dilation = _window(before, layer)
    reach = dilation * (kernel_size - 1)
    size = (before.size + 2 * padding - reach - 1) // stride + 1
    if size < 1:
        name = layer.name or "a layer"
        raise InputError(f"{name} finds a map of {before.size}, too small for {reach + 1}")
    return Row(
        size,
        before.receptive_field + reach * before.jump,
        before.jump * stride,
        before.start + (reach / 2 - padding) * before.jump,
    )


def _window(before: Row, layer: Layer) -> tuple[int, int, int, int]:
    """Kernel size, stride, padding, dilation; a mean reads all units that there are."""
    if layer.kind == "mean":
        return before.size, before.size, 0, 1
    return layer.window[:4]


def table(layers: Sequence[Layer], image: Row = IMAGE) -> list[Row]:
    """The right table of a chain of layers; `image` is the row before the first."""
    rows = [image]
    for layer in layers:
        rows.append(step(rows[-1], layer))
    return rows[1:]


class Mistake(NamedTuple):
    """A belief about one column: its name, what to say to it, and the rules it can lead to."""

    name: str
    column: str
    says: str
    rules: tuple[Callable[[Step], float], ...]


def _field(grows: Callable[..., float]) -> Callable[[Step], float]:
    """A rule for the field, from what is added to it: a function of j, k, s, p, d and kind."""

    def rule(now: Step) -> float:
        k, s, p, d = _window(now.before, now.layer)
        j, kind = now.before.jump, now.layer.kind
        return now.before.receptive_field + grows(j=j, k=k, s=s, p=p, d=d, kind=kind)

    return rule


def _of_pools(wrong: Callable[[Step], float]) -> Callable[[Step], float]:
    """A rule that goes wrong at pools alone."""
    return lambda now: wrong(now) if now.layer.kind == "pool" else _right(now).receptive_field


def _right(now: Step) -> Row:
    return step(now.before, now.layer)


def _size(counts: Callable[..., float]) -> Callable[[Step], float]:
    """A rule for the map, as a function of n, k, s, p, d."""

    def rule(now: Step) -> float:
        k, s, p, d = _window(now.before, now.layer)
        return counts(n=now.before.size, k=k, s=s, p=p, d=d)

    return rule


def _start(moves: Callable[..., float]) -> Callable[[Step], float]:
    """A rule for the start, from what is added to it: a function of j, k, s, p, d."""

    def rule(now: Step) -> float:
        k, s, p, d = _window(now.before, now.layer)
        return now.before.start + moves(j=now.before.jump, k=k, s=s, p=p, d=d)

    return rule


def _whole_kernel(first: int, of_pools: bool) -> Callable[[Step], float]:
    """A whole kernel added instead of what it reaches further; the first unit counts, or not."""

    def rule(now: Step) -> float:
        k, _, _, d = _window(now.before, now.layer)
        before = now.before.receptive_field
        before = first if before == 1 else before
        if now.layer.kind == "pool" and not of_pools:
            return before + d * (k - 1) * now.before.jump
        return before + d * k * now.before.jump

    return rule


MISTAKES = (
    Mistake(
        "a pool doubles the field",
        "receptive_field",
        "A pool doubles the jump, which later layers feel. Its own unit sees what two neighbours "
        "see, and these overlap.",
        (
            _of_pools(lambda now: now.before.receptive_field * now.layer.window.stride),
            _of_pools(lambda now: now.before.receptive_field * now.layer.window.kernel_size),
        ),
    ),
    Mistake(
        "a pool sees nothing new",
        "receptive_field",
        "A unit of a pool reads several units, and the fields of these do not coincide.",
        (_of_pools(lambda now: now.before.receptive_field),),
    ),
    Mistake(
        "jump before size",
        "receptive_field",
        "The layer's own stride was multiplied in before its size was added. A layer reads units "
        "of the map before it, so what counts is the jump before it.",
        (_field(lambda j, k, s, d, **_: d * (k - 1) * j * s),),
    ),
    Mistake(
        "jump ignored",
        "receptive_field",
        "After a stride the units lie further apart, and a kernel reaches further by as much: "
        "what is added is times the jump.",
        (_field(lambda k, d, **_: d * (k - 1)),),
    ),
    Mistake(
        "fields multiplied",
        "receptive_field",
        "Fields overlap, so that they do not multiply: each layer adds to the field.",
        (lambda now: now.before.receptive_field * _window(now.before, now.layer)[0],),
    ),
    Mistake(
        "the whole kernel added",
        "receptive_field",
        "The first of a kernel's units is already in the field; only the others add to it.",
        tuple(_whole_kernel(first, of_pools) for first in (1, 0) for of_pools in (True, False)),
    ),
    Mistake(
        "padding added",
        "receptive_field",
        "Padding moves the field, and fills its edge with zeros. It does not make a unit read "
        "more of the map.",
        tuple(
            _field(
                lambda j, k, p, d, n=n, jumps=jumps, **_: (
                    d * (k - 1) * j + n * p * (j if jumps else 1)
                )
            )
            for n in (1, 2)
            for jumps in (False, True)
        ),
    ),
    Mistake(
        "dilation forgotten",
        "receptive_field",
        "A dilated kernel is spread out: its weights lie `dilation` units apart, and it reaches "
        "as much further.",
        (_field(lambda j, k, **_: (k - 1) * j),),
    ),
    Mistake(
        "dilation times the kernel",
        "receptive_field",
        "A kernel of k weights has k − 1 gaps: it spans d·(k − 1) + 1 units, not d·k.",
        (_field(lambda j, k, d, **_: (d * k - 1) * j),),
    ),
    Mistake(
        "one row early",
        "receptive_field",
        "This is the field of the next layer. Each row tells what a unit of its own map sees.",
        (lambda now: now.around[2].receptive_field,),
    ),
    Mistake(
        "one row late",
        "receptive_field",
        "This is the field of the layer before.",
        (lambda now: now.around[0].receptive_field,),
    ),
    Mistake(
        "never more than the image",
        "receptive_field",
        "A field may be larger than the image: the rest of it is padding.",
        (lambda now: min(_right(now).receptive_field, now.image.size),),
    ),
    Mistake(
        "stride ignored",
        "jump",
        "The jump is multiplied by each layer's stride, whatever kind of layer it is.",
        (lambda now: now.before.jump,),
    ),
    Mistake(
        "stride added",
        "jump",
        "Jumps multiply: two strides of 2 make a jump of 4, three make 8.",
        (
            lambda now: now.before.jump + _window(now.before, now.layer)[1],
            lambda now: now.before.jump + _window(now.before, now.layer)[1] - 1,
        ),
    ),
    Mistake(
        "the layer's own stride",
        "jump",
        "That is this layer's stride; the jump is the product of all strides up to here.",
        (lambda now: _window(now.before, now.layer)[1],),
    ),
    Mistake(
        "kernel taken for stride",
        "jump",
        "How far units lie apart is the stride's business, not the kernel's.",
        (lambda now: now.before.jump * _window(now.before, now.layer)[0],),
    ),
    Mistake(
        "padding ignored",
        "size",
        "Padding counts: the map has p more places at either end before the kernel is laid on.",
        (_size(lambda n, k, s, d, **_: (n - d * (k - 1) - 1) // s + 1),),
    ),
    Mistake(
        "padding at one end",
        "size",
        "Padding is put at both ends: 2·p, not p.",
        (_size(lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1),),
    ),
    Mistake(
        "the map stays as large",
        "size",
        "Without padding the kernel must lie inside the map: some places are lost at its edges.",
        (_size(lambda n, s, **_: n // s),),
    ),
    Mistake(
        "stride ignored in the map",
        "size",
        "The stride skips places: only one in `stride` is kept.",
        (_size(lambda n, k, p, d, **_: n + 2 * p - d * (k - 1)),),
    ),
    Mistake(
        "rounded up",
        "size",
        "A place that the kernel cannot cover whole is left out: round down.",
        (_size(lambda n, k, s, p, d: -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1),),
    ),
    Mistake(
        "dilation forgotten in the map",
        "size",
        "A dilated kernel covers d·(k − 1) + 1 units, so that the map shrinks by more.",
        (_size(lambda n, k, s, p, **_: (n + 2 * p - k) // s + 1),),
    ),
    Mistake(
        "one place too few",
        "size",
        "Count the places: a kernel of n fits once on n units, not never.",
        (_size(lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s),),
    ),
    Mistake(
        "padding forgotten in the start",
        "start",
        "Padding moves the first unit's field to the left, by p times the jump.",
        (_start(lambda j, k, d, **_: d * (k - 1) / 2 * j),),
    ),
    Mistake(
        "jump before start",
        "start",
        "Here, too, what counts is the jump before the layer.",
        (_start(lambda j, k, s, p, d: (d * (k - 1) / 2 - p) * j * s),),
    ),
    Mistake(
        "jump ignored in the start",
        "start",
        "The centre moves by units of the map before, and each of those is a jump of pixels.",
        (_start(lambda k, p, d, **_: d * (k - 1) / 2 - p),),
    ),
    Mistake(
        "half a kernel",
        "start",
        "The middle of k units lies (k − 1)/2 after the first, not k/2.",
        (
            _start(lambda j, k, p, d, **_: (d * k / 2 - p) * j),
            _start(lambda j, k, p, d, **_: (d * k // 2 - p) * j),
        ),
    ),
    Mistake(
        "dilation forgotten in the start",
        "start",
        "A dilated kernel's middle lies d·(k − 1)/2 after its first unit.",
        (_start(lambda j, k, p, **_: ((k - 1) / 2 - p) * j),),
    ),
    Mistake(
        "edge for centre",
        "start",
        "This is the first pixel of the field; asked for is its centre.",
        (lambda now: now.around[1].start - (now.around[1].receptive_field - 1) / 2,),
    ),
    Mistake(
        "rounded to a pixel",
        "start",
        "A field of even size has its centre between two pixels: it ends in .5.",
        (lambda now: _right(now).start // 1,),
    ),
)
NAMED = {mistake.name: mistake for mistake in MISTAKES}


def column_with(
    mistake: Mistake,
    rule: Callable[[Step], float],
    layers: Sequence[Layer],
    image: Row = IMAGE,
) -> list[float]:
    """One column as somebody would fill it in who makes a mistake, all others being right."""
    before, values = image, []
    for layer, row, around in _walk(layers, image):
        values.append(rule(Step(before, layer, around, image)))
        before = row._replace(**{mistake.column: values[-1]})
    return values


def _walk(layers: Sequence[Layer], image: Row):
    """Each layer, its right row, and those of its neighbours."""
    rows = table(layers, image)
    around = zip([image, *rows], rows, [*rows[1:], rows[-1]], strict=False)
    return zip(layers, rows, around, strict=True)


class Finding(NamedTuple):
    """A wrong entry: where, what stands there and should, and the mistakes that lead to it."""

    row: int
    column: str
    yours: float
    right: float
    mistakes: tuple[str, ...]
    follows: bool  # right, if the row before it were


def diagnose(given: Sequence[Row], layers: Sequence[Layer], image: Row = IMAGE) -> list[Finding]:
    """Every wrong entry of a table, row by row. A start half a pixel off throughout is right."""
    if by_corners(given, layers, image):
        given = [row._replace(start=row.start - 0.5) for row in given]
    found, before = [], image
    walk = zip(_walk(layers, image), given, strict=True)
    for number, ((layer, right, around), yours) in enumerate(walk):
        now = Step(before, layer, around, image)
        for column in COLUMNS:
            value, truth = getattr(yours, column), getattr(right, column)
            only_unit = column == "jump" and right.size == 1  # has no neighbour to be apart from
            if value == truth or (only_unit and value in (before.jump, truth)):
                continue
            follows = value == _value(lambda now, column=column: getattr(_right(now), column), now)
            names = [
                m.name
                for m in MISTAKES
                if m.column == column and any(value == _value(rule, now) for rule in m.rules)
            ]
            found.append(
                Finding(number, column, value, truth, () if follows else tuple(names), follows)
            )
        before = yours
    return found


def causes(findings: Sequence[Finding]) -> list[tuple[str | None, list[Finding]]]:
    """The fewest mistakes that explain what is wrong, each with its entries; None: no known one."""
    open_, found = [finding for finding in findings if not finding.follows], []
    while open_:
        counts = Counter(name for finding in open_ for name in finding.mistakes)
        if not counts:
            return found + [(None, [finding]) for finding in open_]
        name = counts.most_common(1)[0][0]
        found.append((name, [finding for finding in open_ if name in finding.mistakes]))
        open_ = [finding for finding in open_ if name not in finding.mistakes]
    return found


def by_corners(given: Sequence[Row], layers: Sequence[Layer], image: Row = IMAGE) -> bool:
    """Whether every start is half a pixel more: counted from the first pixel's corner."""
    rows = zip(given, table(layers, image), strict=True)
    return all(yours.start == right.start + 0.5 for yours, right in rows)


def _value(rule: Callable[[Step], float], now: Step) -> float | None:
    """What a rule gives; None where it cannot, since the row before it is no row of a table."""
    try:
        return rule(now)
    except (InputError, ZeroDivisionError, OverflowError):
        return None


def pixels_read(layers: Sequence[Layer]) -> set[int]:
    """The pixels that the first unit of the last layer reads, along one axis, at any padding."""
    read = {0}
    for window, _, _ in reversed(layers):
        offsets = [t * window.dilation for t in range(window.kernel_size)]
        read = {unit * window.stride + offset for unit in read for offset in offsets}
    return read
