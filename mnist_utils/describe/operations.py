"""One tensor operation read as windows: where the image's axes lie, and what slides along them."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from mnist_utils.describe.dims import (
    AXES,
    BROADCAST,
    POINT,
    Dim,
    Dims,
    Piece,
    Tokens,
    Unreadable,
    axes_of,
    blended,
    extent_of,
    has_tokens,
    layout,
    mixed,
    opened,
    regroup,
    size_of,
    unmixed,
)
from mnist_utils.describe.steps import Steps, resized, transposed
from mnist_utils.receptive_field import Window

# Each rule returns the dims of the output, None where it reads nothing, and the windows along
# height and width; what channels do matters after a concatenation only, and is in `channels`.


class Operation(NamedTuple):
    name: str
    arguments: dict
    maps: list[tuple[Tensor, int, Dims]]  # the tensors that depend on the image, and their rows
    shape: tuple[int, ...]

    @property
    def dims(self) -> Dims:
        return self.maps[0][2]

    def chosen(self, key: str, default=None) -> set[int]:
        """The dimensions that an argument names; all of them when it is left out."""
        value = self.arguments.get(key)
        value = default if value in (None, []) else value
        value = range(len(self.dims)) if value is None else value
        return {d % len(self.dims) for d in ([value] if type(value) is int else value)}

    def changed(self, dimensions: set[int]) -> Dims:
        """`dims` where those dimensions were mixed to the output's size."""
        return tuple(
            mixed(m, self.shape[d]) if d in dimensions else m for d, m in enumerate(self.dims)
        )


def whole(dims: Dims, axes: Iterable[int]) -> list[Window]:
    """Windows over the whole map along `axes`, as global pooling has them."""
    extent = extent_of(dims)
    return [Window(extent[k], extent[k]) if k in axes else POINT for k in AXES]


def join(op):
    """Pointwise on one map or several: activations, sums, products, gates.

    Channels that meet an axis in which their own map is one unit long are read by all its units.
    """
    dims = []
    for d in range(-len(op.shape), 0):
        here = [(m[d], m) for *_, m in op.maps if len(m) >= -d]
        full = [(dim, m) for dim, m in here if size_of(dim) == op.shape[d]]
        if not full:  # a constant is larger than every map: they are broadcast
            full = [((op.shape[d], axes_of(dim)[0]),) for dim, _ in here if len(axes_of(dim)) == 1]
            dims.append((full or [mixed(here[0][0] if here else (), op.shape[d])])[0])
            continue
        dim = max((dim for dim, _ in full), key=lambda dim: (len(layout(dim)), _told(dim)))
        others = [(o, m) for o, m in full if layout(o) != layout(dim)]
        if any(layout(o) or any(extent_of(m)[k] > 1 for k in axes_of(dim, 1)) for o, m in others):
            raise Unreadable("it joins maps whose axes lie differently")
        lacking = any(layout(m[d] if len(m) >= -d else ()) != layout(dim) for *_, m in op.maps)
        dims.append(blended(dim) if lacking else dim)
    # a pooled map has no axes: forget its own
    long = {label for dim in dims for label in axes_of(dim, 1)}
    dims = [tuple((n, k) for n, k in dim if n > 1 or k not in long) for dim in dims]
    return tuple(dims), (POINT, POINT)


def _told(dim: Dim) -> tuple[int, int]:
    """How much a dimension says: of several that lie alike, the one that says most is kept."""
    return sum(k is not None for _, k in dim), -len(unmixed(dim))


def cat(op):
    d = op.arguments["dim"] % len(op.shape)
    maps = [m if op.name == "cat" else (*m[:d], (), *m[d:]) for *_, m in op.maps]
    *before, last = op.arguments["tensors"]
    units = [label for _, label in opened(maps[-1][d])]
    if op.name == "cat" and op.maps[-1][0] is last and units and set(units) <= set(AXES):
        if any(extent_of(m) != (1, 1) for m in maps[:-1]):
            raise Unreadable("it lays maps side by side along height or width")
        label = Tokens(maps[-1][d], sum(t.shape[d] for t in before), mixed=len(maps) > 1)
        return (*maps[-1][:d], ((op.shape[d], label),), *maps[-1][d + 1 :]), (POINT, POINT)
    for m in maps:
        if axes_of(m[d], 1) or (m[d] and all(k in AXES for _, k in m[d])):
            raise Unreadable("it lays maps side by side along height or width")
        if [axes_of(dim, 1) for dim in m] != [axes_of(dim, 1) for dim in maps[0]]:
            raise Unreadable("it joins maps whose axes lie differently")
    return (*maps[0][:d], mixed(maps[0][d], op.shape[d]), *maps[0][d + 1 :]), (POINT, POINT)


