"""One table of a network: shapes, receptive fields, parameters and multiply-adds, layer by layer.

python -m mnist_utils.describe mnist_utils.models:Model3
python -m mnist_utils.describe torchvision.models:resnet50 --input 3 224 224 --json
"""

import html
import importlib
import inspect
import json
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass

from torch import nn

from mnist_utils import errors
from mnist_utils.errors import InputError
from mnist_utils.layers import first_line, read
from mnist_utils.parameters import costs
from mnist_utils.receptive_field import CONSTANT, Unknown, fields

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
    jump: int | list[int] | None
    start: float | list[float] | None
    parameters: int  # first used here; a container's own rows count them, it does not
    macs: int
    padding: int | list[int] | None = None
    status: str = "known"  # or "unknown", "constant", or "not called" in eval()
    reason: str = ""
    same_for_all_units: bool = False  # something global lets every unit see the same pixels
    aligned: bool | None = None  # all paths agree on jump and centre
    frozen: int = 0
    parameter_formula: str = ""
    mac_formula: str = ""
    activation_bytes: int = 0
    container: bool = False
    parameters_inside: int = 0  # containers: the sum over what they contain
    macs_inside: int = 0


@dataclass(frozen=True)
class Description:
    """A described network; prints as a table, and shows as one in a notebook."""

    model: str
    input_shape: tuple[int, int, int]
    rows: list[Line]

    def _total(self, column: str) -> int:
        return sum(getattr(row, column) for row in self.rows)

    parameters = property(lambda self: self._total("parameters"))
    frozen = property(lambda self: self._total("frozen"))
    trainable = property(lambda self: self.parameters - self.frozen)
    macs = property(lambda self: self._total("macs"))
    activation_bytes = property(lambda self: self._total("activation_bytes"))

    def __getitem__(self, name: str) -> Line:
        """The row of a layer or container by its module path, as in `layer4`."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r} is no row; there are {', '.join(r.name for r in self.rows)}")

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
            if row.receptive_field is None and row.status != "unknown":
                size = jump = f"({row.status})"
            size += "*" * row.same_for_all_units
            cells.append((name, row.kind, _show(row.output_shape or "–"), size, jump, *numbers))
        return cells

    def _notes(self) -> list[str]:
        frozen = f", {self.frozen:,} of them frozen" if self.frozen else ""
        untold = [r.reason for r in self.rows if r.status == "unknown" and not r.macs]
        least = any("not in the table" in r and not r.startswith("after") for r in untold)
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
    the fields. The model is left as it is. Raises InputError: see `layers.read`.
    """
    input_shape = tuple(input_shape or _usual_shape(model))
    rows = read(model, input_shape)
    found, spent = fields(rows, global_context), costs(model, rows)
    lines = []
    for row, cost, field in zip(rows, spent, found, strict=False):
        if row.shown:
            inside = [spent[j] for j in row.inside]
            inside += [c for c in spent[len(rows) :] if c.name.startswith(f"{row.name}.")]
            lines.append(
                Line(
                    row.name,
                    row.kind,
                    list(row.output_shape),
                    parameters=cost.parameters,
                    macs=cost.macs,
                    **_seen(row.name, field),
                    frozen=cost.frozen,
                    parameter_formula=cost.parameter_formula,
                    mac_formula=cost.mac_formula,
                    activation_bytes=cost.nbytes,
                    container=bool(row.inside),
                    parameters_inside=sum(c.parameters for c in inside) if row.inside else 0,
                    macs_inside=sum(c.macs for c in inside) if row.inside else 0,
                )
            )
    for c in spent[len(rows) :]:
        lines.append(
            Line(c.name or "(itself)", c.kind, None, None, None, None, c.parameters, 0,
                 status="not called", frozen=c.frozen, parameter_formula=c.parameter_formula)
        )  # fmt: skip
    return Description(type(model).__name__, input_shape, lines)


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
        "jump": _both([f.jump for f in found]),
        "start": _both([int(f.start) if f.start.is_integer() else f.start for f in found]),
        "padding": _both([f.padding for f in found]),
        "same_for_all_units": any(f.fixed for f in found),
        "aligned": all(f.aligned for f in found),
    }


def _both(values: list):
    return values[0] if values[0] == values[1] else values


def _show(value) -> str:
    if value is None:
        return "?"
    return "×".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def load(target: str) -> nn.Module:
    """Return the network that `module:name` says: a module, or what the name's call returns."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{target!r} is not module:name; try mnist_utils.models:Model3")
    try:
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise InputError(f"{module_name!r} cannot be imported: {first_line(error)}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except Exception as error:
            raise InputError(
                f"{module_name!r} has no {attribute!r}; is the name spelt right?"
            ) from error
    if callable(found) and not isinstance(found, nn.Module):
        try:
            asked = inspect.signature(found).parameters
            none = {
                "weights_backbone": None
            }  # torchvision would download it, and no count needs it
            found = found(**{name: value for name, value in none.items() if name in asked})
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{target} cannot be built without arguments: {first_line(error)}"
            ) from error
    if not isinstance(found, nn.Module):
        raise InputError(f"{target} is a {type(found).__name__}; name an nn.Module or its builder")
    return found


def parser() -> errors.Parser:
    """The command line's options."""
    parser = errors.Parser(
        "python -m mnist_utils.describe",
        description="Print a network layer by layer: what each unit sees, and what it costs.",
        epilog="receptive field: the pixels that one unit sees, along height and width. jump: the "
        "pixels between the fields of neighbouring units, also called effective stride. MACs: "
        "multiply-adds of one image. start (in --json): the centre of the first unit's field, "
        "the first pixel having its centre at 0. All of it in eval(). What cannot be read is "
        "marked ? and explained below the table; in --json it is null, its status unknown.",
    )
    parser.add_argument("target", help="module:name of a network, its class or its builder")
    parser.add_argument(
        "--input", nargs=3, type=int, metavar=("C", "H", "W"),
        help="one image's channels, height and width; 3 224 224 for a network whose first "
        "convolution takes three channels, else 1 28 28",
    )  # fmt: skip
    parser.add_argument(
        "--without-global-context", action="store_true",
        help="leave out of the fields what squeeze-and-excitation, or GroupNorm's statistics, "
        "show to every unit: the whole image",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    sys.path.insert(0, "")  # networks in files of the current folder
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # what a network prints itself
        warnings.simplefilter("ignore")
        model = load(options.target)
        found = describe(model, options.input, global_context=not options.without_global_context)
    print(found.to_json() if options.json else found)


if __name__ == "__main__":
    errors.run(main)
