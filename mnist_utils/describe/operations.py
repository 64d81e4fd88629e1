"""One tensor operation read as windows: where the image's axes lie, and what slides along them.

The table at the end of this module holds PyTorch's own (ATen's) operations by name. An operation
that is not in it is not guessed: `reader` makes it a row with a reason.
"""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from mnist_utils.describe.dims import (
    AXES,
    BROADCAST,
    PIECE,
    POINT,
    Dim,
    Dims,
    Unreadable,
    axes_of,
    extent_of,
    mixed,
    regroup,
    size_of,
)
from mnist_utils.describe.steps import Steps, resized, transposed
from mnist_utils.receptive_field import Window

# --- The table of operations, PyTorch's own (ATen's) names -------------------------------------
# Each rule returns the dims of the output and the windows along height and width; what the channels
# do meanwhile matters after a concatenation only, and is followed in `channels`.


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
    """Pointwise on one map or several: activations, sums, products, gates."""
    dims = []
    for d in range(-len(op.shape), 0):
        here = [m[d] for *_, m in op.maps if len(m) >= -d]
        full = [dim for dim in here if size_of(dim) == op.shape[d]]
        if len({tuple(axes_of(dim, 1)) for dim in full}) > 1:
            raise Unreadable("it joins maps whose axes lie differently")
        if not full:  # a constant is larger than every map: they are broadcast
            full = [((op.shape[d], axes_of(dim)[0]),) for dim in here if len(axes_of(dim)) == 1]
            full = full or [mixed(here[0] if here else (), op.shape[d])]
        dims.append(max(full, key=lambda dim: len([k for _, k in dim if k is not None])))
    long = {
        label for dim in dims for label in axes_of(dim, 1)
    }  # a pooled map has none: forget its own
    dims = [tuple((n, k) for n, k in dim if n > 1 or k not in long) for dim in dims]
    return tuple(dims), (POINT, POINT)


def cat(op):
    d = op.arguments["dim"] % len(op.shape)
    maps = [m if op.name == "cat" else (*m[:d], (), *m[d:]) for *_, m in op.maps]
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
        return (*dims[:-3], ((op.shape[-2], PIECE),), units[0] + units[1]), windows
    d = op.arguments["dimension"] % len(dims)
    if len(dims[d]) != 1 or not axes_of(dims[d]):
        raise Unreadable("it takes patches of what is not height or width alone")
    axis, size = dims[d][0][1], op.arguments["size"]
    windows[axis] = Window(size, op.arguments["step"])
    dims[d] = ((op.shape[d], axis),)
    return (*dims, ((size, PIECE),)), windows


