"""Every tensor that depends on the image, followed while the network runs: which row made it.

`TorchDispatchMode` shows each of PyTorch's own operations, `TorchFunctionMode` the calls that stand
in `forward`.

An example, on an image of two channels and 4×4 pixels (row 0):

    def forward(self, images):
        maps = torch.cat([images, self.conv(images)], 1)  # 2 and 2 channels
        return maps.flatten(2)[:, 1:3].mean(2)            # one of the image's, one of conv's

`conv` is row 1: it reads row 0 through windows of 3×3. `cat` makes a row for each half of its
channels, 2 that reads 0 and 3 that reads 1, and as its line in the table a row 4 that reads both.
`flatten` and the slice do likewise, and the two channels that are left still read 0 and 1, each by
a chain of its own. `mean` takes windows of 4×4 of each chain: its first channel sees 4 pixels, its
second 6. `layout` shows where the units lie meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from receptive import guards, operations
from receptive.errors import InputError
from receptive.layout import Layout, Unreadable, add, row_of_units, together
from receptive.measured import tensors_in, with_image
from receptive.operations import Operation, multiply_adds
from receptive.rows import AXES, Row
from receptive.rules import READS_VALUES, RULE_OF, SEVERAL, SHAPE_ONLY


@dataclass
class _Layer:
    """A module or functional call while it runs; within a leaf, others are parts of it."""

    name: str
    kind: str
    leaf: bool
    part: bool
    first: int  # the first row it can have made
    products: list = field(default_factory=list)
    parameters: list = field(default_factory=list)


class Reader(TorchDispatchMode):
    """Follow every tensor that depends on the image: which row made it, where its axes lie."""

    def __init__(
        self, model: nn.Module, input_shape: tuple, device: str, stop_at_device: bool, inputs=None
    ):
        super().__init__()
        self.stop_at_device = stop_at_device
        self.model, self.path, self.layers = model, [""], []
        self.rows = [Row("input", "input", (), input_shape[1:])]
        self.state: dict[int, dict[tuple, Layout]] = {}  # storage -> view -> layout
        self.whole: dict[tuple, int] = {}  # rows -> the one that takes them together
        self.unread: dict[int, set] = {}  # storage -> what was written there and is not followed
        self.drawn: set[int] = set()  # storages that hold what was drawn at random
        self.writer: dict[int, int] = {}  # storage -> the row that first wrote to it
        self.alive: list[Tensor] = []  # so that no storage's number is given out twice
        self.paths, self.taken, self.calls = dict(model.named_modules()), set(), 0
        self.unused = {self._storage(p): name for name, p in model.named_parameters()}
        dtypes = [p.dtype for p in model.parameters() if p.is_floating_point()]
        dtype = [*dtypes, torch.get_default_dtype()][0]
        self.image = torch.zeros(1, *input_shape, dtype=dtype, device=device)
        self.arguments = with_image(inputs, self.image)
        _, height, width = input_shape
        places = row_of_units(height, 4, 2), row_of_units(width, 4, 3), row_of_units(1, 4, 1)
        self._bind(self.image, Layout(input_shape[1:], ((0,),), *places))

    def run(self) -> list[Row]:
        for name, module in self.paths.items():
            if name and not isinstance(module, torch.jit.ScriptModule):  # these take no hooks
                module.register_forward_pre_hook(self._entering(name), prepend=True)
                module.register_forward_hook(self._leaving)
        with (
            guards.no_threads(), guards.no_chance(), guards.no_onednn(), torch.no_grad(),
            self, _Calls(self),
        ):  # fmt: skip
            output = self.model(*self.arguments)
        self.calls += 1
        if self.layers:
            raise InputError(
                f"{self.layers[-1].name} fails, and the network catches that and goes another way; "
                "describe the parts"
            )
        known = len(self.rows)
        for place, t in enumerate(tensors_in([output])):
            if self.depends(t) and self._lookup(t).row >= known:  # it was written in parts
                self.rows[-1].name = self.rows[-1].kind = "output"
                self.rows[-1].call = self.calls, place
                self.rows[-1].shown, self.rows[-1].output_shape = True, tuple(t.shape[1:])
        # A ModuleList is never called itself: it is a container of what it holds.
        for name in [n for n in self.paths if n and n not in self.taken]:
            shown = [(i, row.name) for i, row in enumerate(self.rows) if row.shown]
            if inside := [i for i, path in shown if path.startswith(f"{name}.")]:
                kind = type(self.paths[name]).__name__
                self._add_container(name, kind, inside[-1], inside)
        # A container stands right after the last row that it contains.
        order = sorted(range(len(self.rows)), key=lambda i: max(self.rows[i].inside, default=i))
        place = {old: new for new, old in enumerate(order)}
        for row in self.rows:
            row.inputs = tuple(place[i] for i in row.inputs)
            row.inside = tuple(place[i] for i in row.inside)
        return [self.rows[i] for i in order]

    # Layers

    def _entering(self, name: str):
        def enter(module, _):
            self.path.append(name)
            plain = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
            known = [c.__module__ for c in type(module).__mro__ if c not in plain]
            leaf = any(m.startswith("torch.nn.modules.") and "transformer" not in m for m in known)
            self.open(name, type(module).__name__, leaf)

        return enter

    def _leaving(self, module, _, output):
        self.path.pop()
        self.done(output)

    def open(self, name: str, kind: str, leaf: bool = True) -> None:
        part = bool(self.layers) and self.layers[-1].leaf
        self.layers.append(_Layer(name, kind, leaf or part, part, len(self.rows)))

    def open_call(self, name: str) -> None:
        self.open(".".join(filter(None, (self.path[-1], name.strip("_")))), "")

    def done(self, output) -> None:
        """The end of a call that `measured.Watch` sees, too."""
        self.calls += 1
        with torch._C.DisableTorchFunction():
            self.close(output, self.calls)

    def close(self, output, call: int | None = None) -> None:
        layer = self.layers.pop()
        if layer.part:
            self.layers[-1].products += layer.products
            self.layers[-1].parameters += layer.parameters
            return
        outputs = list(tensors_in([output]))
        results = [t for t in outputs if self.depends(t)]
        made = len(self.rows) > layer.first
        if results:
            layout = self._lookup(results[0])
            if layout.row < layer.first and (layer.leaf or not made):  # it returned its input
                layout = add(self.rows, layout)
                self._bind(results[0], layout)
                layer.leaf = True
            index = self._shown_by(layout)
        elif made and not (outputs and self.rows[-1].inputs):
            index = len(self.rows) - 1
        elif made or layer.kind or layer.products or layer.parameters:  # depends on weights only
            index = len(self.rows)
            self.rows.append(Row("", "", ()))
        else:
            return
        name = self._unique(layer)
        for row in self.rows[layer.first :]:
            row.name = name if layer.leaf else row.name or name
        place = next((k for k, t in enumerate(outputs) if results and t is results[0]), 0)
        seen = (call, place) if call and outputs else None
        if not layer.leaf:
            self._add_container(name, layer.kind, index, range(layer.first, len(self.rows)))
            self.rows[-1].call = seen
            return
        row = self.rows[index]
        row.kind, row.shown = layer.kind or layer.name.rpartition(".")[2], True
        row.call = seen
        row.products, row.parameters = tuple(layer.products), tuple(layer.parameters)
        for t in (results or outputs)[:1]:
            row.output_shape = tuple(t.shape[1:])
            if self.writer.get(self._storage(t), -1) >= layer.first:
                row.nbytes = t.numel() * t.element_size()

    def _unique(self, layer: _Layer) -> str:
        """relu, relu_1, relu_2: several calls of one module, or of one function beside it."""
        names = [layer.name] if layer.kind or layer.name not in self.paths else []
        n = 0
        while not names or names[-1] in self.taken or (n and names[-1] in self.paths):
            n += 1
            names.append(f"{layer.name}_{n}")
        self.taken.add(names[-1])
        return names[-1]

    def _add_container(self, name: str, kind: str, index: int, inside: Iterable[int]) -> None:
        last = self.rows[index]
        row = Row(name, kind, (index,), last.extent, shown=True, inside=tuple(inside))
        row.output_shape = last.output_shape
        self.rows.append(row)

    def _shown_by(self, layout: Layout) -> int:
        """The row to show for a layer's output."""
        reads = layout.reads
        if reads not in self.whole:
            try:
                index = together(self.rows, layout)
            except Unreadable as error:
                if not any(map(layout.tangled, AXES)):  # what comes after may be read again
                    layout = add(self.rows, layout)
                for (index,) in layout.reads:
                    self.rows[index].reason = str(error)
            self.rows[index].slid = self.rows[layout.row].slid
            self.whole[reads] = index
        return self.whole[reads]

    # Tensors

    def _storage(self, t: Tensor) -> int:
        return t.untyped_storage()._cdata

    def _views(self, t: Tensor) -> dict[tuple, Layout]:
        return self.state.get(self._storage(t), {})

    def _bind(self, t: Tensor, layout: Layout) -> None:
        storage = self._storage(t)
        self.state.setdefault(storage, {})[_view(t)] = layout
        self.writer.setdefault(storage, layout.row)
        self.alive.append(t)

    def depends(self, t: Tensor) -> bool:
        if _view(t) in self._views(t):
            return True
        first, end = _stretch(*_view(t))
        return any(a < end and first < b for a, b in self.unread.get(self._storage(t), ()))

    def _lookup(self, t: Tensor) -> Layout:
        if _view(t) not in self._views(t):
            self._unknown((0,), [t], "it reads a tensor that was written in parts")
        return self._views(t)[_view(t)]

    def _unknown(self, inputs: Sequence[int], outputs: Sequence[Tensor], reason: str) -> None:
        self.rows.append(Row("", "", tuple(dict.fromkeys(inputs)), reason=reason))
        for out in outputs:
            nothing = numpy.zeros([1] * out.dim(), int)
            self._bind(out, Layout((1, 1), ((len(self.rows) - 1,),), nothing, nothing, nothing))

    def refuse_values(self) -> None:
        where = self.path[-1] or type(self.model).__name__
        raise InputError(
            f"{where} looks at the values of its input (control flow on data, .item(), .numpy()), "
            "so that its layers may differ from image to image; describe the parts before and after"
        )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, takes, defaults, writes, tags = _signature(func)
        arguments = defaults | dict(zip(takes, args, strict=False)) | (kwargs or {})
        tensors = list(tensors_in(arguments.values()))
        maps = [t for t in tensors if self.depends(t)]
        if torch.is_inference_mode_enabled():
            raise InputError(
                "forward runs in torch.inference_mode(), where PyTorch hides its operations: take "
                "that off; nothing here keeps gradients anyway"
            )
        masks = [t for t in maps if t.dtype == torch.bool]
        cuts = torch.Tag.dynamic_output_shape in tags and (masks or name != "index")
        if maps and (cuts or name in READS_VALUES):
            self.refuse_values()
        by_chance = any(self._storage(t) in self.drawn for t in tensors)
        if name in READS_VALUES and by_chance:
            raise InputError(guards.CHANCE)
        by_chance |= torch.Tag.nondeterministic_seeded in tags
        alone = not self.layers or not self.layers[-1].leaf  # TorchScript's code, for example
        if alone:
            self.open_call(name)
        maps = [(t, self._lookup(t)) for t in maps if name != "copy_" or t is not args[0]]
        used = dict.fromkeys(self._storage(t) for t in tensors)
        self.layers[-1].parameters += [self.unused.pop(s) for s in used if s in self.unused]
        if "batch_norm" in name and args[0].is_meta and not arguments["training"]:
            out = torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        else:
            out = func(*args, **(kwargs or {}))
        self.layers[-1].products += multiply_adds(name.rstrip("_"), arguments, out)
        outputs = list(tensors_in([out]))
        if by_chance and not maps:
            self.drawn |= {self._storage(t) for t in outputs}
            self.alive += outputs
        rule = RULE_OF.get(name.rstrip("_"))
        rule = operations.join if not rule and torch.Tag.pointwise in tags else rule
        if maps and outputs and name not in SHAPE_ONLY:
            shape = tuple(outputs[0].shape)
            call = lambda numbers: func(numbers, *args[1:], **(kwargs or {}))  # noqa: E731
            op = Operation(name.rstrip("_"), arguments, call, maps, shape, self.rows)
            self._follow(rule, op, outputs)
        for t in tensors_in(map(arguments.get, writes)):
            itself = rule is operations.join and [m is t for m, _ in maps] == [True]
            if (name == "copy_" or not itself) and (maps or self.depends(t)):
                self._forget_views(t, known=bool(maps and outputs))
        if alone:
            self.close(out)
        return out

    def _forget_views(self, written: Tensor, known: bool) -> None:
        """Other views of the memory just written hold values that were not followed."""
        views, (first, end) = self._views(written), _stretch(*_view(written))
        for view in list(views):
            begin, last = _stretch(*view)
            if begin < end and first < last and not (known and view == _view(written)):
                del views[view]
        self._hide(written)

    def _hide(self, t: Tensor) -> None:
        """What reads this memory, but by views that are followed, is not followed."""
        self.unread.setdefault(self._storage(t), set()).add(_stretch(*_view(t)))
        self.alive.append(t)

    def _follow(self, rule, op: Operation, outputs: list[Tensor]) -> None:
        inputs, made = [layout.row for _, layout in op.maps], len(self.rows)
        first = next((v for v in op.arguments.values() if isinstance(v, Tensor)), None)
        try:
            if rule is None:
                raise Unreadable(f"{op.name} is not in the table of operations")
            if rule not in SEVERAL and (len(op.maps) > 1 or first is not op.maps[0][0]):
                raise Unreadable("its weights or indices are computed from the image")
            layouts = rule(op)
        except Unreadable as error:
            del self.rows[made:]
            self._unknown(inputs, outputs, str(error))
            return
        if rule in (operations.convolution, operations.pool):
            before = self.rows[inputs[0]]  # what the same layer padded has no name yet
            padded = [] if before.name else [getattr(w, "padding", 0) for w in before.windows]
            slid = operations.slides(op)
            for k, padding in enumerate(padded[: len(slid)]):
                slid[k] = slid[k]._replace(padding=slid[k].padding + padding)
            for row in self.rows[made:]:
                row.slid = tuple(slid)
        if not isinstance(layouts, list):
            layouts = [layouts] * len(outputs)
        for layout, out in zip(layouts, outputs, strict=True):
            if layout is None:
                continue
            fitting = zip(layout.shape, out.shape, strict=False)
            if len(layout.shape) == out.dim() and all(m in (1, n) for m, n in fitting):
                self._bind(out, layout)
            else:  # statistics beside the result: what reads them is not followed
                self._hide(out)

    def wrap(self, output: Tensor, padded: Tensor, widths: Sequence[int]) -> None:
        """Circular padding, which PyTorch writes in parts."""
        arguments = {"input": padded, "pad": list(widths)}
        maps, shape = [(padded, self._lookup(padded))], tuple(output.shape)
        op = Operation("circular_pad", arguments, None, maps, shape, self.rows)
        self._follow(operations.pad, op, [output])


