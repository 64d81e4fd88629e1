"""Matrix products: Linear layers, attention, and the multiply-adds of both."""

from mnist_utils.describe.dims import (
    AXES,
    POINT,
    Dims,
    Unreadable,
    axes_of,
    blended,
    has_tokens,
    layout,
    mixed,
    size_of,
)
from mnist_utils.describe.operations import keeps_no_piece, whole
from mnist_utils.receptive_field import Window

PRODUCTS = {"mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2")}
PRODUCTS |= {"baddbmm": ("batch1", "batch2")}
ATTENTION = {f"_scaled_dot_product_{k}" for k in ("attention_math", "flash_attention_for_cpu")}
ATTENTION |= {f"_scaled_dot_product_{k}_attention" for k in ("flash", "efficient", "cudnn")}


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
    dims, windows = op.changed({d}), whole(op.dims, axes_of(op.dims[d]))
    keeps_no_piece(dims, windows)
    return dims, windows


def attend(op) -> tuple[Dims, list[tuple[Dims, list[Window], int | None]]]:
    """A product of maps, or attention: the result's dims; of each map what is left, and windows.

    Each unit of the first map, the queries, meets every unit of the others, as if they were pooled.
    The third entry of each is the dimension whose channels it adds up.
    """
    if "attention" in op.name:
        maps = [dims for *_, dims in op.maps]
        result = (*maps[0][:-1], mixed((), op.shape[-1]))
        spent, summed = [{-1}, *[{-2, -1}] * (len(maps) - 1)], [-1, -1, None]
    else:
        by_side = {id(t): dims for t, _, dims in op.maps}
        left, right = maps = [by_side[id(op.arguments[k])] for k in PRODUCTS[op.name][-2:]]
        both = set(layout(left[-2])) & set(layout(right[-1]))
        result = (*left[:-1], mixed((), op.shape[-1]) if both else right[-1])
        spent, summed = [{-1}, {-2, -1} if both else {-2}], [-1, -2]
    pooled = []
    for dims, over, channels in zip(maps, spent, summed, strict=False):
        axes = [k for d in over for k in axes_of(dims[d])]
        rest = tuple(mixed(m, 1) if d - len(dims) in over else m for d, m in enumerate(dims))
        pooled.append((rest, whole(dims, axes), channels))
    shown = {
        k for dims, over in zip(maps, spent, strict=True) for d in over for k in layout(dims[d])
    }
    for d, dim in enumerate(result):
        if has_tokens(dim) or shown.issuperset(layout(dim)):
            result = (*result[:d], blended(dim), *result[d + 1 :])
    for _, windows, _ in pooled:
        keeps_no_piece(result, windows)
    return result, pooled


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
