"""What the networks are built of, where torch has no layer for it, and how they answer sooner."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def cropped(images: Tensor, pixels: int) -> Tensor:
    """Images without `pixels` at each of their four borders."""
    height, width = images.shape[2:]
    return images[:, :, pixels : height - pixels, pixels : width - pixels]


class Mirror(nn.Module):
    """Maps `(N, C, H, W)`, and their negatives after them: `(N, 2C, H, W)`."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, -maps], dim=1)


def batch_norm(channels: int, scale: bool = True) -> nn.BatchNorm2d:
    """BatchNorm, with a shift per channel and, if asked for, a scale."""
    result = nn.BatchNorm2d(channels)
    if not scale:
        result.weight = None
    return result


def separable(
    in_channels: int,
    out_channels: int,
    scale: bool,
    activation: type[nn.Module],
    *,
    padding: int = 0,
) -> nn.Sequential:
    """3×3 on each channel alone, 1×1 across channels, then BatchNorm and an activation."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, in_channels, kernel_size=3, padding=padding, groups=in_channels, bias=False
        ),
        nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
        batch_norm(out_channels, scale),
        activation(),
    )


def without(kind: type[nn.Module], network: nn.Module) -> nn.Module:
    """The network, with `nn.Identity` in the place of each of its modules of a kind."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, kind):
                setattr(parent, name, nn.Identity())
    return network


def prepared(network: nn.Module) -> nn.Module:
    """A copy of a network for answers alone, the same ones sooner: in `eval()`, without gradients.

    Its maps lie channels last in memory; 2×2 max pooling goes by pairs; and in each `nn.Sequential`
    BatchNorm is folded into the convolution right before it, which is exact, for both are linear.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for parent in list(network.modules()):
        before = None
        for name, layer in list(parent.named_children()):
            if _pools_by_two(layer):
                setattr(parent, name, MaxOfPairs())
            elif _foldable(parent, before, layer):
                _fold(before, layer)
                setattr(parent, name, nn.Identity())
            before = layer
    return network.to(memory_format=torch.channels_last)


def _pools_by_two(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.MaxPool2d):
        return False
    settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return settings == (2, 2, 0, 1) and not (layer.ceil_mode or layer.return_indices)


def _foldable(parent: nn.Module, before: nn.Module | None, layer: nn.Module) -> bool:
    in_sequence = isinstance(parent, nn.Sequential) and isinstance(before, nn.Conv2d)
    return in_sequence and isinstance(layer, nn.BatchNorm2d)


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    scale = torch.ones_like(norm.running_var) if norm.weight is None else norm.weight
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
        scale, norm.bias,
    )  # fmt: skip


class MaxOfPairs(nn.Module):
    """2×2 max pooling of `(N, C, H, W)`: of two columns the larger, then of two rows."""

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.size(2) // 2 * 2, maps.size(3) // 2 * 2
        maps = torch.maximum(maps[..., :width:2], maps[..., 1:width:2])
        return torch.maximum(maps[:, :, :height:2], maps[:, :, 1:height:2])
