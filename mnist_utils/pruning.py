"""Pruning by whole channels: a trained network, rebuilt smaller."""

import torch
from torch import Tensor, nn

from mnist_utils.models import SeparableNet


def slimmed(network: SeparableNet, stem: int, widths: tuple[int, ...]) -> SeparableNet:
    """A copy with fewer channels: after the stem and each block those of largest BatchNorm scale.

    BatchNorm brings every channel to one size, and its scale, learnt, says how loud the channel is
    to be (Liu et al. 2017). What is kept is copied, statistics included; activations are ReLU.
    """
    small = SeparableNet(stem, widths).train(network.training)
    norms = [network.stem[3], *(block[2] for block in network.blocks)]
    kept = [_loudest(norm, width) for norm, width in zip(norms, (stem, *widths), strict=True)]
    small.stem[0].weight.data = network.stem[0].weight.data[kept[0]].clone()
    _keep(small.stem[3], norms[0], kept[0])
    blocks = zip(small.blocks, network.blocks, kept, kept[1:], strict=False)
    for ours, theirs, read, written in blocks:
        ours[0].weight.data = theirs[0].weight.data[read].clone()
        ours[1].weight.data = theirs[1].weight.data[written][:, read].clone()
        _keep(ours[2], theirs[2], written)
    small.head.weight.data = network.head.weight.data[:, kept[-1]].clone()
    small.head.bias.data = network.head.bias.data.clone()
    return small


def _loudest(norm: nn.BatchNorm2d, count: int) -> Tensor:
    """Indices `(count,)` of the channels of largest scale, ascending."""
    return norm.weight.detach().abs().topk(count).indices.sort().values


def _keep(ours: nn.BatchNorm2d, theirs: nn.BatchNorm2d, channels: Tensor) -> None:
    """Copy what BatchNorm knows of some channels."""
    with torch.no_grad():
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(ours, name).copy_(getattr(theirs, name)[channels])
