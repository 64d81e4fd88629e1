"""What one unit sees of the image, found twice: by a recurrence over rows, and by gradient.

The recurrence is Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019. `jump`, Dang Ha's word, is their `effective_stride`: how many pixels lie
between the fields of two neighbouring units. Pixels are counted from 0 at their centres, so unit
`u` sees the pixels `−padding + u·jump` to `−padding + u·jump + size − 1`, and `start`, the centre
of unit 0's field, is `−padding + (size − 1)/2` (Dang Ha's own starts are 0.5 larger).

All of it describes `eval()`, where BatchNorm and Dropout change no receptive field. The field
of a map is that of all its channels together; those of a concatenation are told apart until they
mix (`channels`).
"""

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnist_utils.errors import InputError
from mnist_utils.layers import AXES, Row, Window


def receptive_field(windows: Iterable[Window]) -> tuple[int, int]:
    """Return (size, jump) of one unit after a chain of windows, in input pixels.

    The lesson's version, Araujo et al. 2019, eq. 2; vgg_16 up to pool5 gives (212, 32).
    """
    size, jump = 1, 1
    for window in windows:
        size += window.dilation * (window.kernel_size - 1) * jump
        jump *= window.stride
    return size, jump


def variance(windows: Iterable[Window]) -> float:
    """Variance, in square pixels, of what a unit sees through equal weights, along one axis.

    A window of `k` equal weights, `d` apart, has variance `d²(k² − 1)/12`; the windows of a chain
    are independent, so that theirs add up, each scaled by its jump: the closed form behind
    Luo et al., NeurIPS 2016. Model3: 12.917 before its global pooling, 15.583 at a logit.
    """
    total, jump = 0.0, 1
    for window in windows:
        total += (jump * window.dilation) ** 2 * (window.kernel_size**2 - 1) / 12
        jump *= window.stride
    return total


class Field(NamedTuple):
    """What the units of one map see along one axis, in input pixels.

    `fixed`: every unit sees the same pixels, because something global was added (the gate of
    squeeze-and-excitation); `jump` is then the spacing of the map only. `aligned`: all paths
    from the image agree on jump and centre.
    """

    size: int = 1
    jump: int = 1
    padding: int = 0  # effective padding: how far unit 0 reaches beyond the image's edge
    fixed: bool = False
    aligned: bool = True

    @property
    def start(self) -> float:
        """Centre of unit 0's field; the image's first pixel has its centre at 0."""
        return -self.padding + (self.size - 1) / 2

    def span(self, unit: int) -> tuple[int, int]:
        """First and last pixel that `unit` sees, beyond the image's edge where it is padded."""
        first = -self.padding + unit * self.jump * (not self.fixed)
        return first, first + self.size - 1


CONSTANT = "it does not depend on the image"


class Unknown(NamedTuple):
    """No field: `source` is the row that could not be read, `reason` says why."""

    source: str
    reason: str


def slide(field: Field, window: Window) -> Field:
    """The field after one more window: `receptive_field`'s two lines, with the padding."""
    size, jump, padding, fixed, aligned = field
    if window.stride == 0:  # one value broadcast to every unit
        return Field(size, 0, padding, True, aligned)
    if not fixed:
        size += window.dilation * (window.kernel_size - 1) * jump
        padding += window.padding * jump
    return Field(size, jump * window.stride, padding, fixed, aligned)


def merge(fields: Sequence[Field], units: int, pixels: int) -> Field | None:
    """The field where branches meet: from the first pixel to the last that any of them sees.

    None when it differs from unit to unit: branches of unequal jump on a map of several units.
    `units` is the map's length along this axis, `pixels` the image's.
    """
    local = [f for f in fields if not f.fixed]
    jumps, fixed = {f.jump for f in local or fields}, len(local) < len(fields)
    aligned = all(f.aligned for f in fields) and len({(f.jump, f.start) for f in local}) <= 1
    if local and len(jumps) > 1 and units > 1:
        return None
    spans = [f.span(0) for f in fields]
    if fixed and units > 1:  # what is global must cover, in the image, what the others see
        spans = [(max(first, 0), min(last, pixels - 1)) for first, last in spans]
        first, last = _union(s for f, s in zip(fields, spans, strict=True) if f.fixed)
        for f in local:
            if f.span(0)[0] < first > 0 or f.span(units - 1)[1] > last < pixels - 1:
                return None
        spans = [(first, last)]
    first, last = _union(spans)
    return Field(last - first + 1, max(jumps), -first, fixed or len(jumps) > 1, aligned)


