"""The receptive-field table on paper, wrong in the ways in which people get it wrong.

A mistake is a rule that computes the next entry of one column from the row before, as somebody
would who believes it. So it is recognised in a table of any network, and what merely follows from
an earlier wrong entry is not counted again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mnist_utils.receptive_field import IMAGE, Row, Window, step

COLUMNS = Row._fields


class Layer(NamedTuple):
    """A window with a name and a kind: `conv`, `pool`, or `mean` over the whole map."""

    window: Window
    kind: str = "conv"
    name: str = ""

    def over(self, size: float) -> Window:
        """Its window on a map of `size`; a mean reads all units that there are."""
        return Window(size, size) if self.kind == "mean" else self.window


def table(layers: Sequence[Layer], image: Row = IMAGE) -> list[Row]:
    """The right table; `image` is the row before the first. ValueError: a map has nothing left."""
    rows = [image]
    for layer in layers:
        rows.append(step(rows[-1], layer.over(rows[-1].size)))
    return rows[1:]


class Step:
    """What a rule may look at: the row before as somebody gave it, and the layer's numbers."""

    def __init__(self, before: Row, layer: Layer, around: tuple[Row, Row, Row], image: Row):
        self.size, self.field, self.jump, self.start = before
        self.k, self.s, self.p, self.d = layer.over(before.size)
        self.kind, self.image = layer.kind, image
        # The right rows of the layer before, this one, and the next.
        self.late, self.own, self.early = around
        self._before = before

    @property
    def right(self) -> Row:
        """The right row after the row before."""
        return step(self._before, Window(self.k, self.s, self.p, self.d))


Rule = Callable[[Step], float]


class Mistake(NamedTuple):
    """A belief about one column: its name, what to say to it, and the rules it can lead to."""

    name: str
    column: str
    says: str
    rules: tuple[Rule, ...]


def _at_pools(rule: Rule) -> Rule:
    """Wrong at pools alone."""
    return lambda n: rule(n) if n.kind == "pool" else n.right.receptive_field


def _whole_kernel(first: int, of_pools: bool) -> Rule:
    """A whole kernel added instead of what it reaches further; the first unit counts, or not."""

    def rule(n: Step) -> float:
        field = first if n.field == 1 else n.field
        reads = n.k if of_pools or n.kind != "pool" else n.k - 1
        return field + n.d * reads * n.jump

    return rule


def _padding_added(sides: int, jumps: bool) -> Rule:
    return lambda n: n.right.receptive_field + sides * n.p * (n.jump if jumps else 1)


def _map(counted: Callable[[Step], float]) -> Rule:
    """A map from what is counted of it before the stride."""
    return lambda n: counted(n) // n.s + 1


