"""The networks of the course, each readable from its first layer to its logits in one screen.

Shapes trail the lines as `(channels, height, width)` of one sample; every network takes
standardised digits `(N, 1, 28, 28)` and returns log-probabilities `(N, 10)`.
"""

from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils.chains import chain, is_notation
from mnist_utils.errors import InputError
from mnist_utils.layers import Mirror, batch_norm, cropped, separable, without


def conv_relu_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Valid 3×3 convolution, then ReLU, BatchNorm and Dropout(0.05), in the source's order."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3),
        nn.ReLU(),
        nn.BatchNorm2d(out_channels),
        nn.Dropout(0.05),
    )


class Model1(nn.Module):
    """The skeleton of the design ladder: convolutions, a pool, a dense head; 36,858 parameters."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3),  # (16, 26, 26)   3
            nn.ReLU(),
            nn.Conv2d(16, 16, kernel_size=3),  # (16, 24, 24)   5
            nn.ReLU(),
            nn.MaxPool2d(2),  # (16, 12, 12)   6
            nn.Conv2d(16, 32, kernel_size=3),  # (32, 10, 10)  10
            nn.ReLU(),
            nn.Conv2d(32, 32, kernel_size=3),  # (32, 8, 8)    14
            nn.ReLU(),
        )
        self.head = nn.Linear(32 * 8 * 8, 10)  # (10,)         28: all 8 × 8 units

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.features(images).flatten(1)), dim=1)


class Model2(nn.Module):
    """Fewer channels, and the dense head's place taken by GAP and 1×1: 3,142 parameters."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 10, kernel_size=3),  # (10, 26, 26)   3
            nn.ReLU(),
            nn.Conv2d(10, 10, kernel_size=3),  # (10, 24, 24)   5
            nn.ReLU(),
            nn.MaxPool2d(2),  # (10, 12, 12)   6
            nn.Conv2d(10, 10, kernel_size=3),  # (10, 10, 10)  10
            nn.ReLU(),
            nn.Conv2d(10, 12, kernel_size=3),  # (12, 8, 8)    14
            nn.ReLU(),
        )
        self.gap = nn.AdaptiveAvgPool2d(1)  # (12, 1, 1)    28
        self.head = nn.Conv2d(12, 10, kernel_size=1)  # (10, 1, 1)    28

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.gap(self.features(images))).flatten(1), dim=1)


class Model3(nn.Module):
    """The source's network: 6,016 parameters, 1,164,180 MACs, no padding, no dense layer.

    Its seven convolutions and one pool are chosen so that each logit sees 28 pixels: the image,
    exactly. The receptive field, in input pixels, stands last on each line.
    """

    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(
            conv_relu_norm(1, 10),  # (10, 26, 26)   3
            conv_relu_norm(10, 10),  # (10, 24, 24)   5
            conv_relu_norm(10, 10),  # (10, 22, 22)   7
        )
        self.pool = nn.MaxPool2d(2)  # (10, 11, 11)   8
        self.block2 = nn.Sequential(
            conv_relu_norm(10, 10),  # (10, 9, 9)    12
            conv_relu_norm(10, 10),  # (10, 7, 7)    16
            conv_relu_norm(10, 10),  # (10, 5, 5)    20
        )
        self.block3 = conv_relu_norm(10, 12)  # (12, 3, 3)    24
        self.gap = nn.AdaptiveAvgPool2d(1)  # (12, 1, 1)    28
        self.head = nn.Conv2d(12, 10, kernel_size=1)  # (10, 1, 1)    28

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.block1(images))
        x = self.block3(self.block2(x))
        logits = self.head(self.gap(x)).flatten(1)
        return F.log_softmax(logits, dim=1)


