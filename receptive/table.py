"""One table of a network: shapes, receptive fields, parameters, multiply-adds, layer by layer."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import nn

from receptive import advice, show
from receptive.costs import costs
from receptive.fields import CONSTANT, Unknown, fields, pixels_with_holes
from receptive.measured import LARGEST, measure, tensors_in
from receptive.reader import read, uncompiled
from receptive.rows import Row


@dataclass(frozen=True)
class Line:
    """One layer, functional call or container. Where the axes differ: [vertical, horizontal].

    Fields, jumps and starts are in input pixels; `start` is the centre of unit 0's field, the
    image's first pixel having its centre at 0.
    """

    name: str
    kind: str
    output_shape: list[int] | None
    receptive_field: int | list[int] | None
    jump: float | list[float] | None  # a fraction after upsampling: 0.5
    start: float | list[float] | None
    parameters: int  # first used here; a container's own rows count them, it does not
    macs: int
    kernel_size: int | list[int] | None = None  # these four of convolutions and pools alone
    stride: int | list[int] | None = None
    padding: int | list[int] | None = None
    dilation: int | list[int] | None = None
    smallest_field: int | list[int] | None = None  # where it differs from unit to unit
    local_field: int | list[int] | None = None  # without what is global, where that is mixed in
    field_padding: int | list[int] | None = None  # how far unit 0's field reaches beyond the edge
    pixels_read: list[int] | None = None  # [read, of the box] by a middle unit, if it has holes
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


@dataclass(frozen=True, repr=False)
class Description:
    """A described network; prints as a table, and shows as one in a notebook."""

    model: str
    input_shape: tuple[int, int, int]
    rows: list[Line]
    conclusion: str  # what a unit sees before the map becomes one unit, and after that
    parameters: int  # all of them
    frozen: int  # those that do not require a gradient
    macs: int  # multiply-adds of one image
    activation_bytes: int  # newly written output of all layers, one image
    packed: bool = False  # there are weights that PyTorch does not show: quantised, or frozen

    def __getitem__(self, name: str) -> Line:
        """The row of a layer or container by its module path, as in `layer4`."""
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            raise KeyError(f"{name!r} is not a row; there are {', '.join(rows)}")
        return rows[name]

    def to_dict(self) -> dict:
        """All of it as plain data."""
        return asdict(self)

    def to_frame(self):
        """The rows as a pandas DataFrame, for which pandas must be installed."""
        import pandas

        return pandas.DataFrame(self.to_dict()["rows"]).set_index("name")

    def to_json(self) -> str:
        """A list of objects, one a line, with the fields of `Line` as keys."""
        return "[\n" + ",\n".join(json.dumps(asdict(row)) for row in self.rows) + "\n]"

    def advice(self, object_size: int | None = None) -> list[str]:
        """Sentences on the design, for an object of so many pixels; by default the image's size."""
        return advice.advice(self, object_size or min(self.input_shape[1:]))

    to_text = __repr__ = show.text
    to_markdown, _repr_html_ = show.markdown, show.page


def describe(
    model: nn.Module, input_shape: Sequence[int] | None = None, inputs: object = None
) -> Description:
    """Describe `model` for one image of `input_shape` (channels, height, width), in `eval()`.

    Without a shape: (3, 224, 224) when the first convolution takes three channels, else
    (1, 28, 28). Where `forward` takes more than an image, `inputs` are an example of what it takes:
    a tuple, or one argument, such as a dict; the first tensor in it, (1, C, H, W), is the image.
    The model is left as it is. Raises InputError: see `reader.read`.
    """
    model = uncompiled(model)
    image = next(tensors_in([inputs]), None)
    input_shape = tuple(input_shape or (image.shape[1:] if image is not None else ()))
    input_shape = input_shape or _usual_shape(model)
    rows = read(model, input_shape, inputs)
    by_row, unused = costs(model, rows)
    seen = fields(rows)
    mixed = any(axis.fixed for f in seen if not isinstance(f, Unknown) for axis in f)
    own = fields(rows, global_context=False) if mixed else seen[:]
    holes = pixels_with_holes(rows, seen)
    reasons = {}
    if max(input_shape[1:]) <= LARGEST:
        reasons = _measured(model, input_shape, inputs, rows, seen)
    lines = []
    for i, row in enumerate(rows):
        if not row.shown:
            continue
        inside = [by_row[j] for j in row.inside]
        inside += [c for c in unused if inside and c.name.startswith(f"{row.name}.")]
        about = {
            "output_shape": list(row.output_shape),
            "pixels_read": holes.get(i),
            "container": bool(inside),
            "parameters_inside": sum(c.parameters for c in inside),
            "macs_inside": sum(c.macs for c in inside),
            "inputs": _feeding(rows, row),
        }
        field_ = _seen(row.name, seen[i], seen[i] if i in reasons else own[i])
        field_ |= {"status": "measured", "reason": reasons[i]} if i in reasons else {}
        lines.append(Line(**by_row[i]._asdict() | about | _slid(row) | field_))
    for cost in unused:
        nothing = dict.fromkeys(("output_shape", "receptive_field", "jump", "start"))
        about = {"name": cost.name or "(itself)", "status": "not called"}
        lines.append(Line(**cost._asdict() | about | nothing))
    columns = ("parameters", "frozen", "macs", "activation_bytes")
    totals = {name: sum(getattr(line, name) for line in lines) for name in columns}
    conclusion = _conclusion(rows, own, seen)
    packed = any(".quantized" in type(m).__module__ for m in model.modules())
    packed |= isinstance(model, torch.jit.ScriptModule) and not totals["parameters"]
    return Description(
        type(model).__name__, input_shape, lines, conclusion, **totals, packed=packed
    )