# fmt: off
MISTAKES = tuple(Mistake(name, column, says, rules) for name, column, says, *rules in (
    ("a pool doubles the field", "receptive_field",
     "A pool doubles the jump, which later layers feel. Its own unit sees what two neighbours see, "
     "and these overlap.",
     _at_pools(lambda n: n.field * n.s), _at_pools(lambda n: n.field * n.k)),
    ("a pool sees nothing new", "receptive_field",
     "A unit of a pool reads several units, and the fields of these do not coincide.",
     _at_pools(lambda n: n.field)),
    ("jump before size", "receptive_field",
     "The layer's own stride was multiplied in before its size was added. A layer reads units of "
     "the map before it, so what counts is the jump before it.",
     lambda n: n.field + n.d * (n.k - 1) * n.jump * n.s),
    ("jump ignored", "receptive_field",
     "After a stride the units lie further apart, and a kernel reaches further by as much: what is "
     "added is times the jump.",
     lambda n: n.field + n.d * (n.k - 1)),
    ("fields multiplied", "receptive_field",
     "Fields overlap, so they do not multiply: each layer adds to the field.",
     lambda n: n.field * n.k),
    ("the whole kernel added", "receptive_field",
     "The first of a kernel's units is already in the field; only the others add to it.",
     *(_whole_kernel(first, of_pools) for first in (1, 0) for of_pools in (True, False))),
    ("padding added", "receptive_field",
     "Padding moves the field, and fills its edge with zeros. It does not make a unit read more of "
     "the map.",
     *(_padding_added(sides, jumps) for sides in (1, 2) for jumps in (False, True))),
    ("dilation forgotten", "receptive_field",
     "A dilated kernel is spread out: its weights lie `dilation` units apart, and it reaches as "
     "much further.",
     lambda n: n.field + (n.k - 1) * n.jump),
    ("dilation times the kernel", "receptive_field",
     "A kernel of k weights has k − 1 gaps: it spans d·(k − 1) + 1 units, not d·k.",
     lambda n: n.field + (n.d * n.k - 1) * n.jump),
    ("one row early", "receptive_field",
     "This is the field of the next layer. Each row says what a unit of its own map sees.",
     lambda n: n.early.receptive_field),
    ("one row late", "receptive_field", "This is the field of the layer before.",
     lambda n: n.late.receptive_field),
    ("never more than the image", "receptive_field",
     "A field may be larger than the image: the rest of it is padding.",
     lambda n: min(n.right.receptive_field, n.image.size)),
    ("stride ignored", "jump",
     "The jump is multiplied by each layer's stride, whatever kind of layer it is.",
     lambda n: n.jump),
    ("stride added", "jump", "Jumps multiply: two strides of 2 make a jump of 4, three make 8.",
     lambda n: n.jump + n.s, lambda n: n.jump + n.s - 1),
    ("the layer's own stride", "jump",
     "That is this layer's stride; the jump is the product of all strides up to here.",
     lambda n: n.s),
    ("kernel taken for stride", "jump",
     "How far units lie apart is the stride's business, not the kernel's.",
     lambda n: n.jump * n.k),
    ("padding ignored", "size",
     "Padding counts: the map has p more places at either end before the kernel is laid on.",
     _map(lambda n: n.size - n.d * (n.k - 1) - 1)),
    ("padding at one end", "size", "Padding is put at both ends: 2·p, not p.",
     _map(lambda n: n.size + n.p - n.d * (n.k - 1) - 1)),
    ("the map stays as large", "size",
     "Without padding the kernel must lie inside the map: some places are lost at its edges.",
     lambda n: n.size // n.s),
    ("stride ignored in the map", "size",
     "The stride skips places: only one in `stride` is kept.",
     lambda n: n.size + 2 * n.p - n.d * (n.k - 1)),
    ("rounded up", "size",
     "A place that the kernel cannot cover whole is left out: round down.",
     lambda n: -(-(n.size + 2 * n.p - n.d * (n.k - 1) - 1) // n.s) + 1),
    ("dilation forgotten in the map", "size",
     "A dilated kernel covers d·(k − 1) + 1 units, so the map shrinks by more.",
     _map(lambda n: n.size + 2 * n.p - n.k)),
    ("one place too few", "size",
     "Count the places: a kernel of n fits once on n units, not never.",
     lambda n: (n.size + 2 * n.p - n.d * (n.k - 1) - 1) // n.s),
    ("padding forgotten in the start", "start",
     "Padding moves the first unit's field to the left, by p times the jump.",
     lambda n: n.start + n.d * (n.k - 1) / 2 * n.jump),
    ("jump before start", "start", "Here, too, what counts is the jump before the layer.",
     lambda n: n.start + (n.d * (n.k - 1) / 2 - n.p) * n.jump * n.s),
    ("jump ignored in the start", "start",
     "The centre moves by units of the map before, and each of those is a jump of pixels.",
     lambda n: n.start + n.d * (n.k - 1) / 2 - n.p),
    ("half a kernel", "start", "The middle of k units lies (k − 1)/2 after the first, not k/2.",
     lambda n: n.start + (n.d * n.k / 2 - n.p) * n.jump,
     lambda n: n.start + (n.d * n.k // 2 - n.p) * n.jump),
    ("dilation forgotten in the start", "start",
     "A dilated kernel's middle lies d·(k − 1)/2 after its first unit.",
     lambda n: n.start + ((n.k - 1) / 2 - n.p) * n.jump),
    ("edge for centre", "start",
     "This is the first pixel of the field; the start is the field's centre.",
     lambda n: n.own.start - (n.own.receptive_field - 1) / 2),
    ("rounded to a pixel", "start",
     "A field of even size has its centre between two pixels: it ends in .5.",
     lambda n: n.right.start // 1),
))
# fmt: on
NAMED = {mistake.name: mistake for mistake in MISTAKES}


def column_with(
    mistake: Mistake, rule: Rule, layers: Sequence[Layer], image: Row = IMAGE
) -> list[float]:
    """One column as a person who makes one mistake would fill it in; the others are right."""
    before, values = image, []
    for layer, row, around in _walk(layers, image):
        values.append(rule(Step(before, layer, around, image)))
        before = row._replace(**{mistake.column: values[-1]})
    return values


def last_fields(layers: Sequence[Layer]) -> dict[float, list[Mistake]]:
    """Wrong answers for the last unit's field, each with the mistakes that lead to it."""
    rows, wrong = table(layers), {}
    last = Step(rows[-2], layers[-1], (rows[-2], rows[-1], rows[-1]), IMAGE)
    for mistake in MISTAKES:
        for rule in mistake.rules if mistake.column == "receptive_field" else ():
            for value in {column_with(mistake, rule, layers)[-1], rule(last)}:  # or there alone
                if value != rows[-1].receptive_field and mistake not in wrong.get(value, ()):
                    wrong.setdefault(value, []).append(mistake)
    return wrong


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


def diagnose(answer: Sequence[Row], layers: Sequence[Layer], image: Row = IMAGE) -> list[Finding]:
    """Every wrong entry of a table, row by row. A start half a pixel off throughout is right."""
    if by_corners(answer, layers, image):
        answer = [row._replace(start=row.start - 0.5) for row in answer]
    findings, before = [], image
    for number, ((layer, right, around), yours) in enumerate(
        zip(_walk(layers, image), answer, strict=True)
    ):
        now = Step(before, layer, around, image)
        for column in COLUMNS:
            value, truth = getattr(yours, column), getattr(right, column)
            only_unit = column == "jump" and right.size == 1  # has no neighbour to be apart from
            if value == truth or (only_unit and value in (before.jump, truth)):
                continue
            follows = value == _value(lambda n, column=column: getattr(n.right, column), now)
            names = [
                mistake.name
                for mistake in MISTAKES
                if mistake.column == column
                and any(value == _value(rule, now) for rule in mistake.rules)
            ]
            findings.append(
                Finding(number, column, value, truth, () if follows else tuple(names), follows)
            )
        before = yours
    return findings


def causes(findings: Sequence[Finding]) -> list[tuple[str | None, list[Finding]]]:
    """The fewest mistakes that explain what is wrong, each with its entries; None: no known one."""
    open_, explained = [finding for finding in findings if not finding.follows], []
    while open_:
        counts = Counter(name for finding in open_ for name in finding.mistakes)
        if not counts:
            return explained + [(None, [finding]) for finding in open_]
        name = counts.most_common(1)[0][0]
        explained.append((name, [finding for finding in open_ if name in finding.mistakes]))
        open_ = [finding for finding in open_ if name not in finding.mistakes]
    return explained


def by_corners(answer: Sequence[Row], layers: Sequence[Layer], image: Row = IMAGE) -> bool:
    """Whether every start is half a pixel more: counted from the first pixel's corner."""
    rows = zip(answer, table(layers, image), strict=True)
    return all(yours.start == right.start + 0.5 for yours, right in rows)


def _value(rule: Rule, now: Step) -> float | None:
    """What a rule gives; None where it cannot, since the row before it is no row of a table."""
    try:
        return rule(now)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