def _patches(op, windows) -> tuple[int, ...]:
    """The shape of a map with one unit for each patch."""
    *before, height, width = op.maps[0][0].shape
    sides = []
    for n, (k, stride, padding, dilation, _) in zip((height, width), windows, strict=True):
        sides.append((n + 2 * padding - dilation * (k - 1) - 1) // stride + 1)
    return (*before, *sides)


def _refuse_pieces(dim: Dim) -> None:
    if any(label == PIECE for _, label in dim):
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
    return (dims if len(dims) == len(op.shape) else regroup(dims, op.shape)), windows


def multiplied(op) -> int:
    """The dimension that a product sums over."""
    sides = [i for i, k in enumerate(PRODUCTS[op.name]) if op.arguments[k] is op.maps[0][0]]
    if len(op.maps) > 1 or not sides:
        raise Unreadable("it multiplies a map by itself")
    return len(op.dims) - (2 if sides == [1] else 1)


def matmul(op):
    """A Linear layer reads the whole of the dimension that it multiplies.

    Where that is the height or the width by itself, each of the new units sees all of it.
    """
    d = multiplied(op)
    axes = axes_of(op.dims[d], 1)
    if len(axes) == len(op.dims[d]) == 1:
        extent, n = size_of(op.dims[d]), op.shape[d]
        windows = [
            Window(extent, stride=0 if n > 1 else extent) if k in axes else POINT for k in AXES
        ]
        return (*op.dims[:d], ((n, axes[0]),), *op.dims[d + 1 :]), windows
    return op.changed({d}), whole(op.dims, axes_of(op.dims[d]))


def attend(op) -> tuple[Dims, list[tuple[Dims, list[Window]]]]:
    """A product of maps, or attention: the result's dims; of each map what is left, and windows.

    Each unit of the first map, the queries, meets every unit of the others, as if they were pooled.
    """
    if "attention" in op.name:
        query, *others = (dims for *_, dims in op.maps)
        result = (*query[:-1], mixed((), op.shape[-1]))
        spent = [(query, set())] + [(dims, {-2, -1}) for dims in others]
    else:
        by_side = {id(t): dims for t, _, dims in op.maps}
        left, right = (by_side[id(op.arguments[k])] for k in PRODUCTS[op.name][-2:])
        both = set(axes_of(left[-2], 1)) & set(axes_of(right[-1], 1))
        columns = mixed((), op.shape[-1]) if both else right[-1]
        result = (*left[:-1], columns)
        spent = [(left, {-1}), (right, {-2, -1} if both else {-2})]
    pooled = []
    for dims, over in spent:
        axes = [k for d in over for k in axes_of(dims[d])]
        rest = tuple(mixed(m, 1) if d - len(dims) in over else m for d, m in enumerate(dims))
        pooled.append((rest, whole(dims, axes)))
    return result, pooled


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
        if axes and len(dim) > 1:
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


def convolution(op):
    kernel = op.arguments["weight"].shape[2:]
    if op.arguments["groups"] > 1 and axes_of(op.dims[1], 1):
        raise Unreadable("its groups cut the height or width into pieces")
    rest = _each(op, len(kernel), ("stride", 1), ("padding", 0), ("dilation", 1))
    kind = transposed if op.arguments["transposed"] else Window
    windows = [kind(*w) for w in zip(kernel, *rest, strict=True)]
    if any(isinstance(w, Steps) and not all(w.reads) for w in windows):
        raise Unreadable("a transposed convolution some of whose units read nothing")
    return _windows_over(op, windows, channels=True)


def pool(op):
    kernel = op.arguments["kernel_size"]
    columns = _each(
        op,
        dimensions_slid_over(op),
        ("kernel_size", 0),
        ("stride", kernel),
        ("padding", 0),
        ("dilation", 1),
    )
    return _windows_over(op, [Window(*w) for w in zip(*columns, strict=True)])


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
        dims = (*dims[:-3], ((op.shape[-3], PIECE),), *dims[-2:])
    return _windows_over(op._replace(maps=[(op.maps[0][0], op.maps[0][1], dims)]), [window] * 2)


def pad(op):
    before = op.arguments.get("pad", op.arguments.get("padding"))[-2::-2]
    kinds = {"constant": "zeros", "reflection": "reflect", "replication": "replicate"}
    border = kinds[op.name.split("_")[0]]
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
        if len(here) > 1:
            raise Unreadable("it takes some of the flattened pixels")
        windows[here[0][1]] = Window(1, step, -start)
        here = ((new, here[0][1]),)
    elif new != size:
        _refuse_pieces(here)
        here = mixed(here, new)
    dims = (*op.dims[:d], here, *op.dims[d + 1 :])
    return (regroup(dims, op.shape) if op.name == "select" else dims), windows


def _index(op):
    used = [d for d, i in enumerate(op.arguments["indices"]) if i is not None]
    if (
        len(used) != 1
        or op.arguments["indices"][used[0]].dim() != 1
        or axes_of(op.dims[used[0]], 1)
    ):
        raise Unreadable("it picks pixels by a table of indices")
    _refuse_pieces(op.dims[used[0]])
    return op.changed(set(used)), (POINT, POINT)


def _along(op):
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


PRODUCTS = {"mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2")}
PRODUCTS |= {"baddbmm": ("batch1", "batch2")}
ATTENTION = {f"_scaled_dot_product_{k}" for k in ("attention_math", "flash_attention_for_cpu")}
ATTENTION |= {f"_scaled_dot_product_{k}_attention" for k in ("flash", "efficient", "cudnn")}
RULES = {
    # and all that PyTorch tags as pointwise
    join: "_fused_rms_norm _log_softmax _native_batch_norm_legit _prelu_kernel _safe_softmax "
    "_softmax _to_copy alias copy detach hardswish hardtanh leaky_relu lift_fresh "
    "log_sigmoid_forward native_batch_norm native_dropout native_group_norm native_layer_norm "
    "prelu rrelu_with_noise",
    cat: "cat stack",
    unfold: "im2col unfold",
    view: "_reshape_alias _unsafe_view flatten reshape squeeze unsqueeze view",
    permute: "permute t transpose",
    reduce: "amax amin argmax argmin linalg_vector_norm logsumexp max mean min std sum var",
    matmul: " ".join(PRODUCTS),
    convolution: "_convolution convolution",
    pool: "avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices",
    resize: "_adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_bilinear2d_aa "
    "_upsample_nearest_exact2d adaptive_max_pool2d upsample_bicubic2d upsample_bilinear2d "
    "upsample_nearest2d",
    shuffle: "pixel_shuffle pixel_unshuffle",
    pad: "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    cut: "select slice",
    _index: "index",
    _along: "channel_shuffle cumsum flip glu index_select native_channel_shuffle roll sort split "
    "split_with_sizes topk unbind",
    stretch: "expand repeat",
    restride: "as_strided",
}
RULE_OF = {name: rule for rule, names in RULES.items() for name in names.split()}
SHAPE_ONLY = {f"{k}_like" for k in ("empty", "full", "ones", "rand", "randn", "zeros")}
SHAPE_ONLY |= {"new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros"}
READS_VALUES = {"_local_scalar_dense", "equal", "__array__", "__dlpack__", "numpy", "tolist"}


def multiply_adds(name: str, a: dict, out) -> list[tuple[int, ...]]:
    """The MACs of one operation on one sample, as the factors one would multiply on paper."""
    if RULE_OF.get(name) is convolution:
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
