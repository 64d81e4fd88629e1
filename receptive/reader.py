"""Any `nn.Module` read as rows.

The network runs once, in `eval()`, on a copy without values (PyTorch's "meta" device), and every
tensor operation is written down, be it a module's, a functional call's or `x + y`: branches,
reused modules and code that looks at shapes need no special care. Each operation becomes one
`Window` along the height and one along the width (`operations`); one that is not known there
becomes a row with a `reason`, never a guess.
"""

import copy
from collections.abc import Sequence
from math import prod

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from receptive.errors import InputError, first_line
from receptive.follow import Reader
from receptive.measured import tensors_in
from receptive.rows import Row

MOST_VALUES = 10**8  # of an image; a larger one is read without values only


@torch.inference_mode(mode=False)  # it would hide convolutions from the reader
def read(
    model: nn.Module, input_shape: Sequence[int] = (1, 28, 28), inputs: object = None
) -> list[Row]:
    """Return the rows of `model` for one image of `input_shape` (channels, height, width).

    `inputs`: an example of what `forward` takes, where that is more; see `table.describe`.

    The model is left as it is: weights, statistics, training mode and the random state. All rows
    describe `eval()`; in training, BatchNorm would look at the whole batch.

    Raises
    ------
    InputError
        `model` is not a module, cannot be copied, does not take such an image, or looks at the
        image's values to decide which way to go: its rows would then hold for some images only.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"{model!r:.60} is of type {type(model).__name__}; pass an nn.Module")
    model = uncompiled(model)
    input_shape = tuple(input_shape)
    if len(input_shape) != 3 or not all(type(n) is int and n > 0 for n in input_shape):
        raise InputError(
            f"input_shape={input_shape} is not (channels, height, width); pass three whole "
            "numbers above 0, such as (1, 28, 28)"
        )
    if any(is_lazy(p) for p in model.parameters()):
        raise InputError("the model has lazy parameters without a size; run one batch through it")
    without_values = any(t.is_meta for t in [*model.parameters(), *model.buffers()])
    has_values = prod(input_shape) <= MOST_VALUES and not without_values
    # On "cpu" only where it must: a layer may need a constant's values, or ask for its device.
    for device in ("meta", "cpu") if has_values else ("meta",):
        try:
            return _run(model, input_shape, device, has_values and device == "meta", inputs)
        except _Failed as failed:
            failure = failed
    several = inputs is None and isinstance(failure.__cause__, (TypeError, IndexError, KeyError))
    raise InputError(
        f"{type(model).__name__} does not take an image of shape {' '.join(map(str, input_shape))}"
        f"{failure}: {first_line(failure.__cause__)}"
        + "; a forward that takes more: describe(model, inputs=(a, b)), by example"
        * several
    ) from failure.__cause__


def uncompiled(model: nn.Module) -> nn.Module:
    """What torch.compile wraps, or the model itself."""
    return getattr(model, "_orig_mod", model)


class _Failed(Exception):
    """The network itself raised something; the text is " at LAYER", or empty."""


def _run(
    model: nn.Module, input_shape: tuple, device: str, stop_at_device: bool, inputs: object
) -> list[Row]:
    """Read a copy of the network, with shapes only ("meta") or with values ("cpu").

    `stop_at_device`: fail where it asks which device its image is on, and might go by the answer.
    """
    try:
        copied = _copy(model, device)
    except Exception as error:
        told = first_line(error)
        raise InputError(f"{type(model).__name__} cannot be copied: {told}") from error
    path = [""]
    try:
        reader = Reader(copied, input_shape, device, stop_at_device, inputs)
        path = reader.path
        return reader.run()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise _Failed(f" at {path[-1]}" if path[-1] else "") from error


def _copy(model: nn.Module, device: str) -> nn.Module:
    """A copy in `eval()`; on "meta" it has shapes and no values, so that it costs no memory."""
    memo = {}
    if device == "meta":
        attributes = [v for m in model.modules() for v in vars(m).values()]
        for t in tensors_in([*model.parameters(), *model.buffers(), *attributes]):
            empty = torch.empty_like(t, device="meta", requires_grad=False)
            memo[id(t)] = nn.Parameter(empty, False) if isinstance(t, nn.Parameter) else empty
    copied = copy.deepcopy(model, memo).eval()
    return copied if device == "meta" else copied.to(device)
