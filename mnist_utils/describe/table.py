"""One table of a network: shapes, receptive fields, parameters, multiply-adds, layer by layer."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction

from torch import nn

from mnist_utils.describe.costs import Cost, costs
from mnist_utils.describe.fields import CONSTANT, Unknown, fields
from mnist_utils.describe.reader import read, uncompiled
from mnist_utils.describe.rows import Row

COLUMNS = ("layer", "kind", "output", "receptive field", "jump", "parameters", "MACs")


@dataclass(frozen=True)
class Line:
    """One layer, functional call or container. Where the axes differ: [vertical, horizontal].

    Sizes are in input pixels; `start` is the centre of unit 0's field, the image's first pixel
    having its centre at 0; `padding` is how far that field reaches beyond the image's edge.
    """

    name: str
    kind: str
    output_shape: list[int] | None
    receptive_field: int | list[int] | None
    jump: float | list[float] | None  # a fraction after upsampling: 0.5
    start: float | list[float] | None
    parameters: int  # first used here; a container's own rows count them, it does not
    macs: int
    padding: int | list[int] | None = None
    smallest_field: int | list[int] | None = None  # where it differs from unit to unit
    status: str = "known"  # or "unknown", "constant", or "not called" in eval()
    reason: str = ""
    same_for_all_units: bool | list[bool] = False  # something global shows all the same pixels
    aligned: bool | None = None  # all paths agree on jump and centre
    frozen: int = 0
    parameter_formula: str = ""
    mac_formula: str = ""
    activation_bytes: int = 0
    container: bool = False
    parameters_inside: int = 0  # containers: the sum over what they contain
    macs_inside: int = 0
    inputs: list[str] = field(default_factory=list)  # the rows that feed it


@dataclass(frozen=True)
class Description:
    """A described network; prints as a table, and shows as one in a notebook."""

    model: str
    input_shape: tuple[int, int, int]
    rows: list[Line]

    def _total(self, column: str) -> int:
        return sum(getattr(row, column) for row in self.rows)

    @property
    def parameters(self) -> int:
        """All of them, frozen or not."""
        return self._total("parameters")

    @property
    def frozen(self) -> int:
        """Parameters that do not require a gradient."""
        return self._total("frozen")

    @property
    def trainable(self) -> int:
        """Parameters that do."""
        return self.parameters - self.frozen

    @property
    def macs(self) -> int:
        """Multiply-adds of one image."""
        return self._total("macs")

    @property
    def activation_bytes(self) -> int:
        """Newly written output of all layers, one image."""
        return self._total("activation_bytes")

    def __getitem__(self, name: str) -> Line:
        """The row of a layer or container by its module path, as in `layer4`."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r} is not a row; there are {', '.join(r.name for r in self.rows)}")

    def to_json(self) -> str:
        """A list of objects, one a line, with the fields of `Line` as keys."""
        return "[\n" + ",\n".join(json.dumps(asdict(row)) for row in self.rows) + "\n]"

    def _cells(self) -> list[tuple[str, ...]]:
        cells = []
        for row in self.rows:
            if row.container and "." in row.name:
                continue
            name = f"= {row.name}" if row.container else row.name
            numbers = [f"{n:,}" if n else "" for n in (row.parameters, row.macs)]
            if row.container:
                numbers = [f"({n:,})" for n in (row.parameters_inside, row.macs_inside)]
            size, jump = _show(row.receptive_field), _show(row.jump)
            if row.smallest_field != row.receptive_field:
                size = f"{_show(row.smallest_field)} to {size}"
            if row.jump is None and row.receptive_field is not None:
                jump = "–"
            if row.receptive_field is None and row.status != "unknown":
                size = jump = f"({row.status})"
            if row.same_for_all_units:
                size = _show(_starred(row.receptive_field, row.same_for_all_units))
            cells.append((name, row.kind, _show(row.output_shape or "–"), size, jump, *numbers))
        return cells

    def _notes(self) -> list[str]:
        frozen = f", {self.frozen:,} of them frozen" if self.frozen else ""
        uncounted = [r.reason for r in self.rows if r.status == "unknown" and not r.macs]
        least = any("not in the table" in r and not r.startswith("after") for r in uncounted)
        notes = [
            f"{self.parameters:,} parameters{frozen}; {'at least ' * least}{self.macs:,} MACs and "
            f"{self.activation_bytes:,} bytes of activations for one image of "
            f"{_show(self.input_shape)}"
        ]
        if any(row.container for row in self.rows):
            notes.append("= a container: its last layer's shape and field, (the sum of its layers)")
        if any(row.same_for_all_units for row in self.rows):
            notes.append("* every unit sees the same pixels, because something global is mixed in")
        reasons = dict.fromkeys(r.reason for r in self.rows if r.status == "unknown")
        if reasons:
            notes.append("? unknown, and so is all that comes after:")
            first = [r.removeprefix("after ") for r in reasons]
            notes += [f"  {r}" for r in dict.fromkeys(first)]
        return notes

    def __str__(self) -> str:
        table = [COLUMNS, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for cells in table:
            sides = [c.ljust if i < 3 else c.rjust for i, c in enumerate(cells)]
            lines.append("  ".join(s(w) for s, w in zip(sides, widths, strict=True)).rstrip())
        rule = "─" * (sum(widths) + 2 * len(widths) - 2)
        return "\n".join([lines[0], rule, *lines[1:], rule, *self._notes()])

    def _repr_html_(self) -> str:
        def line(cells, tag="td"):
            inner = "".join(
                f'<{tag} style="text-align:{"left" if i < 3 else "right"}">{html.escape(c)}</{tag}>'
                for i, c in enumerate(cells)
            )
            return f"<tr>{inner}</tr>"

        body = "".join(line(cells) for cells in self._cells())
        notes = "<br>".join(html.escape(note) for note in self._notes())
        return f"<table><thead>{line(COLUMNS, 'th')}</thead><tbody>{body}</tbody></table>{notes}"


def describe(
    model: nn.Module, input_shape: Sequence[int] | None = None, *, global_context: bool = True
) -> Description:
    """Describe `model` for one image of `input_shape` (channels, height, width), in `eval()`.

    Without a shape: (3, 224, 224) when the first convolution takes three channels, else
    (1, 28, 28). `global_context=False` leaves out what squeeze-and-excitation and its like add to
    the fields. The model is left as it is. Raises InputError: see `reader.read`.
    """
    model = uncompiled(model)
    input_shape = tuple(input_shape or _usual_shape(model))
    rows = read(model, input_shape)
    by_row, unused = costs(model, rows)
    lines = []
    for row, cost, seen in zip(rows, by_row, fields(rows, global_context), strict=True):
        inside = [by_row[j] for j in row.inside]
        if inside:
            inside += [c for c in unused if c.name.startswith(f"{row.name}.")]
        if row.shown:
            about = {"inputs": _feeding(rows, row)}
            lines.append(_line(row, cost, inside) | about | _seen(row.name, seen))
    for cost in unused:
        nothing = dict.fromkeys(("output_shape", "receptive_field", "jump", "start"))
        about = {"name": cost.name or "(itself)", "kind": cost.kind, "status": "not called"}
        lines.append(about | nothing | _spent(cost))
    return Description(type(model).__name__, input_shape, [Line(**line) for line in lines])


def _line(row: Row, cost: Cost, inside: list[Cost]) -> dict:
    """The entries of a Line that its row and its costs give; `inside` are a container's costs."""
    return _spent(cost) | {
        "name": row.name,
        "kind": row.kind,
        "output_shape": list(row.output_shape),
        "container": bool(inside),
        "parameters_inside": sum(c.parameters for c in inside),
        "macs_inside": sum(c.macs for c in inside),
    }


def _feeding(rows: Sequence[Row], row: Row) -> list[str]:
    """The names of the rows that feed one; parts of the same layer are looked through."""
    names = []
    for before in (rows[i] for i in row.inputs):
        names += _feeding(rows, before) if before.name == row.name else [before.name]
    return list(dict.fromkeys(names))


def _spent(cost: Cost) -> dict:
    return {
        "parameters": cost.parameters,
        "macs": cost.macs,
        "frozen": cost.frozen,
        "parameter_formula": cost.parameter_formula,
        "mac_formula": cost.mac_formula,
        "activation_bytes": cost.nbytes,
    }


def _usual_shape(model: nn.Module) -> tuple[int, int, int]:
    modules = model.modules() if isinstance(model, nn.Module) else ()
    channels = next((m.in_channels for m in modules if isinstance(m, nn.Conv2d)), 1)
    return (3, 224, 224) if channels == 3 else (1, 28, 28)


def _seen(name: str, found) -> dict:
    """The entries of a Line that speak of its field."""
    if isinstance(found, Unknown):
        none = dict.fromkeys(("receptive_field", "jump", "start", "padding"))
        if found.reason == CONSTANT:
            return none | {"status": "constant", "reason": CONSTANT}
        after = "" if found.source == name else "after "
        return none | {"status": "unknown", "reason": f"{after}{found.source}: {found.reason}"}
    return {
        "receptive_field": _both([f.size for f in found]),
        "jump": _both([_number(f.jump) or None for f in found]),
        "start": _both([_number(f.start) for f in found]),
        "padding": _both([f.padding for f in found]),
        "smallest_field": _both([f.sizes[0] for f in found]),
        "same_for_all_units": _both([f.fixed for f in found]),
        "aligned": all(f.aligned for f in found),
    }


def _number(value) -> int | float:
    """A whole number as such, so that it is shown without a point."""
    return int(value) if value == int(value) else float(value)


def _both(values: list):
    return values[0] if values[0] == values[1] else values


def _starred(sizes: int | list[int], fixed: bool | list[bool]) -> str | list[str]:
    """A star at each size that is the same for all units."""
    if isinstance(sizes, int) and isinstance(fixed, bool):
        return f"{sizes}*"
    sizes = sizes if isinstance(sizes, list) else [sizes] * 2
    fixed = fixed if isinstance(fixed, list) else [fixed] * 2
    return [f"{size}{'*' * mark}" for size, mark in zip(sizes, fixed, strict=True)]


def _show(value) -> str:
    if value is None:
        return "?"
    if isinstance(value, (list, tuple)):
        return "×".join("–" if v is None else _show(v) for v in value)
    if isinstance(value, float) and not value.is_integer():  # a jump after upsampling
        fraction = str(Fraction(value).limit_denominator(10_000))
        return {"1/2": "½", "1/4": "¼", "3/4": "¾", "1/8": "⅛"}.get(fraction, fraction)
    return str(value)