def _union(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    firsts, lasts = zip(*spans, strict=True)
    return min(firsts), max(lasts)


def fields(rows: Sequence[Row], global_context: bool = True) -> list[tuple[Field, Field] | Unknown]:
    """Return for each row the field along height and width, or why there is none.

    Squeeze-and-excitation, or the statistics of GroupNorm, let every unit see the whole map.
    `global_context=False` leaves such branches out where a local one goes beside them.
    """
    image, found = rows[0].extent, [(Field(), Field())]
    groups = [found[:]]  # by row, the fields of each group of its channels
    for i, row in enumerate(rows[1:], start=1):
        groups.append([])
        for reads in _reads_of(rows, i):
            inputs = []
            for j, chosen in reads.items():
                part = found[j]
                if len(chosen) < len(groups[j]) and not isinstance(part, Unknown):
                    part = _meet(rows[j], [groups[j][g] for g in chosen], image, global_context)
                inputs.append(part)
            groups[i].append(_field(row, inputs, image, global_context))
        found.append(_meet(row, groups[i], image, global_context))
    return found


def _reads_of(rows: Sequence[Row], i: int) -> list[dict[int, list[int]]]:
    """For each group of a row's channels the rows it reads, and which groups of theirs."""
    row = rows[i]
    if not row.reads:
        return [{j: list(range(len(rows[j].reads) or 1)) for j in row.inputs}]
    return [{j: [g for k, g in group if k == j] for j, _ in group} for group in row.reads]


def _field(row: Row, inputs: list, image: tuple[int, int], global_context: bool):
    inputs = _varying(inputs)
    for found in inputs:
        if isinstance(found, Unknown):
            return found
    if row.reason or not inputs:
        return Unknown(row.name, row.reason or CONSTANT)
    if not global_context:
        inputs = _local(inputs)
    slid = [tuple(map(slide, found, row.windows)) for found in inputs]
    return _meet(row, slid, image, True)


def _varying(found: list) -> list:
    """Constants beside maps see nothing, and take nothing from what those see."""
    constant = [isinstance(one, Unknown) and one.reason == CONSTANT for one in found]
    return found if all(constant) else [o for o, c in zip(found, constant, strict=True) if not c]


def _local(found: list) -> list:
    return [i for i in found if not (i[0].fixed or i[1].fixed)] or found


def _meet(row: Row, found: list, image: tuple[int, int], global_context: bool):
    """The fields along both axes of channels, or of branches, taken together."""
    found = _varying(found)
    for one in found:
        if isinstance(one, Unknown):
            return one
    if not global_context:
        found = _local(found)
    if len(found) == 1:
        return found[0]
    both = []
    for axis in AXES:
        field = merge([one[axis] for one in found], row.extent[axis], image[axis])
        if field is None:
            jumps = sorted({one[axis].jump for one in found})
            why = f"jumps {jumps}" if len(jumps) > 1 else "different reach"
            return Unknown(row.name, f"branches of {why} meet: its units see fields of many sizes")
        both.append(field)
    return tuple(both)


def chain(rows: Sequence[Row], index: int) -> list[tuple[Window, Window]]:
    """The windows from the image to row `index`, for `receptive_field` and `variance`.

    Raises InputError when branches meet on the way: they have no single chain.
    """
    windows = []
    while index:
        row = rows[index]
        if row.reason or len(row.inputs) != 1:
            raise InputError(f"{row.name} has no single chain of windows to the image")
        windows.append(row.windows)
        index = row.inputs[0]
    return windows[::-1]


# --- The exact pixels -------------------------------------------------------------------------


def pixels(rows: Sequence[Row], index: int, unit: tuple[int, int]) -> Tensor:
    """Return the mask (H, W) of the pixels that reach `unit` of row `index`, clipped to the image.

    Row by row back to the image, so that it is exact at the border as well, and shows the holes
    that dilation, or strides larger than kernels, leave.

    Raises InputError when the row comes after one that could not be read, or has no such unit.
    """
    if not all(0 <= u < n for u, n in zip(unit, rows[index].extent, strict=True)):
        raise InputError(f"unit={unit} is outside the map of {rows[index].extent} units")
    here = torch.zeros(rows[index].extent)
    here[unit] = 1
    reached = {(index, group): here for group in range(len(rows[index].reads) or 1)}
    for i in range(index, 0, -1):
        for group, reads in enumerate(_reads_of(rows, i)):
            if (i, group) not in reached:
                continue
            if rows[i].reason:
                raise InputError(f"{rows[i].name} cannot be read: {rows[i].reason}")
            mask = reached.pop((i, group))
            for j, chosen in reads.items():
                down, across = (
                    _taps(w, *n)
                    for w, *n in zip(rows[i].windows, rows[i].extent, rows[j].extent, strict=True)
                )
                seen = (down.T @ mask @ across > 0).float()
                for g in chosen:
                    reached[j, g] = torch.maximum(reached.get((j, g), torch.zeros(1)), seen)
    return reached.get((0, 0), torch.zeros(rows[0].extent)) > 0


def _taps(window: Window, units: int, inputs: int) -> Tensor:
    """Matrix (units, inputs) of 0 and 1: which position of the map before each unit reads."""
    matrix = torch.zeros(units, inputs)
    taps = torch.arange(window.kernel_size) * window.dilation - window.padding
    for unit in range(units):
        position = unit * window.stride + taps
        if window.border == "reflect":
            position = inputs - 1 - (inputs - 1 - position.abs()).abs()
        elif window.border == "replicate":
            position = position.clamp(0, inputs - 1)
        matrix[unit, position[(position >= 0) & (position < inputs)]] = 1
    return matrix


def bounding_box(mask: Tensor) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((top, bottom), (left, right)) of a mask (H, W), both ends included; None when empty."""
    if not mask.any():
        return None
    edges = (mask.any(1).nonzero(), mask.any(0).nonzero())
    return tuple((int(e.min()), int(e.max())) for e in edges)


# --- The same by measurement -------------------------------------------------------------------


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
    look like a pixel that is out of reach. `layer`
    is a module's path, the network itself by default; `unit` its (row, column), the middle one by
    default. Take an image large enough for the field to lie inside it.

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


def output_of(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What the module at path `layer` returns for `images`; the model itself for ""."""
    kept = []
    try:
        module = model.get_submodule(layer)
    except AttributeError as error:
        raise InputError(f"layer={layer!r} is no module of {type(model).__name__}") from error
    hook = module.register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        model(images)
    finally:
        hook.remove()
    if not kept or not isinstance(kept[-1], Tensor):
        raise InputError(f"layer={layer!r} returns no tensor in eval()")
    return kept[-1]


def at_unit(output: Tensor, unit: tuple[int, int] | None = None) -> Tensor:
    """`output` (N, C, H, W) at one unit, the middle one by default: (N, C); (N, C) as it is."""
    if output.dim() == 2:
        output = output[:, :, None, None]
    if output.dim() != 4:
        raise InputError(f"an output of shape {tuple(output.shape)} has no units (row, column)")
    height, width = output.shape[2:]
    row, column = (height // 2, width // 2) if unit is None else unit
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"unit={unit} is outside the map of {height} × {width} units")
    return output[:, :, row, column]


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
        if name in ("max_pool2d", "max_pool2d_with_indices"):
            pooled = _average_pool(func, x, *args[1:], **kwargs)
            return (pooled, pooled.detach().long()) if name.endswith("indices") else pooled
        if name in ("adaptive_max_pool2d", "adaptive_max_pool2d_with_indices"):
            pooled = F.adaptive_avg_pool2d(x, second or kwargs["output_size"])
            return (pooled, pooled.detach().long()) if name.endswith("indices") else pooled
        return func(*args, **kwargs)


def _average_pool(func, x, kernel_size, stride=None, padding=0, dilation=1, **options) -> Tensor:
    """Average in place of the maximum: all-ones convolution of each channel, of `func`'s shape."""
    options.pop("return_indices", None)
    height, width = F.max_pool2d(x, kernel_size, stride, padding, dilation, **options).shape[-2:]
    kernel = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
    stride = stride or kernel
    more = stride if isinstance(stride, int) else max(stride)
    weight = x.new_full((x.shape[1], 1, *kernel), 1 / (kernel[0] * kernel[1]))
    padded = F.pad(x, (0, more, 0, more)) if options.get("ceil_mode") else x
    out = F.conv2d(padded, weight, None, stride, padding, dilation, x.shape[1])
    return out[..., :height, :width]
