"""Random networks, against NaN sent through them: every unit, every pixel, both axes."""

import os
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_utils.describe.fields import Unknown, fields, pixels
from mnist_utils.describe.measured import reached_by_nan
from mnist_utils.describe.reader import read

NETWORKS = int(os.environ.get("NETWORKS", 150))  # NETWORKS=5000 pytest … for more


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


def layer(draw: random.Random, channels: int) -> nn.Module:
    """One layer that keeps the number of channels."""
    k, s, p, d = draw.randint(1, 4), draw.randint(1, 3), draw.randint(0, 2), draw.randint(1, 2)
    size = (draw.randint(2, 12), draw.randint(2, 12))
    kind = draw.randrange(14)
    if kind < 3:
        return nn.Conv2d(
            channels,
            channels,
            (k, draw.randint(1, 3)),
            s,
            p,
            d,
            padding_mode=draw.choice(["zeros", "replicate"]),
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
    return draw.choice([nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ZeroPad2d])(p)


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


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_what_is_said_is_what_nan_reaches(seed):
    model, shape = network(seed)
    if not usable(model, shape):
        pytest.skip("such a network does not run")
    rows = read(model, shape)
    index = len(rows) - 1
    found = fields(rows)[index]
    if isinstance(found, Unknown):
        assert "units see fields of many sizes" in found.reason or "read nothing" in found.reason
        return
    for axis in (0, 1):
        truth = reached_by_nan(model, shape, axis)
        for unit in range(len(truth)):
            others = rows[index].extent[1 - axis]
            across = {0, others // 2, others - 1}
            places = [(unit, v) if axis == 0 else (v, unit) for v in across]
            said = torch.stack([pixels(rows, index, p).any(1 - axis) for p in places]).any(0)
            assert not (said & ~truth[unit]).any(), (axis, unit, model)
            if "bilinear" in str(model):  # NaN times a weight of 0 is NaN, and no pixel is seen
                continue
            assert torch.equal(said, truth[unit]), (axis, unit, model)
