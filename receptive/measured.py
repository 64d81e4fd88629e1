"""What is measured where it cannot be read: a stripe of the image disturbed, and who notices.

The network runs as it is, twice for each row and each column of the image. Whatever is computed
from NaN is NaN, also behind a dead ReLU or a weight of 0; what sorts or compares loses NaN, but
moves with a wild value.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence

import numpy
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from receptive.fields import Field, after
from receptive.rows import AXES
from receptive.steps import pattern

LARGEST = 64  # rows or columns of an image that is measured


def tensors_in(values) -> Iterator[Tensor]:
    """All tensors in lists, tuples and dicts, however deep."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from tensors_in(value.values())
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def with_image(inputs: object, image: Tensor) -> tuple:
    """The arguments of a call: an example of them with `image` as the first of its tensors."""
    if inputs is None:
        return (image,)
    leaves, form = tree_flatten(inputs if isinstance(inputs, tuple) else (inputs,))
    tensors = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    for k in tensors:
        leaves[k] = image if k == tensors[0] else leaves[k].to(image.device)
    return tree_unflatten(leaves, form)


class Watch(TorchFunctionMode):
    """Keep the outputs of some calls, by their number: `calls` holds (number, which output)."""

    def __init__(self, calls: Sequence[tuple[int, int]]):
        super().__init__()
        self.calls, self.outputs, self.number = set(calls), {}, 0

    def done(self, output) -> None:
        self.number += 1
        with torch._C.DisableTorchFunction():
            for number, place in self.calls:
                if number == self.number:
                    self.outputs[number, place] = [*tensors_in([output])][place].detach().clone()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        self.done(output)
        return output


def measure(
    model: nn.Module,
    input_shape: Sequence[int],
    calls: Sequence[tuple[int, int]],
    inputs: object = None,
) -> dict[tuple[int, int], tuple[Field, Field] | None]:
    """Return the fields along height and width of the outputs of `calls`; None: sees nothing."""
    model = copy.deepcopy(model).cpu().eval()
    watching = []
    for name, module in model.named_modules():
        if name and not isinstance(module, torch.jit.ScriptModule):
            module.register_forward_hook(lambda module, _, output: watching[-1].done(output))

    def run(image: Tensor) -> list[Tensor]:
        watching.append(Watch(calls))
        torch.manual_seed(0)
        with watching[-1]:
            output = model(*with_image(inputs, image))
        watching[-1].done(output)
        return [watching[-1].outputs[call] for call in calls]

    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image, wild, fresh = torch.rand(3, 1, *input_shape).to(dtype or torch.get_default_dtype())
        try:
            first, last = spans(run, image, [math.nan, 200 * wild - 100, fresh])
        except Exception:  # it needs other values, or runs otherwise when it is not watched
            return {}
    outputs = zip(calls, first, last, strict=True)
    return {call: _fields(*both, input_shape[1:]) for call, *both in outputs}


def spans(
    run: Callable[[Tensor], list[Tensor]], image: Tensor, disturbed: Sequence
) -> tuple[list[ndarray], list[ndarray]]:
    """The first and the last row (0) and column (1) that reach each entry of each output.

    Arrays (2, *output); −1 is last where nothing does. The last of `disturbed` is for networks that
    do not run with the others: a look-up by the pixel's value, for example.
    """
    usual = run(image)
    first = [numpy.full((2, *t.shape), 2**30) for t in usual]
    last = [numpy.full((2, *t.shape), -1) for t in usual]
    for axis in AXES:
        for pixel in range(image.shape[2 + axis]):
            ran = 0
            for values in disturbed:
                if ran == 2:
                    break
                stripe = image.clone()
                new = values if isinstance(values, float) else values.select(2 + axis, pixel)
                stripe.select(2 + axis, pixel)[...] = new
                try:
                    outputs = run(stripe)
                except (RuntimeError, IndexError, ValueError):
                    continue
                ran += 1
                for before, after_, a, b in zip(usual, outputs, first, last, strict=True):
                    moved = (before != after_) & ~(before.isnan() & after_.isnan())
                    a[axis][moved.numpy()] = numpy.minimum(a[axis][moved.numpy()], pixel)
                    b[axis][moved.numpy()] = pixel
    return first, last


def _fields(first: ndarray, last: ndarray, pixels: Sequence[int]) -> tuple[Field, Field] | None:
    """The fields of the units of an output; None where nothing reaches it.

    Channels, whose fields are taken together, are the second dimension or the last, whichever moves
    the field less.
    """
    rank = first.ndim - 1
    if rank > 2:
        places = {1, rank - 1} | ({0} if rank == 3 and first.shape[1] > 1 else set())
        centre = numpy.where(last < 0, numpy.nan, (first + last) / 2)
        channels = 1 + min(sorted(places), key=lambda d: _moves(centre, d + 1))
        first, last = first.min(channels), last.max(channels)
    if (last < 0).all():
        return None
    return tuple(_field(a, b, n) for a, b, n in zip(first, last, pixels, strict=True))


def _moves(centre: ndarray, d: int) -> float:
    """How far the centre goes along a dimension, on the average."""
    lowest, highest = numpy.fmin.reduce(centre, d), numpy.fmax.reduce(centre, d)
    return float(numpy.nan_to_num(highest - lowest).mean())


def _field(first: ndarray, last: ndarray, pixels: int) -> Field:
    """Along one axis: a regular field where there is one, else the largest and the smallest."""
    along = [
        d for d in range(first.ndim) if any((t != t.take([0], d)).any() for t in (first, last))
    ]
    if not along:
        return Field(((int(first.flat[0]), int(last.flat[0])),), 0, first.size > 1)
    if len(along) == 1:
        others = tuple(d for d in range(first.ndim) if d != along[0])
        ends = zip(first.min(others).tolist(), last.max(others).tolist(), strict=True)
        if window := pattern([tuple(range(a, b + 1)) for a, b in ends], pixels):
            return after(Field(), window)
    seen = last >= 0
    sizes = last - first + 1
    inside = seen & (first > 0) & (last < pixels - 1)  # what is cut at an edge is not small
    most, least = int(sizes[seen].max()), int(sizes[inside if inside.any() else seen].min())
    return Field(((0, most - 1), (0, least - 1)), 0)
