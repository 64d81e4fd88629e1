"""Channels that see different fields: a concatenation's branches, told apart until they mix.

Half the channels of `cat([a, b])` see what `a` sees, the others what `b` sees, and `chunk` may part
them again. So the channels of such a map fall into groups, each of which reads groups of the rows
before it. A mask tells which: for each channel K booleans, one for each source, a source being one
group of one row. A convolution over all channels makes one group of them again.
"""

from collections.abc import Iterable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_utils.describe import operations, products
from mnist_utils.describe.dims import AXES, Dims, Unreadable, has_tokens, opened
from mnist_utils.describe.operations import Operation
from mnist_utils.describe.rows import Reads, Source


def shape_of(dims: Dims) -> tuple[int, ...]:
    """A map's shape without its height and width."""
    return tuple(prod(n for n, k in opened(dim) if k not in AXES) for dim in dims)


def follow(
    rule, op: Operation, maps: list[tuple], dims: Dims, outputs: Sequence[Tensor] = ()
) -> list[tuple[Tensor | None, Reads]]:
    """Groups and reads of an operation's output, or of each of several that differ.

    `maps` are its inputs: row, dims, groups (a tensor of `shape_of(dims)`, None for one group).
    Raises Unreadable for an operation that moves channels in a way that is not followed here.
    """
    tokens = rule is operations.cat and has_tokens(dims[op.arguments["dim"]])
    several = (
        rule is operations.cat
        and not tokens
        and (len({row for row, *_ in maps}) > 1 or len(maps) < len(op.arguments["tensors"]))
    )
    padded = op.name == "constant_pad_nd" and len(dims) == 4 and shape_of(dims) != shape_of(op.dims)
    if not several and not padded and all(groups is None for *_, groups in maps):
        return [(None, ())]
    cut = op.name in ("split", "split_with_sizes", "unbind")
    if any(0 in t.shape for t in (*(outputs if cut else ()), *(t for t, *_ in op.maps))):
        raise Unreadable("it makes or takes a map without channels")
    masks, sources = _masks(maps)
    if cut:
        return [_grouped(mask, sources) for mask in _parts(op, masks[0], outputs)]
    return [_grouped(_flow(rule, op, masks, dims), sources)]


def unchanged(row: int, groups: Tensor | None) -> Reads:
    """What a row reads that leaves the groups of `row` as they are."""
    return () if groups is None else tuple(((row, g),) for g in range(int(groups.max()) + 1))


def vary(groups: Tensor | None) -> set[int]:
    """The dimensions, counted from the last, along which groups differ."""
    n = 0 if groups is None else groups.dim()
    return {d - n for d in range(n) if (groups != groups.narrow(d, 0, 1)).any()}


def _masks(maps: list[tuple]) -> tuple[list[Tensor], list[Source]]:
    sources: list[Source] = []
    numbered = []
    for row, dims, groups in maps:
        groups = torch.zeros(shape_of(dims), dtype=torch.long) if groups is None else groups
        numbered.append(groups + len(sources))
        sources += [(row, group) for group in range(int(groups.max()) + 1)]
    return [F.one_hot(n, len(sources)).bool() for n in numbered], sources


def _grouped(mask: Tensor, sources: list[Source]) -> tuple[Tensor | None, Reads]:
    kinds, groups = mask.reshape(-1, mask.shape[-1]).unique(dim=0, return_inverse=True)
    reads = tuple(tuple(sources[k] for k in kind.nonzero().flatten().tolist()) for kind in kinds)
    return (groups.view(mask.shape[:-1]) if len(reads) > 1 else None), reads


