"""How each tensor operation reads the maps it is given: it moves, mixes, joins, or slides.

Each rule makes rows, and returns the layout of the output, None where it reads nothing; of several
outputs that differ a list.
"""

from typing import NamedTuple

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor

from receptive import layout as by
from receptive.layout import Layout, Unreadable
from receptive.rows import AXES, Row
from receptive.steps import BROADCAST, Steps, Window, resized, transposed

PRODUCTS = {"mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2")}
PRODUCTS |= {"baddbmm": ("batch1", "batch2")}
ATTENTION = {f"_scaled_dot_product_{k}" for k in ("attention_math", "flash_attention_for_cpu")}
ATTENTION |= {f"_scaled_dot_product_{k}_attention" for k in ("flash", "efficient", "cudnn")}


class Operation(NamedTuple):
    name: str
    arguments: dict
    call: object  # the operation, to be called on numbers in place of its map
    maps: list[tuple[Tensor, Layout]]  # the tensors that depend on the image
    shape: tuple[int, ...]  # of its first output
    rows: list[Row]

    @property
    def layout(self) -> Layout:
        return self.maps[0][1]

    @property
    def rank(self) -> int:
        return self.maps[0][0].dim()

    def chosen(self, key: str, default=None) -> list[int]:
        """The dimensions that an argument names; all of them when it is left out."""
        value = self.arguments.get(key)
        value = default if value in (None, []) else value
        value = range(self.rank) if value is None else value
        return [d % self.rank for d in ([value] if type(value) is int else value)]


def join(op):
    """Pointwise on one map or several: activations, sums, gates; and what normalises them."""
    layouts = [layout for _, layout in op.maps]
    return by.joined(op.rows, [*layouts, *_statistics(op)], len(op.shape))


def hide(op):
    """Values put in place of some, or a choice of two: a constant mask would hide units."""
    mask = op.arguments["condition" if op.name == "where" else "mask"]
    dims = [d for d in range(-mask.dim(), 0) if mask.shape[d] > 1]
    if not any(mask is t for t, _ in op.maps):
        for t, layout in op.maps:
            if any(d >= -t.dim() and layout.axes_along(d) for d in dims):
                raise Unreadable("a constant mask hides some of its units")
    return join(op)


def restride(op):
    """A map's own memory again, as an average of a permuted map is laid out; nothing else."""
    ((t, layout),) = op.maps
    size, stride = op.arguments["size"], op.arguments["stride"]
    steps = zip(size, stride, t.stride(), strict=False)
    if list(size) != list(t.shape) or any(n > 1 and new != old for n, new, old in steps):
        raise Unreadable("as_strided reads its memory in another order")
    return layout


