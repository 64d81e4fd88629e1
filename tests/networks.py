"""Networks that several test files describe, and what they ask of them."""

import io

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.models
from PIL import Image
from torch import nn

from receptive import read
from receptive.fields import fields


class Written(nn.Module):
    """A network whose forward pass is the function given, with layers by name."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.written = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.written(self, x)


class Residual(nn.Module):
    """The sum of branches, or the mean over their concatenation."""

    def __init__(self, *branches, cat=False):
        super().__init__()
        self.branches, self.cat = nn.ModuleList(branches), cat

    def forward(self, x):
        maps = [branch(x) for branch in self.branches]
        if self.cat:
            return torch.cat(maps, dim=1).mean(1, keepdim=True)
        return F.relu(sum(maps[1:], start=maps[0]))


def conv(kernel_size=3, channels=(1, 4), **options):
    """A convolution of few channels."""
    return nn.Conv2d(*channels, kernel_size, **options)


def same_size(height, width):
    """A convolution that keeps the map's size."""
    return conv((height, width), channels=(1, 1), padding=(height // 2, width // 2))


def zoo(name, **options):
    """One of torchvision's networks; GoogLeNet and Inception without their slow initialisation."""
    slow = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, **slow, **options)


def find(rows, name):
    """Position of the row that is shown under a name."""
    return next(i for i, row in enumerate(rows) if row.shown and row.name == name)


def chain(rows, index):
    """The windows from the image to a row that one after the other lead to."""
    windows = []
    while index:
        windows.append(rows[index].windows)
        (index,) = rows[index].inputs
    return windows[::-1]


def seen(model, input_shape, name=None, **options):
    """(height's field, width's field) of a row, by default the last layer's."""
    rows = read(model, input_shape)
    last = [i for i, row in enumerate(rows) if row.shown and not row.inside][-1]
    return fields(rows, **options)[last if name is None else find(rows, name)]


def npy(array) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(array, dtype=np.uint8) -> bytes:
    """Pixels as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array).astype(dtype)).save(buffer, "PNG")
    return buffer.getvalue()


class Sharing(nn.Module):
    """One convolution used twice, a second that borrows its weights, and a bare scale."""

    def __init__(self):
        super().__init__()
        self.conv, self.twin = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.twin.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(2)
        self.scale = nn.Parameter(torch.ones(2, 1, 1))
        self.never = nn.Linear(3, 4)

    def forward(self, x):
        return self.norm(self.twin(self.conv(self.conv(x)))) * self.scale
