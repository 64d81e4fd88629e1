"""Every tensor that depends on the image, followed while the network runs: which row made it.

`TorchDispatchMode` shows each of PyTorch's own operations, `TorchFunctionMode` the calls that stand
in `forward`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_utils.describe import channels, guards
from mnist_utils.describe.dims import (
    AXES,
    BROADCAST,
    HEIGHT,
    POINT,
    WIDTH,
    Dims,
    Unreadable,
    blended,
    extent_of,
    has_tokens,
    is_interleaved,
    mixed,
    size_of,
)
from mnist_utils.describe.operations import (
    Operation,
    cat,
    convolution,
    cut,
    join,
    pad,
    pool,
    slid,
    statistics,
    whole,
)
from mnist_utils.describe.products import ATTENTION, attend, matmul, multiply_adds
from mnist_utils.describe.rows import Reads, Row
from mnist_utils.describe.rules import READS_VALUES, RULE_OF, SHAPE_ONLY
from mnist_utils.errors import InputError


def tensors_in(values: Iterable) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from tensors_in(value.values())
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


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
        self, model: nn.Module, input_shape: tuple[int, ...], device: str, stop_at_device: bool
    ):
        super().__init__()
        self.stop_at_device = stop_at_device
        self.model, self.path, self.layers = model, [""], []
        self.rows = [Row("input", "input", ())]
        self.state: dict[tuple, tuple[int, Dims, Tensor | None]] = {}  # row, dims, groups
        self.unread: set[int] = set()  # storages that were written in parts, or hold statistics
        self.drawn: set[int] = set()  # storages that hold what was drawn at random
        self.writer: dict[int, int] = {}  # storage -> the row that first wrote to it
        self.alive: list[Tensor] = []  # so that no storage's number is given out twice
        self.paths, self.taken = dict(model.named_modules()), set()
        self.unused = {self._storage(p): name for name, p in model.named_parameters()}
        dtypes = [p.dtype for p in model.parameters() if p.is_floating_point()]
        dtype = dtypes[0] if dtypes else torch.get_default_dtype()
        self.image = torch.zeros(1, *input_shape, dtype=dtype, device=device)
        labels = ("N", None, HEIGHT, WIDTH)
        dims = tuple(((n, k),) for n, k in zip(self.image.shape, labels, strict=True))
        self.rows[0].extent = extent_of(dims)
        self._bind(self.image, 0, dims)

    def run(self) -> list[Row]:
        for name, module in self.paths.items():
            if name and not isinstance(module, torch.jit.ScriptModule):  # these take no hooks
                module.register_forward_pre_hook(self._entering(name), prepend=True)
                module.register_forward_hook(self._leaving)
        with guards.no_threads(), guards.no_chance(), torch.no_grad(), self, _Calls(self):
            output = self.model(self.image)
        if self.layers:
            raise InputError(
                f"{self.layers[-1].name} fails, and the network catches that and goes another way; "
                "describe the parts"
            )
        known = len(self.rows)
        for t in tensors_in([output]):
            if self.depends(t) and self._lookup(t)[0] >= known:  # it was written in parts
                self.rows[-1].name = self.rows[-1].kind = "output"
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
            row.reads = tuple(tuple((place[i], g) for i, g in group) for group in row.reads)
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
        self.close(output)

    def open(self, name: str, kind: str, leaf: bool = True) -> None:
        part = bool(self.layers) and self.layers[-1].leaf
        self.layers.append(_Layer(name, kind, leaf or part, part, len(self.rows)))

    def open_call(self, name: str) -> None:
        self.open(".".join(filter(None, (self.path[-1], name.strip("_")))), "")

    def close(self, output) -> None:
        layer = self.layers.pop()
        if layer.part:
            self.layers[-1].products += layer.products
            self.layers[-1].parameters += layer.parameters
            return
        outputs = list(tensors_in([output]))
        results = [t for t in outputs if self.depends(t)]
        made = len(self.rows) > layer.first
        if results:
            index, dims, groups = self._lookup(results[0])
            if index < layer.first and (layer.leaf or not made):  # it returned its input
                index = self._new((index,), dims, reads=channels.unchanged(index, groups))
                self._bind(results[0], index, dims, groups)
                layer.leaf = True
            if layer.leaf and is_interleaved(dims):
                self.rows[index].reason = "it lays height or width out together with something else"
        elif made and not (outputs and self.rows[-1].inputs):
            index = len(self.rows) - 1
        elif made or layer.kind or layer.products or layer.parameters:  # depends on weights only
            index = self._new((), ())
        else:
            return
        name = self._unique(layer)
        for row in self.rows[layer.first :]:
            row.name = name if layer.leaf else row.name or name
        if not layer.leaf:
            self._add_container(name, layer.kind, index, range(layer.first, len(self.rows)))
            return
        row = self.rows[index]
        row.kind, row.shown = layer.kind or layer.name.rpartition(".")[2], True
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

    def _new(self, inputs, dims: Dims, windows=(POINT, POINT), reason="", reads: Reads = ()) -> int:
        inputs = tuple(dict.fromkeys(inputs))
        self.rows.append(Row("", "", inputs, extent_of(dims), tuple(windows), reason, reads=reads))
        return len(self.rows) - 1

    # Tensors

    def _storage(self, t: Tensor) -> int:
        return t.untyped_storage()._cdata

    def _key(self, t: Tensor) -> tuple:
        return self._storage(t), t.storage_offset(), tuple(t.shape), t.stride()

    def _bind(self, t: Tensor, index: int, dims: Dims, groups: Tensor | None = None) -> None:
        self.state[self._key(t)] = (index, dims, groups)
        self.writer.setdefault(self._storage(t), index)
        self.alive.append(t)

    def depends(self, t: Tensor) -> bool:
        return self._key(t) in self.state or self._storage(t) in self.unread

    def _lookup(self, t: Tensor) -> tuple[int, Dims, Tensor | None]:
        if self._key(t) not in self.state:
            index = self._new((0,), (), reason="it reads a tensor that was written in parts")
            self._bind(t, index, tuple(mixed((), n) for n in t.shape))
        return self.state[self._key(t)]

    def refuse_values(self) -> None:
        where = self.path[-1] or type(self.model).__name__
        raise InputError(
            f"{where} looks at the values of its input (control flow on data, .item(), .numpy()), "
            "so that its layers may differ from image to image; describe the parts before and after"
        )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, schema = func.overloadpacket.__name__, func._schema.arguments
        arguments = {s.name: s.default_value for s in schema if s.has_default_value()}
        arguments |= dict(zip((s.name for s in schema), args, strict=False)) | (kwargs or {})
        tensors = list(tensors_in(arguments.values()))
        maps = [t for t in tensors if self.depends(t)]
        if torch.is_inference_mode_enabled():
            raise InputError(
                "forward runs in torch.inference_mode(), where PyTorch hides its operations: take "
                "that off; nothing here keeps gradients anyway"
            )
        masks = [t for t in maps if t.dtype == torch.bool]
        cuts = torch.Tag.dynamic_output_shape in func.tags and (masks or name != "index")
        if maps and (cuts or name in READS_VALUES):
            self.refuse_values()
        by_chance = any(self._storage(t) in self.drawn for t in tensors)
        if name in READS_VALUES and by_chance:
            raise InputError(guards.CHANCE)
        by_chance |= torch.Tag.nondeterministic_seeded in func.tags
        alone = not self.layers or not self.layers[-1].leaf  # TorchScript's code, for example
        if alone:
            self.open_call(name)
        known = [(t, *self._lookup(t)) for t in maps if name != "copy_" or t is not args[0]]
        maps, groups = [one[:3] for one in known], [one[3] for one in known]
        used = dict.fromkeys(self._storage(t) for t in tensors)
        self.layers[-1].parameters += [self.unused.pop(s) for s in used if s in self.unused]
        out = func(*args, **(kwargs or {}))
        self.layers[-1].products += multiply_adds(name.rstrip("_"), arguments, out)
        outputs = list(tensors_in([out]))
        if by_chance and not maps:
            self.drawn |= {self._storage(t) for t in outputs}
            self.alive += outputs
        rule = join if _pointwise(func) else RULE_OF.get(name.rstrip("_"))
        if maps and outputs and name not in SHAPE_ONLY:
            op = Operation(name.rstrip("_"), arguments, maps, tuple(outputs[0].shape))
            self._follow(rule, op, groups, outputs)
        written = [arguments.get(s.name) for s in schema if s.alias_info and s.alias_info.is_write]
        for t in tensors_in(written):
            itself = rule is join and len(maps) == 1 and maps[0][0] is t and name != "copy_"
            if not itself and (maps or self.depends(t)):
                self._forget_views(t, known=bool(maps and outputs))
        if alone:
            self.close(out)
        return out

    def _forget_views(self, written: Tensor, known: bool) -> None:
        """Other views of the memory just written hold values that were not followed."""
        storage = self._storage(written)
        kept = self._key(written) if known else None
        for key in [k for k in self.state if k[0] == storage and k != kept]:
            del self.state[key]
        self.unread.add(storage)
        self.alive.append(written)

    def _follow(self, rule, op: Operation, groups: list, outputs: list[Tensor]) -> None:
        inputs = [index for _, index, _ in op.maps]
        first = next((v for v in op.arguments.values() if isinstance(v, Tensor)), None)
        try:
            if op.name in ATTENTION or (rule is matmul and len(op.maps) > 1):
                self._attend(op, groups, outputs[0])
                self._keep(outputs[1:])
                return
            if rule is None:
                raise Unreadable(f"{op.name} is not in the table of operations")
            if rule not in (join, cat, matmul) and (len(op.maps) > 1 or first is not op.maps[0][0]):
                raise Unreadable("its weights or indices are computed from the image")
            dims, windows = rule(op)
            if dims is None:
                return
            maps = [(i, own, g) for (_, i, own), g in zip(op.maps, groups, strict=True)]
            tokens = rule is cat and has_tokens(dims[op.arguments["dim"]])
            if rule is join or tokens:
                maps = [self._spread(*one, dims) for one in maps]
                if axes := statistics(op):
                    maps.append(self._pooled(op, maps, dims, axes))
                    dims = tuple(map(blended, dims))
                inputs = [index for index, *_ in maps]
            follow = channels.follow(rule, op, maps, dims, outputs)
        except Unreadable as error:
            index = self._new(inputs, (), reason=str(error))
            for out in outputs:
                self._bind(out, index, tuple(mixed((), n) for n in out.shape))
            return
        made = [(self._new(inputs, dims, windows, reads=reads), g) for g, reads in follow]
        if rule in (convolution, pool):
            self.rows[-1].slid = tuple(slid(op))
        taken = rule is cut and list(windows) == [BROADCAST, BROADCAST]
        self.rows[-1].alike = taken or (tokens and len(maps) > 1)
        for k, out in enumerate(outputs):
            if len(dims) == out.dim():  # split gives maps with fewer channels each
                fitted = zip(dims, out.shape, strict=True)
                own = tuple(d if size_of(d) == n else mixed(d, n) for d, n in fitted)
                index, its_groups = made[min(k, len(made) - 1)]
                self._bind(out, index, own, its_groups)
            else:
                self._keep([out])

    def wrap(self, output: Tensor, padded: Tensor, widths: Sequence[int]) -> None:
        """Circular padding, which PyTorch writes in parts."""
        arguments = {"input": padded, "pad": list(widths)}
        index, dims, groups = self._lookup(padded)
        op = Operation("circular_pad", arguments, [(padded, index, dims)], tuple(output.shape))
        self._follow(pad, op, [groups], [output])

    def _keep(self, outputs: list[Tensor]) -> None:
        """Statistics beside the result: what reads them is not followed."""
        self.unread |= {self._storage(out) for out in outputs}
        self.alive += outputs

    def _attend(self, op: Operation, groups: list, output: Tensor) -> None:
        """Pool what is summed over, spread it over the units that remain, and join."""
        dims, pooled = attend(op)
        inputs = []
        for (_, index, _), g, (rest, windows, summed) in zip(op.maps, groups, pooled, strict=True):
            if channels.vary(g) - {summed}:
                raise Unreadable("it multiplies maps whose channels see different fields")
            if g is not None or any(w != POINT for w in windows):
                index = self._new((index,), rest, windows)
            inputs.append(self._spread(index, rest, None, dims)[0])
        self._bind(output, self._new(inputs, dims), dims)

    def _spread(self, index: int, own: Dims, groups: Tensor | None, dims: Dims) -> tuple:
        """A map of one unit that meets a larger one is read by all of its units."""
        pairs = zip(extent_of(own), extent_of(dims), strict=True)
        spread = [BROADCAST if n == 1 and m > 1 else POINT for n, m in pairs]
        if BROADCAST in spread:
            index = self._new((index,), dims, spread, reads=channels.unchanged(index, groups))
        return index, own, groups

    def _pooled(self, op: Operation, maps: list, dims: Dims, axes: list[int]) -> tuple:
        """The statistics of a normalisation: pooled over the whole map, read by all units."""
        [(groups, reads)] = channels.follow(statistics, op, maps, dims)
        pooled = self._new((i for i, *_ in maps), (), whole(dims, axes), reads=reads)
        self.rows[pooled].extent = tuple(
            1 if k in axes else n for k, n in enumerate(extent_of(dims))
        )
        spread = [BROADCAST if k in axes else POINT for k in AXES]
        index = self._new((pooled,), dims, spread, reads=channels.unchanged(pooled, groups))
        return index, dims, groups


def _pointwise(func) -> bool:
    """PyTorch tags what works value by value; of `mish_` it tags only `mish`."""
    plain = getattr(torch.ops.aten, func.overloadpacket.__name__.rstrip("_"), None)
    plain = getattr(plain, func._overloadname, func)
    return torch.Tag.pointwise in func.tags or torch.Tag.pointwise in plain.tags


class _Calls(TorchFunctionMode):
    """Name what stands in `forward` itself: `F.relu`, `torch.flatten`, `x + y`."""

    def __init__(self, reader: Reader):
        super().__init__()
        self.reader = reader

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if (
            self.reader.stop_at_device
            and func in guards.ASKS_DEVICE
            and self.reader.depends(args[0])
        ):
            raise RuntimeError("it asks which device its image is on")
        name = getattr(func, "__name__", "call")
        if name in READS_VALUES and any(self.reader.depends(t) for t in tensors_in(args)):
            self.reader.refuse_values()
        self.reader.open_call(name)
        output = func(*args, **(kwargs or {}))
        if name == "pad" and "circular" in (kwargs or {}).values() and self.reader.depends(args[0]):
            self.reader.wrap(output, *args)
        self.reader.close(output)
        return output
