"""Which pixels reach a unit, without reading the network: by gradient, and by NaN."""

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnist_utils.explain import at_unit, output_of


def reached(model: nn.Module, input_shape: Sequence[int], **unit) -> Tensor:
    """Return the mask (H, W) of the pixels that reach a unit, by gradient: see `all_ones`."""
    return all_ones(model, input_shape, **unit) > 0


def all_ones(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    layer: str = "",
    unit: tuple[int, int] | None = None,
) -> Tensor:
    """Return (H, W): the gradient, at each pixel, of one unit of the network's all-ones twin.

    The twin is a copy in double precision and `eval()` in which every weight is equal and no bias
    is left, averages stand in place of maxima, sums in place of differences, and the identity in
    place of ReLU and its kin: otherwise a dead unit, a lost maximum or two paths that cancel would
    look like a pixel that is out of reach. `layer` is a module's path, the network itself by
    default; `unit` its (row, column), the middle one by default. Take an image large enough for the
    field to lie inside it.

    Raises InputError when the layer is unknown, or its output has no such unit.
    """
    twin = copy.deepcopy(model).double().eval().requires_grad_(False)
    for name, p in twin.named_parameters():
        p.fill_(0 if name.endswith("bias") else 1 / max(1, p[0].numel() if p.dim() > 1 else 1))
    image = torch.full((1, *input_shape), 1e-9, dtype=torch.double, requires_grad=True)
    with torch.random.fork_rng(devices=[]), _Linear():
        output = output_of(twin, image, layer)
        (gradient,) = torch.autograd.grad(at_unit(output, unit).sum(), image)
    return gradient[0].sum(0)


def reached_by_nan(
    model: nn.Module, input_shape: Sequence[int], axis: int, *, layer: str = ""
) -> Tensor:
    """Return (units, pixels): which stripes of the image reach which units, along one axis.

    The network runs as it is, once for each stripe, a row (`axis` 0) or a column
    (1) of the image being NaN, and whatever is computed from NaN is NaN. It sees what is multiplied
    by a weight of 0 as well, and nothing is put in place of anything.
    """
    twin = copy.deepcopy(model).eval()
    reached = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for pixel in range(input_shape[1 + axis]):
            image = torch.zeros(1, *input_shape)
            image.select(2 + axis, pixel).fill_(math.nan)
            output = output_of(twin, image, layer)
            reached.append(output.isnan()[0].any(0).any(1 - axis))
    return torch.stack(reached, 1)


IDENTITY = {"abs", "alpha_dropout", "batch_norm", "celu", "clamp", "dropout", "dropout2d", "elu"}
IDENTITY |= {"gelu", "hardswish", "hardtanh", "leaky_relu", "mish", "neg", "prelu", "relu", "relu6"}
IDENTITY |= {"rrelu", "selu", "silu", "softplus", "tanh", "threshold"}
SUM = {"maximum", "minimum", "max", "min", "rsub", "sub", "subtract"}  # of two
MEAN = {"amax", "amin", "max", "min", "std", "var"}  # over dimensions


class _Linear(TorchFunctionMode):
    """Put linear functions in place of those whose gradient can vanish or cancel."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "").strip("_")
        x = args[0] if args else kwargs.get("input")
        second = args[1] if len(args) > 1 else kwargs.get("other")
        if name in IDENTITY:
            return x
        if name in SUM and (isinstance(second, Tensor) or name.endswith(("sub", "subtract"))):
            return x + second
        if name in MEAN:
            dim = second if len(args) > 1 else kwargs.get("dim")
            keepdim = kwargs.get("keepdim", len(args) > 2 and args[2] is True)
            mean = x.mean() if dim is None else x.mean(dim, keepdim=keepdim)
            pair = name in ("max", "min") and dim is not None
            return torch.return_types.max((mean, mean.detach().long())) if pair else mean
        if name in ("softmax", "log_softmax"):
            return x + x.mean(kwargs.get("dim", 1 if second is None else second), keepdim=True)
        if name in ("layer_norm", "rms_norm"):
            return x + x.mean(tuple(range(-len(args[1]), 0)), keepdim=True)
        if name in ("group_norm", "instance_norm"):
            return x + x.mean(tuple(range(2, x.dim())), keepdim=True)
        if "max_pool2d" in name:
            if name.startswith("adaptive"):
                pooled = F.adaptive_avg_pool2d(x, second or kwargs["output_size"])
            else:
                pooled = _average_pool(x, *args[1:], **kwargs)
            return (pooled, pooled.detach().long()) if name.endswith("indices") else pooled
        return func(*args, **kwargs)


def _average_pool(x, kernel_size, stride=None, padding=0, dilation=1, **options) -> Tensor:
    """Average in place of the maximum: all-ones convolution of each channel."""
    options.pop("return_indices", None)
    height, width = F.max_pool2d(x, kernel_size, stride, padding, dilation, **options).shape[-2:]
    kernel = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
    stride = stride or kernel
    more = stride if isinstance(stride, int) else max(stride)
    weight = x.new_full((x.shape[1], 1, *kernel), 1 / (kernel[0] * kernel[1]))
    padded = F.pad(x, (0, more, 0, more)) if options.get("ceil_mode") else x
    out = F.conv2d(padded, weight, None, stride, padding, dilation, x.shape[1])
    return out[..., :height, :width]