def _statistics(op) -> list[Layout]:
    """What a normalisation looks at first. BatchNorm: nothing in eval()."""
    over = []
    if "group_norm" in op.name:
        parts = _parted(op.layout, 1, op.arguments["group"])
        parts = by.mixed(op.rows, parts, range(2, op.rank + 1))
        return [_together(parts, 1, op.shape[1] // op.arguments["group"])]
    if "softmax" in op.name:
        over = op.chosen("dim")
    elif "layer_norm" in op.name or "rms_norm" in op.name:
        over = range(-len(op.arguments["normalized_shape"]), 0)
    elif "batch_norm" in op.name and op.arguments["training"]:
        over = range(2, op.rank)
    pooled = by.mixed(op.rows, op.layout, over)
    return [] if pooled is op.layout else [pooled]


def _parted(layout: Layout, d: int, groups: int) -> Layout:
    """A dimension as two: groups, and the channels of each."""

    def part(t):
        sizes = (groups, -1) if t.shape[d] > 1 else (1, 1)
        return t.reshape(*t.shape[:d], *sizes, *t.shape[d + 1 :])

    return layout.each(part)


def _together(layout: Layout, d: int, channels: int) -> Layout:
    """Groups, and one channel of each, as one dimension of so many channels for each group."""
    return layout.each(lambda t: t.squeeze(d + 1).repeat(channels if t.shape[d] > 1 else 1, d))


def move(op):
    """Whatever only moves data: views, cuts, concatenations, rolled and shuffled maps."""
    [(t, layout)], full = op.maps, [] if op.name in ("permute", "transpose", "t") else None
    call = op.call if op.name != "im2col" else lambda numbers: op.call(numbers.double()).int()
    if op.name in ("select", "slice", "split", "split_with_sizes", "unbind", "unsafe_split"):
        full = op.chosen("dim", default=0)
    key = op.name, [v for v in op.arguments.values() if not isinstance(v, Tensor)]
    layouts = [by.settled(op.rows, m) for m in by.moved([(layout, t.shape)], call, full, key)]
    for k, d in ((0, -2), (1, -1)) if op.name == "pixel_shuffle" else ():
        if layouts[0].extent[k] == 1:
            layouts = [_stretched(op, layouts[0], k, d)]
    return layouts


def _stretched(op, layout: Layout, axis: int, d: int) -> Layout:
    """The one unit along an axis, shown to as many as a dimension of the output is long."""
    units = by.row_of_units(op.shape[d], len(op.shape), d)
    return by.spread(op.rows, layout, axis, op.shape[d], units)


def cat(op):
    """Beside each other; a map of one unit among longer ones is shown to all their units."""
    d, maps = op.arguments["dim"] % len(op.shape), []
    known, nothing = {id(t): m for t, m in op.maps}, numpy.full([1] * op.rank, -1)
    longest = [max(known.values(), key=lambda m: m.extent[k]) for k in AXES]
    extent = tuple(m.extent[k] for k, m in enumerate(longest))
    for t in op.arguments["tensors"]:
        m = known.get(id(t), Layout(extent, (), nothing, nothing, nothing))
        for k, n in enumerate(extent):
            if m.extent[k] not in (1, n):
                raise Unreadable("it lays maps of different sizes side by side")
            if m.extent[k] < n:
                place = longest[k][2 + k]
                among = op.name == "cat" and place.shape[d] > 1  # a token beside the units
                m = by.spread(op.rows, m, k, n, m[2 + k] if among else place)
        maps.append((m, t.shape))
    join, full = (torch.stack, []) if op.name == "stack" else (torch.cat, [d])
    layouts = by.moved(maps, lambda *parts: join(parts, d), full)
    return [by.settled(op.rows, m) for m in layouts]


def pick(op):
    """Reordered, chosen or added up along dimensions in which all entries see the same."""
    over = op.chosen("dim", default=1)
    if op.name == "index":
        over = [d for d, i in enumerate(op.arguments["indices"]) if i is not None]
        if any(op.arguments["indices"][d].dim() != 1 for d in over):
            raise Unreadable("it picks pixels by a table of indices")
    if any(t.shape[d] > 1 for d in over for t in op.layout[2:]):
        raise Unreadable(f"it is {op.name} along units that see different fields")
    return by.add(op.rows, op.layout)


def halves(op):
    """A gated linear unit: one half of the channels gates the other."""
    [d], [(t, layout)] = op.chosen("dim"), op.maps
    return by.joined(op.rows, by.moved([(layout, t.shape)], lambda c: c.chunk(2, d), [d]), op.rank)


def reduce(op):
    """Mean, sum or maximum over dimensions: global pooling where they hold an axis."""
    over = op.chosen("dim")
    layout = by.mixed(op.rows, op.layout, over)
    layout = by.add(op.rows, layout) if layout is op.layout else layout
    return layout if len(op.shape) == op.rank else layout.each(lambda t: t.squeeze(tuple(over)))


def product(op):
    """A Linear layer sees all that lies along the dimension that it sums over.

    Where that is the height or the width by itself, each of the new units does. In a product of
    maps, and in attention, each unit of the first, the queries, meets all of the others.
    """
    keys = PRODUCTS.get(op.name, ("query", "key", "value"))
    maps = {key: m for key in keys for t, m in op.maps if t is op.arguments[key]}
    if any(all(t is not op.arguments[key] for key in keys) for t, _ in op.maps):
        raise Unreadable("its weights or indices are computed from the image")
    over = dict(zip(keys, ([-1], [-2, -1], [-2]), strict=False))
    met = [m.axes_along(d) for m, d in zip(maps.values(), (-2, -1), strict=False)]
    if op.name in PRODUCTS and not (len(maps) == 2 and all(met)):
        over[keys[1]] = [-2]
    pooled = [by.mixed(op.rows, m, over[key]) for key, m in maps.items()]
    layout, [d, *_] = by.joined(op.rows, pooled, len(op.shape)), over[next(iter(maps))]
    for k in op.layout.axes_along(d) if len(maps) == 1 and op.shape[d] > 1 else []:
        if op.layout.alone(k):
            layout = _stretched(op, layout, k, d)
    return layout


# --- Sliding --------------------------------------------------------------------------------------


def _slide(op, windows, layout: Layout | None = None) -> Layout:
    before, after = (shape[-len(windows) :] for shape in (op.maps[0][0].shape, op.shape))
    return by.slid(op.rows, layout or op.layout, windows, before, after)


def slides(op) -> list[Window]:
    """Kernel, stride, padding, dilation; one number may stand for all, and none for the default."""
    weight, argument = op.arguments.get("weight"), op.arguments.get
    kernel = argument("kernel_size") if weight is None else list(weight.shape[2:])
    stride = argument("stride") or (kernel if weight is None else [1])
    n = _dimensions(op) if weight is None else len(kernel)
    columns = [kernel, stride, argument("padding") or [0], argument("dilation") or [1]]
    columns = [[c] if type(c) is int else list(c) for c in columns]
    return [Window(*w) for w in zip(*(c * (n // len(c)) for c in columns), strict=True)]


def _dimensions(op) -> int:
    """Over how many of the last dimensions a pooling or resizing slides."""
    return int(next(c for c in op.name if c.isdigit()))


def convolution(op):
    """It mixes the channels of a group, and slides."""
    windows, groups = slides(op), op.arguments["groups"]
    if op.arguments["transposed"]:
        windows = [transposed(*w[:4]) for w in windows]
    if any(isinstance(w, Steps) and not all(w.reads) for w in windows):
        raise Unreadable("a transposed convolution some of whose units read nothing")
    d = op.rank - len(windows) - 1
    layout = by.mixed(op.rows, _parted(op.layout, d, groups), [d + 1])
    return _slide(op, windows, _together(layout, d, op.shape[d] // groups))


def pool(op):
    return _slide(op, slides(op))


def resize(op):
    """Adaptive pooling and interpolation."""
    n = _dimensions(op)
    scales = [v for k, v in op.arguments.items() if k.startswith("scale") and v]
    scales = [s for v in scales for s in (v if isinstance(v, (list, tuple)) else [v])]
    scales = (scales * n)[:n] or [None] * n
    kinds = ("nearest_exact", "nearest", "bilinear", "bicubic", "adaptive")
    kind, corners = next(k for k in kinds if k in op.name), bool(op.arguments.get("align_corners"))
    if op.name.endswith("_aa"):
        raise Unreadable("it resizes by a filter against aliasing")
    windows = []
    for old, new, scale in zip(op.maps[0][0].shape[-n:], op.shape[-n:], scales, strict=True):
        if scale and abs(old * scale - new) > 1e-6:
            raise Unreadable("it resizes by a factor that is lost in rounding")
        steps = resized(old, new, kind, corners)
        windows.append(BROADCAST if old == 1 < new else steps.as_window() or steps)
    return _slide(op, windows)


def pad(op):
    """Padding with the map's own units, or with zeros, which read nothing wherever they lie."""
    before, kind = op.arguments.get("pad", op.arguments.get("padding")), op.name.split("_")[0]
    if kind == "constant" and (len(before) != 4 or 1 not in op.maps[0][0].shape[-2:]):
        return move(op._replace(call=lambda code: F.pad(code, before)))
    border = {"constant": "zeros", "reflection": "reflect", "replication": "replicate"}
    windows = [Window(1, padding=n, border=border.get(kind, kind)) for n in before[-2::-2]]
    return _slide(op, windows)


def multiply_adds(name: str, a: dict, out) -> list[tuple[int, ...]]:
    """The MACs of one operation on one sample, as the factors one would multiply on paper."""
    if name.endswith("convolution"):
        n, _, *places = (a["input"] if a["transposed"] else out).shape
        return [(*a["weight"].shape, *places, *[n] * (n > 1))]  # n: maps laid in the batch
    if name in ("mv", "addmv", "dot"):
        return [tuple(a["mat" if name == "addmv" else "self"].shape)]
    if name in PRODUCTS:
        left, right = (a[k].shape for k in PRODUCTS[name])
        return [(*right[-2:], *(n for n in left[:-1] if n > 1))]
    if name.startswith("_scaled_dot_product"):
        query, key, value = (a[k].shape for k in ("query", "key", "value"))
        return [(*query, key[-2]), (*query[:-1], *value[-2:])]
    return []