class SeparableNet(nn.Module):
    """A 5×5 stem, then depthwise-separable blocks (Howard et al. 2017), GAP and a 1×1 head.

    Where Model3 spends 910 parameters on a 3×3 convolution, a separable block of 10 channels needs
    210: 3×3 on each channel alone, then 1×1 across them. Two pixels of every border are cut off
    (one digit in eight has a little ink there), and max pooling follows the stem: both for speed.

    Parameters
    ----------
    stem : int
        Channels that the stem gives.
    widths : tuple of int
        Channels that each block gives.
    crop : int
        Pixels cut off each border.
    mirrored : bool
        The stem has half as many filters, and each gives its map and the map's negative: after
        ReLU, where it fits and where its opposite does (Shang et al. 2016).
    scale : bool
        Whether BatchNorm has a scale per channel; the next filter can do without.
    activation : type
        ReLU, or the smooth SiLU, x·sigmoid(x) (Elfwing et al. 2018).
    direct : bool
        One more block gives ten maps, and their means are the logits: no 1×1 head after GAP.
    """

    def __init__(
        self,
        stem: int,
        widths: tuple[int, ...],
        *,
        crop: int = 2,
        mirrored: bool = False,
        scale: bool = True,
        activation: type[nn.Module] = nn.ReLU,
        direct: bool = False,
    ):
        super().__init__()
        self.crop = crop
        filters = stem // 2 if mirrored else stem
        self.stem = nn.Sequential(
            nn.Conv2d(1, filters, kernel_size=5, bias=False),  # (filters, 20, 20)   5
            Mirror() if mirrored else nn.Identity(),
            nn.MaxPool2d(2),  # (stem, 10, 10)   6
            batch_norm(stem, scale),
            activation(),
        )
        blocks = [separable(stem, widths[0], scale, activation, padding=1)]  # (…, 10, 10)  10
        blocks += [separable(i, o, scale, activation) for i, o in pairwise(widths)]  # 14, 18, 22
        blocks += [separable(widths[-1], 10, True, nn.Identity)] if direct else []
        self.blocks = nn.Sequential(*blocks)
        self.gap = nn.AdaptiveAvgPool2d(1)  # 28: the 24 pixels, and the padding around them
        self.head = nn.Identity() if direct else nn.Conv2d(widths[-1], 10, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.stem(cropped(images, self.crop)))
        logits = self.head(self.gap(x)).flatten(1)
        return F.log_softmax(logits, dim=1)


class CourseNet(SeparableNet):
    """5,610 parameters, fewer than Model3, and wider: 32 channels instead of 10."""

    def __init__(self):
        super().__init__(16, (32, 32, 32, 32))


class SmallNet(SeparableNet):
    """1,973 parameters, and a mean test accuracy of about 99.4%."""

    def __init__(self):
        super().__init__(14, (16, 16, 16, 16), mirrored=True, scale=False, activation=nn.SiLU)


class MiniNet(SeparableNet):
    """970 parameters and no 1×1 head: the last block gives the logits."""

    def __init__(self, widths: tuple[int, ...] = (11, 11, 11)):
        super().__init__(8, widths, mirrored=True, scale=False, activation=nn.SiLU, direct=True)


class TinyNet(MiniNet):
    """688 parameters, MiniNet's layers with fewer channels."""

    def __init__(self):
        super().__init__(widths=(7, 7, 9))


class BestNet(SeparableNet):
    """18,378 parameters, within the source's limit of 20,000."""

    def __init__(self):
        super().__init__(32, (64, 64, 64, 64), activation=nn.SiLU)


