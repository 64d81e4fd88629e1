"""Random networks, against NaN sent through them and against gradients."""

import os
import random
import re

import pytest
import torch
import torch.nn.functional as F
from oracles import reached, reached_by_nan
from torch import nn

from mnist_utils.describe.fields import Unknown, fields, pixels
from mnist_utils.describe.reader import read
from mnist_utils.errors import InputError

NETWORKS = int(os.environ.get("NETWORKS", 30))  # NETWORKS=5000 pytest … for more


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, maps):
        return maps + self.inner(maps)


class UpAndDown(nn.Module):
    """A step of a U-Net: down, a convolution, up again, beside the map itself."""

    def __init__(self, channels, down, up):
        super().__init__()
        self.down, self.up, self.join = down, up, nn.Conv2d(2 * channels, channels, 1)
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps):
        coarse = self.up(self.inner(self.down(maps)))
        height, width = (min(a, b) for a, b in zip(maps.shape[2:], coarse.shape[2:], strict=True))
        return self.join(torch.cat([maps[..., :height, :width], coarse[..., :height, :width]], 1))


class Resize(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, maps):
        return F.interpolate(maps, self.size)


class Transformer(nn.Module):
    """Attention over all units, or within windows, shifted perhaps; with a class token perhaps."""

    def __init__(self, channels, window=0, shift=0, token=False):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(channels, 1, channels, batch_first=True)
        self.window, self.shift = window, shift
        self.token = nn.Parameter(torch.zeros(1, 1, channels)) if token else None

    def forward(self, maps):
        maps = maps.roll((self.shift, self.shift), (2, 3)).permute(0, 2, 3, 1)
        n, height, width, channels = maps.shape
        k = self.window or 1
        tiles = maps.view(n, height // k, k, width // k, k, channels).permute(0, 1, 3, 2, 4, 5)
        tokens = tiles.reshape((-1, k * k, channels) if self.window else (1, -1, channels))
        if self.token is not None:
            tokens = torch.cat([self.token, tokens], 1)
        tokens = self.block(tokens)
        tokens = tokens[:, 1:] if self.token is not None else tokens
        tiles = tokens.reshape(tiles.shape).permute(0, 1, 3, 2, 4, 5)
        maps = tiles.reshape(n, height, width, channels).permute(0, 3, 1, 2)
        return maps.roll((-self.shift, -self.shift), (2, 3))


class Mixer(nn.Module):
    """A Linear layer over all units, added to the map; or over the channels of each alone."""

    def __init__(self, channels, over_units):
        super().__init__()
        self.over_units, self.channels = over_units, nn.Linear(channels, channels)

    def forward(self, maps):
        if not self.over_units:
            return self.channels(maps.movedim(1, -1)).movedim(-1, 1)
        flat = maps.flatten(2)
        mixed = F.linear(flat, flat.new_ones(flat.shape[-1], flat.shape[-1]))
        return maps + mixed.view(maps.shape)


class ByChance(nn.Module):
    def forward(self, maps):
        return maps[:, :, int(torch.randint(0, 2, ())) :]


def layer(draw: random.Random, channels: int) -> nn.Module:
    """One layer that keeps the number of channels."""
    k, s, p, d = draw.randint(1, 4), draw.randint(1, 3), draw.randint(0, 2), draw.randint(1, 2)
    size = (draw.randint(2, 12), draw.randint(2, 12))
    kind = draw.randrange(18)
    if kind < 3:
        return nn.Conv2d(
            channels,
            channels,
            (k, draw.randint(1, 3)),
            s,
            p,
            d,
            padding_mode=draw.choice(["zeros", "replicate", "circular"]),
        )
    if kind < 5:
        return nn.ConvTranspose2d(
            channels, channels, max(k, s), s, min(p, 1), dilation=1 if s > 1 else d
        )
    if kind == 5:
        return draw.choice([nn.MaxPool2d, nn.AvgPool2d])(max(k, 2), s)
    if kind == 6:
        return nn.Upsample(scale_factor=2, mode=draw.choice(["nearest", "bilinear"]))
    if kind == 7:
        return nn.AdaptiveAvgPool2d(size)
    if kind == 8:
        return Resize(size)
    if kind == 9:
        return nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.PixelShuffle(2))
    if kind == 10:
        return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, channels, 1))
    if kind == 11:
        return Residual(nn.Conv2d(channels, channels, 3, padding=1))
    if kind == 12:
        up = draw.choice(
            [
                nn.Upsample(scale_factor=2),
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.ConvTranspose2d(channels, channels, 2, 2),
            ]
        )
        return UpAndDown(channels, nn.MaxPool2d(2), up)
    if kind == 13:
        pads = [nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ZeroPad2d, nn.CircularPad2d]
        return draw.choice(pads)(p)
    if kind == 14:
        return Transformer(channels, draw.choice([2, 2, 3]), draw.choice([0, 1]))
    if kind == 15:
        return Transformer(channels, token=draw.random() < 0.7)
    return ByChance() if draw.random() < 0.1 else Mixer(channels, over_units=draw.random() < 0.4)


def network(seed: int) -> tuple[nn.Module, tuple[int, int, int]]:
    draw = random.Random(seed)
    layers = [layer(draw, 2) for _ in range(draw.randint(1, 5))]
    return nn.Sequential(nn.Conv2d(1, 2, draw.randint(1, 3)), *layers), (
        1,
        draw.randint(8, 20),
        draw.randint(8, 20),
    )


def usable(model, shape) -> bool:
    try:
        with torch.no_grad():
            output = model.eval()(torch.zeros(1, *shape))
    except RuntimeError:
        return False
    return output.numel() > 0 and max(output.shape) < 60


REASONS = """units see fields of many sizes
some of whose units read nothing
it lays height or width out in another order, or with something else"""


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_what_is_said_is_what_nan_reaches(seed):
    model, shape = network(seed)
    if not usable(model, shape):
        pytest.skip("such a network does not run")
    if any(isinstance(m, ByChance) for m in model.modules()):
        with pytest.raises(InputError, match="draws random numbers"):
            read(model, shape)
        return
    rows = read(model, shape)
    index = len(rows) - 1
    found = fields(rows)[index]
    if isinstance(found, Unknown):
        assert re.search("|".join(REASONS.splitlines()), found.reason), model
        return
    extent = rows[index].extent
    for axis in (0, 1):
        truth = reached_by_nan(model, shape, axis)
        for unit in range(len(truth)):
            across = {0, extent[1 - axis] // 2, extent[1 - axis] - 1}
            places = [(unit, v) if axis == 0 else (v, unit) for v in across]
            said = torch.stack([pixels(rows, index, p).any(1 - axis) for p in places]).any(0)
            assert not (said & ~truth[unit]).any(), (axis, unit, model)
            if "bilinear" in str(model):  # NaN times a weight of 0 is NaN, and no pixel is seen
                continue
            assert torch.equal(said, truth[unit]), (axis, unit, model)
    for unit in {(0, 0), tuple(n // 2 for n in extent), tuple(n - 1 for n in extent)}:
        said, moved = pixels(rows, index, unit), reached(model, shape, unit=unit)
        assert torch.equal(said, moved), (unit, model)