def _measured(model, input_shape, inputs, rows: Sequence[Row], found: list) -> dict[int, str]:
    """Put what is measured in place of what is unknown; row -> why it could not be read."""
    unknown = [i for i, f in enumerate(found) if isinstance(f, Unknown) and f.reason != CONSTANT]
    calls = {rows[i].call for i in unknown if rows[i].call}
    seen, reasons = measure(model, input_shape, sorted(calls), inputs) if calls else {}, {}
    for i in [i for i in unknown if rows[i].call in seen and seen[rows[i].call] is None]:
        found[i] = Unknown(found[i].source, CONSTANT)  # padding alone, say
        unknown.remove(i)
    for i in unknown:
        again = rows[i].inputs[0] if rows[i].inside and not rows[i].call else None
        if rows[i].call in seen or again in reasons:
            source, reason = found[i] if again not in reasons else ("", reasons[again])
            reasons[i] = f"{source}: {reason}" if source else reason
            found[i] = seen[rows[i].call] if source else found[again]
    return reasons


def _usual_shape(model: nn.Module) -> tuple[int, int, int]:
    modules = model.modules() if isinstance(model, nn.Module) else ()
    channels = next((m.in_channels for m in modules if isinstance(m, nn.Conv2d)), 1)
    return (3, 224, 224) if channels == 3 else (1, 28, 28)


def _conclusion(rows: Sequence[Row], own: Sequence, seen: Sequence) -> str:
    """What a unit sees while there is a map, and what the output sees: the design's question."""
    steps = [i for i, row in enumerate(rows) if row.shown and row.inputs and not row.inside]
    maps = [k for k, i in enumerate(steps) if max(rows[i].extent) > 1]
    if not maps or isinstance(seen[steps[maps[-1]]], Unknown):
        return ""
    last, after = steps[maps[-1]], steps[maps[-1] + 1 :]
    if not after:
        return f"A middle unit of the last map sees {_covers(rows, last, seen)}."
    alone = seen if isinstance(own[last], Unknown) else own
    covers = _covers(rows, last, alone)
    if covers != _covers(rows, last, seen):
        covers += " by itself, the rest by what is global"
    known = not isinstance(seen[after[-1]], Unknown)
    output = f"; the output sees {_covers(rows, after[-1], seen)}" if known else ""
    return f"Before {rows[after[0]].name} a middle unit sees {covers}{output}."


def _covers(rows: Sequence[Row], i: int, found: Sequence) -> str:
    """How many of the image's pixels the middle unit of a row sees, along height and width."""
    seen, most = [], list(rows[0].extent)
    for field_, n, pixels in zip(found[i], rows[i].extent, most, strict=True):
        first, last = field_.span(n // 2)
        seen.append(max(0, min(last, pixels - 1) - max(first, 0) + 1))
    every = show.show(_both(most))
    return f"all {every}" if seen == most else f"{show.show(_both(seen))} of {every} pixels"


def _feeding(rows: Sequence[Row], row: Row) -> list[str]:
    """The names of the rows that feed one; parts of the same layer are looked through."""
    names, seen, todo = {}, set(), [*row.inputs[::-1]]
    while todo:
        i = todo.pop()
        if rows[i].name != row.name:
            names[rows[i].name] = None
        elif i not in seen:
            todo += rows[i].inputs[::-1]
        seen.add(i)
    return list(names)


def _slid(row: Row) -> dict:
    """Kernel, stride, padding and dilation, where it slides."""
    names = ("kernel_size", "stride", "padding", "dilation") if row.slid else ()
    return {name: _both([getattr(window, name) for window in row.slid]) for name in names}


def _seen(name: str, seen, own) -> dict:
    """What speaks of its field."""
    if isinstance(seen, Unknown):
        none = dict.fromkeys(("receptive_field", "jump", "start"))
        if seen.reason == CONSTANT:
            return none | {"status": "constant", "reason": CONSTANT}
        after = "" if seen.source == name else "after "
        return none | {"status": "unknown", "reason": f"{after}{seen.source}: {seen.reason}"}
    both = [] if isinstance(own, Unknown) else zip(seen, own, strict=True)
    local = any(f.fixed and not o.fixed for f, o in both)
    return {
        "receptive_field": _both([f.size for f in seen]),
        "local_field": _both([f.size for f in own]) if local else None,
        "jump": _both([_number(f.jump) or None for f in seen]),
        "start": _both([_number(f.start) if f.jump or f.fixed else None for f in seen]),
        "field_padding": _both([f.padding if f.jump or f.fixed else None for f in seen]),
        "smallest_field": _both([f.sizes[0] for f in seen]),
        "same_for_all_units": _both([f.fixed for f in seen]),
        "aligned": all(f.aligned for f in seen),
    }


def _number(value) -> int | float:
    """A whole number as such, so that it is shown without a point."""
    return int(value) if value == int(value) else float(value)


def _both(values: list):
    return values[0] if values[0] == values[-1] else values