def view(op):
    windows = [POINT, POINT]
    return regroup(op.dims, op.shape, windows), windows


def unfold(op):
    """Patches that may overlap: `Tensor.unfold` along one axis, `F.unfold` along both."""
    windows, dims = [POINT, POINT], list(op.dims)
    if op.name == "im2col":
        columns = _each(op, 2, ("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        windows = [Window(*w) for w in zip(*columns, strict=True)]
        units = _windows_over(op._replace(shape=_patches(op, windows)), windows)[0][-2:]
        return (*dims[:-3], ((op.shape[-2], Piece()),), units[0] + units[1]), windows
    d = op.arguments["dimension"] % len(dims)
    if len(dims[d]) != 1 or not axes_of(dims[d]):
        raise Unreadable("it takes patches of what is not height or width alone")
    axis, size = dims[d][0][1], op.arguments["size"]
    windows[axis] = Window(size, op.arguments["step"])
    dims[d] = ((op.shape[d], axis),)
    return (*dims, ((size, Piece()),)), windows


def _patches(op, windows) -> tuple[int, ...]:
    """The shape of a map with one unit for each patch."""
    *before, height, width = op.maps[0][0].shape
    sides = []
    for n, (k, stride, padding, dilation, _) in zip((height, width), windows, strict=True):
        sides.append((n + 2 * padding - dilation * (k - 1) - 1) // stride + 1)
    return (*before, *sides)


def _refuse_pieces(dim: Dim) -> None:
    if any(isinstance(label, Piece) for label in unmixed(dim)):
        raise Unreadable("it takes some of the pixels of a patch")


def order(op) -> list[int]:
    """Where each dimension of a permuted map comes from."""
    result = list(range(len(op.dims)))
    if op.name == "permute":
        result = [d % len(result) for d in op.arguments["dims"]]
    elif result:
        i, j = op.arguments.get("dim0", 0), op.arguments.get("dim1", -1)
        result[i], result[j] = result[j], result[i]
    return result


def permute(op):
    return tuple(op.dims[d] for d in order(op)), (POINT, POINT)


def reduce(op):
    """Mean, sum or maximum over dimensions: global pooling where they hold an axis."""
    over = op.chosen("dim")
    windows = whole(op.dims, [k for d in over for k in axes_of(op.dims[d])])
    dims = tuple(mixed(dim, 1) if d in over else dim for d, dim in enumerate(op.dims))
    keeps_no_piece(dims, windows)
    return (dims if len(dims) == len(op.shape) else regroup(dims, op.shape)), windows


def keeps_no_piece(dims: Dims, windows: list[Window]) -> None:
    """Refuse what takes patches together pixel by pixel: such a unit reads with holes."""
    mixing = [k for k in AXES if windows[k] != POINT]
    left = [label for dim in dims for label in unmixed(dim) if isinstance(label, Piece)]
    if mixing and any(piece.axis in (None, *mixing) for piece in left):
        raise Unreadable("it mixes patches, and keeps their pixels apart")


def _windows_over(op, windows, channels=False):
    """Windows over the last dimensions; a convolution also mixes the channels before them."""
    dims, n, along = list(op.dims), len(windows), [POINT, POINT]
    if channels:
        along = whole(op.dims, axes_of(dims[-n - 1], 1))
        dims[-n - 1] = mixed(dims[-n - 1], op.shape[-n - 1])
    for d, window in zip(range(-n, 0), windows, strict=True):
        if window == POINT and op.shape[d] == size_of(dims[d]):
            continue
        dim = [f for f in dims[d] if f[0] > 1] or dims[d]
        axes = axes_of(dim)
        if len(axes) > 1 or (axes and len(dim) > 1):
            raise Unreadable("it slides over flattened pixels")
        if axes:
            along[axes[0]] = window
        dims[d] = ((op.shape[d], axes[0]),) if axes else mixed((), op.shape[d])
    return tuple(dims), along


def dimensions_slid_over(op) -> int:
    """Over how many of the last dimensions a pooling, resizing or padding slides."""
    if "pad" in op.name:
        return len(op.arguments.get("pad", op.arguments.get("padding"))) // 2
    return int(next(c for c in op.name if c.isdigit()))


def _each(op, n, *keys_and_defaults):
    """Arguments as lists of `n`: PyTorch also takes one number for all, or none for a default."""
    for key, default in keys_and_defaults:
        value = op.arguments.get(key)
        value = default if value in (None, []) else value
        value = [value] if type(value) is int else list(value)
        yield value * (n // len(value))


def slid(op) -> list[Window]:
    """What a convolution or a pool is given: kernel, stride, padding and dilation."""
    if "convolution" in op.name:
        kernel = op.arguments["weight"].shape[2:]
        rest = _each(op, len(kernel), ("stride", 1), ("padding", 0), ("dilation", 1))
        return [Window(*w) for w in zip(kernel, *rest, strict=True)]
    kernel = op.arguments["kernel_size"]
    keys = ("kernel_size", 0), ("stride", kernel), ("padding", 0), ("dilation", 1)
    columns = _each(op, dimensions_slid_over(op), *keys)
    return [Window(*w) for w in zip(*columns, strict=True)]


def convolution(op):
    if op.arguments["groups"] > 1 and axes_of(op.dims[1], 1):
        raise Unreadable("its groups cut the height or width into pieces")
    windows = slid(op)
    if op.arguments["transposed"]:
        windows = [transposed(*w[:4]) for w in windows]
    if any(isinstance(w, Steps) and not all(w.reads) for w in windows):
        raise Unreadable("a transposed convolution some of whose units read nothing")
    return _windows_over(op, windows, channels=True)


def pool(op):
    return _windows_over(op, slid(op))


def _flat(values) -> list:
    return [x for v in values for x in (v if isinstance(v, (list, tuple)) else [v])]


def resize(op):
    """Adaptive pooling and interpolation."""
    n = dimensions_slid_over(op)
    before, after = op.maps[0][0].shape[-n:], op.shape[-n:]
    scales = [v for k, v in op.arguments.items() if k.startswith("scale") and v]
    scales = (_flat(scales) * n)[:n] or [None] * n
    kinds = {"nearest_exact": "nearest_exact", "nearest": "nearest", "bilinear": "bilinear"}
    kinds |= {"bicubic": "bicubic", "adaptive": "mean"}
    kind = next(kinds[word] for word in kinds if word in op.name)
    if op.name.endswith("_aa"):
        raise Unreadable("it resizes by a filter against aliasing")
    windows = []
    for old, new, scale in zip(before, after, scales, strict=True):
        if scale and abs(old * scale - new) > 1e-6:
            raise Unreadable("it resizes by a factor that is lost in rounding")
        if old == 1 or old == new:
            windows.append(POINT if old == new else BROADCAST)
        elif kind == "mean" and old % new == 0:
            windows.append(Window(old // new, old // new))
        else:
            windows.append(resized(old, new, kind, bool(op.arguments.get("align_corners"))))
    return _windows_over(op, windows)


def shuffle(op):
    """PixelShuffle lays channels out in space, PixelUnshuffle takes them back."""
    factor = next(v for k, v in op.arguments.items() if k.endswith("factor"))
    if any(len(dim) != 1 for dim in op.dims[-2:]) or axes_of(op.dims[-3], 1):
        raise Unreadable("it moves pixels of a flattened map")
    dims = op.changed({len(op.dims) - 3})
    window = resized(1, factor, "nearest")
    if op.name == "pixel_unshuffle":
        window = Window(factor, factor)
        dims = (*dims[:-3], ((op.shape[-3], Piece()),), *dims[-2:])
    return _windows_over(op._replace(maps=[(op.maps[0][0], op.maps[0][1], dims)]), [window] * 2)


def pad(op):
    before = op.arguments.get("pad", op.arguments.get("padding"))[-2::-2]
    kinds = {"constant": "zeros", "reflection": "reflect", "replication": "replicate"}
    kind = op.name.split("_")[0]
    border = kinds.get(kind, kind)
    units, extra = op.dims[-2], op.shape[-2] - size_of(op.dims[-2])
    if len(axes_of(units, 1)) > 1 and [n for n in before if n] == before[-2:-1] == [extra]:
        tokens = ((op.shape[-2], Tokens(units, extra)),)  # zeros before the units of a map
        return (*op.dims[:-2], tokens, op.dims[-1]), (POINT, POINT)
    return _windows_over(op, [Window(1, padding=n, border=border) for n in before])


def bounds(op) -> tuple[int, int, int]:
    """(start, step, length) of what `select` or a slice takes."""
    d = op.arguments["dim"] % len(op.dims)
    size = size_of(op.dims[d])
    if op.name == "select":
        return op.arguments["index"] % size, 1, 1
    start = op.arguments["start"] or 0
    return min(max(start + size * (start < 0), 0), size), op.arguments["step"], op.shape[d]


def cut(op):
    d = op.arguments["dim"] % len(op.dims)
    here, size, windows = op.dims[d], size_of(op.dims[d]), [POINT, POINT]
    start, step, new = bounds(op)
    if new != size and axes_of(here, 1):
        (_, label), *more = here
        if isinstance(label, Tokens) and step == 1 and (start, new) == (label.extra, size - start):
            here = label.units
        elif isinstance(label, Tokens) and start + step * (new - 1) < label.extra:
            if not label.mixed:
                return None, windows
            here, windows = mixed(here, new), [BROADCAST, BROADCAST]
        elif isinstance(label, Tokens) or more:
            raise Unreadable("it takes some of the flattened pixels")
        else:
            windows[label] = Window(1, step, -start)
            here = ((new, label),)
    elif new != size:
        _refuse_pieces(here)
        here = mixed(here, new)
    dims = (*op.dims[:d], here, *op.dims[d + 1 :])
    return (regroup(dims, op.shape) if op.name == "select" else dims), windows


def index(op):
    used = [d for d, i in enumerate(op.arguments["indices"]) if i is not None]
    if (
        len(used) != 1
        or op.arguments["indices"][used[0]].dim() != 1
        or axes_of(op.dims[used[0]], 1)
    ):
        raise Unreadable("it picks pixels by a table of indices")
    _refuse_pieces(op.dims[used[0]])
    return op.changed(set(used)), (POINT, POINT)


def along_channels(op):
    """Reordering, cutting or accumulating along channels leaves the fields as they are."""
    over = op.chosen("dims") if "dims" in op.arguments else op.chosen("dim", default=1)
    if any(axes_of(op.dims[d], 1) for d in over):
        raise Unreadable(f"it is {op.name} along height or width")
    for d in over if op.name != "flip" else ():
        _refuse_pieces(op.dims[d])
    if op.name == "unbind":
        dims = tuple(mixed(m, 1) if d in over else m for d, m in enumerate(op.dims))
        return regroup(dims, op.shape), (POINT, POINT)
    return op.changed({d for d in over if size_of(op.dims[d]) != op.shape[d]}), (POINT, POINT)


def roll(op):
    """What is pushed out at one end comes in at the other."""
    windows = [POINT, POINT]
    shifts, over = (_flat([op.arguments[key]]) for key in ("shifts", "dims"))
    if len(over) != len(shifts):
        raise Unreadable("it rolls a flattened map")
    for shift, dim in zip(shifts, (op.dims[d] for d in over), strict=True):
        _refuse_pieces(dim)
        if axes := axes_of(dim, 1):
            if len(axes) > 1 or has_tokens(dim) or size_of(dim) > extent_of((dim,))[axes[0]]:
                raise Unreadable("it rolls flattened pixels")
            windows[axes[0]] = Window(1, padding=shift, border="circular")
    return op.dims, windows


def stretch(op):
    """expand and repeat: of channels, or of a map of one unit."""
    dims, windows = [], [POINT, POINT]
    for dim, n in zip(((),) * (len(op.shape) - len(op.dims)) + op.dims, op.shape, strict=True):
        if size_of(dim) != n and axes_of(dim, 1):
            raise Unreadable("it repeats a map along height or width")
        if size_of(dim) != n and len(dim) == len(axes_of(dim)) == 1:
            windows[dim[0][1]] = BROADCAST
            dim = ((n, dim[0][1]),)
        dims.append(dim if size_of(dim) == n else mixed(dim, n))
    return tuple(dims), windows


def restride(op):
    whole_map = op.maps[0][0]
    if (tuple(whole_map.shape), list(whole_map.stride())) != (op.shape, op.arguments["stride"]):
        raise Unreadable("it reads memory by strides of its own")
    return op.dims, (POINT, POINT)


def statistics(op) -> list[int]:
    """Axes along which a normalisation first looks at the whole map. BatchNorm: none in eval()."""
    if "softmax" in op.name:
        over = op.chosen("dim")
    elif "layer_norm" in op.name or "rms_norm" in op.name:
        over = range(len(op.dims) - len(op.arguments["normalized_shape"]), len(op.dims))
    elif "batch_norm" in op.name:
        over = range(2, len(op.dims)) if op.arguments["training"] else ()
    else:
        over = range(1, len(op.dims)) if "group_norm" in op.name else ()
    return [k for d in over for k in axes_of(op.dims[d], 1)]