class FastNet(nn.Module):
    """15,674 parameters, and few multiply-adds: the stem's stride halves the map at once."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=5, stride=2, bias=False),  # (16, 10, 10)   5
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, bias=False),  # (32, 8, 8)     9
            nn.MaxPool2d(2),  # (32, 4, 4)    11
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, kernel_size=3, bias=False),  # (32, 2, 2)    19
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(32, 10, kernel_size=2)  # (10, 1, 1)    23

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.features(cropped(images, 2))).flatten(1), dim=1)


class FieldNet(nn.Module):
    """A family of equal budgets, about 6,000 parameters, and different receptive fields.

    A 2×2 mean, then `depth` valid 3×3 convolutions of `width` channels, each with BatchNorm and
    ReLU, then GAP and 1×1. A unit before GAP sees `2 + 4·dilation·depth` pixels. With `pointwise`,
    a 1×1 convolution after each doubles the layers and leaves the field as it is.
    """

    def __init__(self, depth: int, width: int, dilation: int = 1, pointwise: bool = False):
        super().__init__()

        def step(in_channels: int, kernel_size: int, dilation: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(in_channels, width, kernel_size, dilation=dilation, bias=False)
            return [conv, nn.BatchNorm2d(width), nn.ReLU()]

        layers = [nn.AvgPool2d(2)]  # (1, 14, 14)   2
        for in_channels in [1] + [width] * (depth - 1):
            layers += step(in_channels, 3, dilation)
            layers += step(width, 1) if pointwise else []
        self.features = nn.Sequential(*layers)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Conv2d(width, 10, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.gap(self.features(images))).flatten(1), dim=1)


def model2(*, batch_norm: bool = False, dense: bool = False) -> nn.Module:
    """Model2's controls: BatchNorm after each ReLU; a dense head, which keeps where units are."""
    model = Model2()
    for place, width in ((8, 12), (6, 10), (3, 10), (1, 10)) if batch_norm else ():
        model.features.insert(place + 1, nn.BatchNorm2d(width))
    if dense:
        model.gap, model.head = nn.Identity(), nn.Conv2d(12, 10, kernel_size=8)  # of all 8×8 units
    return model


# Receptive field before GAP -> network; widths chosen for equal parameter counts.
FIELD_NETWORKS = {
    f"FieldNet{2 + 4 * depth}": partial(FieldNet, depth, width)
    for depth, width in {2: 24, 3: 17, 4: 14, 5: 12, 6: 11}.items()
}

# Controls of FieldNet10: a larger field by dilation alone; more layers by 1×1 convolutions alone.
CONTROL_NETWORKS = {
    "FieldNet18Dilated": partial(FieldNet, 2, 24, dilation=2),
    "FieldNet26Dilated": partial(FieldNet, 2, 24, dilation=3),
    "FieldNet10Pointwise": partial(FieldNet, 2, 21, pointwise=True),
}
LADDER_CONTROLS = {
    "Model2BatchNorm": partial(model2, batch_norm=True),
    "Model2Dense": partial(model2, dense=True),
}

# A network with one thing changed: what that one is worth.
_SMALL = partial(SeparableNet, 14, (16, 16, 16, 16))
VARIANTS = {
    "Model3NoBatchNorm": lambda: without(nn.BatchNorm2d, Model3()),
    "Model3NoDropout": lambda: without(nn.Dropout, Model3()),
    "CourseNetWhole": partial(SeparableNet, 16, (32, 32, 32, 32), crop=0),
    "SmallNetPlain": partial(_SMALL, scale=False, activation=nn.SiLU),
    "SmallNetScaled": partial(_SMALL, mirrored=True, activation=nn.SiLU),
    "SmallNetReLU": partial(_SMALL, mirrored=True, scale=False),
    "MiniNetHead": partial(
        SeparableNet, 8, (10, 10, 10, 10), mirrored=True, scale=False, activation=nn.SiLU
    ),  # 980 parameters
    "NarrowNet": partial(SeparableNet, 8, (16, 16, 16, 16)),  # CourseNet at SmallNet's size
    "WideNet": partial(SeparableNet, 40, (80, 80, 80, 80)),  # as large as five of CourseNet
}

_LESSONS = (Model1, Model2, Model3, CourseNet, SmallNet, MiniNet, TinyNet, BestNet, FastNet)
NETWORKS = {network.__name__: network for network in _LESSONS} | FIELD_NETWORKS | CONTROL_NETWORKS
NETWORKS |= LADDER_CONTROLS | VARIANTS


def build(name: str) -> nn.Module:
    """Return a fresh network, by name or as a chain (`chains`). Raises InputError for no such."""
    if name not in NETWORKS and not is_notation(name):
        raise InputError(f"model={name!r} is unknown; choose from {', '.join(NETWORKS)}, 9C3-MP2")
    return NETWORKS[name]() if name in NETWORKS else chain(name)
