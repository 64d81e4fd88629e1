"""What the networks are built of, where torch has no layer for it."""

import torch
from torch import Tensor, nn


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