def _view(t: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return t.storage_offset(), tuple(t.shape), t.stride()


def _stretch(offset: int, shape: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """The stretch of memory in which a view lies."""
    return offset, offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


@lru_cache(None)
def _signature(func) -> tuple:
    """Name, arguments, their defaults, those it writes to, and PyTorch's tags.

    Of `mish_` PyTorch tags only `mish` as working value by value.
    """
    name, takes = func.overloadpacket.__name__, func._schema.arguments
    plain = getattr(torch.ops.aten, name.rstrip("_"), None)
    plain = getattr(plain, func._overloadname, func)
    defaults = {a.name: a.default_value for a in takes if a.has_default_value()}
    writes = [a.name for a in takes if a.alias_info and a.alias_info.is_write]
    return name, [a.name for a in takes], defaults, writes, {*func.tags, *plain.tags}


@dataclass(eq=False)
class _Calls(TorchFunctionMode):
    """Name what stands in `forward` itself: `F.relu`, `torch.flatten`, `x + y`."""

    reader: Reader

    def __torch_function__(self, func, types, args=(), kwargs=None):
        asks = self.reader.stop_at_device and func in guards.ASKS_DEVICE
        if asks and self.reader.depends(args[0]):
            raise RuntimeError("it asks which device its image is on")
        name = getattr(func, "__name__", "call")
        if name in READS_VALUES and any(self.reader.depends(t) for t in tensors_in(args)):
            self.reader.refuse_values()
        self.reader.open_call(name)
        output = func(*args, **(kwargs or {}))
        if name == "pad" and "circular" in (kwargs or {}).values() and self.reader.depends(args[0]):
            self.reader.wrap(output, *args)
        self.reader.done(output)
        return output
