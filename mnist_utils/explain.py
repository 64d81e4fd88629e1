"""Where a network looks: how much each pixel of real digits counts for one unit.

A receptive field says which pixels can count. The effective receptive field says how much they
do: a bump in the middle of it, whose width grows with the root of the depth (Luo, Li, Urtasun,
Zemel, NeurIPS 2016). Model3's logits see all of 784 pixels, and half of what moves them lies in
less than a sixth of these.

On a digit's black background most maxima are tied, and a gradient through them is not defined: it
depends on which unit rounding makes the largest. Here tied units share it (`sharing_ties`).
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils.errors import InputError

TIED = 1e-4  # of a map's largest value; rounding moves a unit by less than a hundredth of it


class SharedMaxPool2d(nn.MaxPool2d):
    """Max pooling in which all units tied for the maximum share its gradient evenly.

    Tied are those that `TIED` cannot tell from it; they are averaged. A ReLU needs no such rule:
    units that are exactly 0 are so on every machine, and pass no gradient.
    """

    def forward(self, maps: Tensor) -> Tensor:
        highest = super().forward(maps.detach())  # (N, C, H', W')
        places = (self.kernel_size, self.dilation, self.padding, self.stride)
        windows = F.unfold(maps, *places).view(*maps.shape[:2], -1, highest[0, 0].numel())
        inside = F.unfold(torch.ones_like(maps), *places).view_as(windows) > 0
        least = highest - TIED * maps.detach().abs().amax((1, 2, 3), keepdim=True)
        tied = inside & (windows >= least.flatten(2)[:, :, None])  # (N, C, places, H' · W')
        return (windows.where(tied, 0).sum(2) / tied.sum(2)).view_as(highest)


def sharing_ties(model: nn.Module) -> nn.Module:
    """Return a copy of a network, in `eval()`, whose max pools share gradient among ties.

    Its gradients do not depend on the machine's rounding. A pool with `ceil_mode` or indices stays
    as it is.
    """
    twin = copy.deepcopy(model).eval()
    for parent in list(twin.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.MaxPool2d and not (layer.ceil_mode or layer.return_indices):
                about = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
                setattr(parent, name, SharedMaxPool2d(*about))
    return twin


def effective_receptive_field(
    model: nn.Module,
    images: Tensor,
    *,
    layer: str = "",
    unit: tuple[int, int] | None = None,
    channel: int | None = None,
) -> Tensor:
    """Return (H, W): the mean over `images` of the squared gradient of one unit at each pixel.

    Squared, since for random weights that mean has the very shape that equal weights give (each
    path adds its variance), so that theory, a fresh and a trained network are measured alike.

    Parameters
    ----------
    model
        Left as it is; a copy in `eval()` is measured, in which tied maxima share the gradient.
    images
        (N, C, H, W), standardised as in training.
    layer
        A module's path, the network's output by default. For Model3 take "head", its logits:
        the log-probabilities after them mix all ten.
    unit
        (row, column) in the layer's map, the middle one by default.
    channel
        A filter, or a digit's logit; by default the strongest of the unit, image by image.

    Raises
    ------
    InputError
        There is no such layer or unit.
    """
    twin = sharing_ties(model).requires_grad_(False)
    images = images.detach().clone().requires_grad_()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        values = at_unit(output_of(twin, images, layer), unit)  # (N, channels)
        chosen = values.amax(1) if channel is None else values[:, channel]
        (gradient,) = torch.autograd.grad(chosen.sum(), images)  # (N, C, H, W)
    return gradient.square().sum(1).mean(0)


def class_activation(model: nn.Module, images: Tensor, *, maps: str, head: str) -> Tensor:
    """Return (N, classes, H, W): what each unit of a map adds to each logit.

    For a network that ends in global average pooling and a linear `head`, 1×1 or dense: the
    mean over the map is the logit, exactly (Zhou et al. 2016). `maps` and `head` are paths of
    modules.

    Raises
    ------
    InputError
        There is no such module, or it has other channels.
    """
    layer = model.get_submodule(head)
    weight, bias = layer.weight.flatten(1), layer.bias  # (classes, channels)
    with torch.no_grad():
        units = output_of(model, images, maps)  # (N, channels, H, W)
    if units.shape[1] != weight.shape[1]:
        raise InputError(
            f"{head!r} reads {weight.shape[1]} channels, {maps!r} has {units.shape[1]}"
        )
    return torch.einsum("kc,nchw->nkhw", weight, units).detach() + bias.detach()[:, None, None]


def spread(weight: Tensor) -> tuple[float, float]:
    """Standard deviation, in pixels, of a weight (H, W) along height and along width."""
    sigmas = []
    for share in (weight.sum(1), weight.sum(0)):
        share = share.double() / share.sum()
        position = torch.arange(len(share), dtype=torch.double)
        centre = (share * position).sum()
        sigmas.append(float((share * (position - centre) ** 2).sum().sqrt()))
    return tuple(sigmas)


def pixels_holding(weight: Tensor, fraction: float) -> int:
    """How many pixels, the heaviest first, hold `fraction` of a weight (H, W)."""
    shares = weight.flatten().double().sort(descending=True).values.cumsum(0)
    return int((shares < fraction * shares[-1]).sum()) + 1


def output_of(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What the module at path `layer` returns for `images`; the model itself for ""."""
    kept = []
    try:
        module = model.get_submodule(layer)
    except AttributeError as error:
        raise InputError(f"layer={layer!r} is not a module of {type(model).__name__}") from error
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