def _flow(rule, op: Operation, masks: list[Tensor], dims: Dims) -> Tensor:
    """The mask of the output."""
    mask, shape = masks[0], shape_of(dims)
    if rule is operations.cat and not has_tokens(dims[op.arguments["dim"]]):
        return _cat(op, masks)
    if rule is operations.permute:
        return mask.permute(*operations.order(op), -1)
    if rule is operations.reduce:
        return _any(mask, op.chosen("dim")).reshape(*shape, -1)
    if rule is operations.cut:
        return _cut(op, mask).reshape(*shape, -1)
    if rule in (operations.join, operations.statistics, operations.cat):
        sizes = [
            (n, m)
            for other in masks
            for n, m in zip(other.shape[-2::-1], shape[::-1], strict=False)
        ]
        if any(n not in (1, m) for n, m in sizes):
            raise Unreadable("it joins channels that see different fields to height or width")
        for other in masks[1:]:
            mask = mask | other
        if rule is operations.statistics or not operations.statistics(op):
            mask = _normalised(op, mask)
        return mask.expand(*shape, -1)
    if op.name in ("channel_shuffle", "native_channel_shuffle"):
        return mask.unflatten(1, (op.arguments["groups"], -1)).transpose(1, 2).flatten(1, 2)
    if op.name == "flip":
        return mask.flip([d for d in op.chosen("dims") if mask.shape[d] > 1])
    if op.name == "glu":
        first, second = mask.chunk(2, next(iter(op.chosen("dim"))))
        return first | second
    if rule is products.matmul:
        return _any(mask, {products.multiplied(op)}).expand(*shape, -1)
    if rule is operations.convolution and set(mask.shape[2:-1]) == {1}:
        groups = op.arguments["groups"]
        return _within(mask, groups).repeat_interleave(shape[1] // groups, 1)
    if op.name == "constant_pad_nd":
        return _pad(op, mask)
    slides = rule in (operations.pool, operations.resize, operations.pad)
    if slides and set(mask.shape[:-1][-operations.dimensions_slid_over(op) :]) == {1}:
        return mask
    alike = rule is operations.stretch and prod(shape) == prod(mask.shape[:-1])
    if alike or rule in (operations.view, operations.restride):
        return mask.reshape(*shape, -1)
    raise Unreadable(f"{op.name} of channels that see different fields is not followed")


def _any(mask: Tensor, over: Iterable[int]) -> Tensor:
    for d in over:
        mask = mask.any(d, keepdim=True)
    return mask


def _within(mask: Tensor, groups: int) -> Tensor:
    """What each of `groups` runs of channels reads: (N, groups, ..., K)."""
    return mask.unflatten(1, (groups, -1)).any(2)


def _normalised(op: Operation, mask: Tensor) -> Tensor:
    """A softmax or a normalisation mixes the channels that it sums over."""
    if "softmax" in op.name:
        return _any(mask, op.chosen("dim"))
    if "layer_norm" in op.name or "rms_norm" in op.name:
        return _any(mask, range(-len(op.arguments["normalized_shape"]) - 1, -1))
    if "group_norm" in op.name:
        groups = op.arguments["group"]
        return _within(mask, groups).repeat_interleave(mask.shape[1] // groups, 1)
    return mask


def _cat(op: Operation, masks: list[Tensor]) -> Tensor:
    """Beside each other; a constant among the maps reads nothing."""
    d, parts = op.arguments["dim"] % len(op.shape), []
    mask_of = {id(t): mask for (t, *_), mask in zip(op.maps, masks, strict=True)}
    for t in op.arguments["tensors"]:
        shape = list(masks[0].shape)
        if op.name == "cat":
            shape[d] = t.shape[d]
        parts.append(mask_of.get(id(t), masks[0].new_zeros(shape)))
    return (torch.cat if op.name == "cat" else torch.stack)(parts, d)


def _pad(op: Operation, mask: Tensor) -> Tensor:
    """Channels of zeros read nothing."""
    widths = [0, 0]  # of the sources
    for d, pair in enumerate(zip(op.arguments["pad"][::2], op.arguments["pad"][1::2], strict=True)):
        axis = any(label in AXES for _, label in op.dims[-d - 1])
        widths += [0, 0] if axis else pair
    return F.pad(mask.byte(), widths).bool()


def _cut(op: Operation, mask: Tensor) -> Tensor:
    d = op.arguments["dim"] % len(op.dims)
    if any(label in AXES and n > 1 for n, label in op.dims[d]):  # along height or width
        return mask
    start, step, length = operations.bounds(op)
    return mask.index_select(d, torch.arange(start, start + step * length, step))


def _parts(op: Operation, mask: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
    [d] = op.chosen("dim")
    if op.name == "unbind":
        return list(mask.unbind(d))
    return list(mask.split([out.shape[d] for out in outputs], d))
