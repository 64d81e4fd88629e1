"""Random networks, against NaN sent through them and against gradients."""

import math
import os
import random
import re

import pytest
import torch
import torch.nn.functional as F
from oracles import reached, reached_by_nan
from torch import nn

from receptive import InputError, describe, show
from receptive.fields import Unknown, fields, pixels
from receptive.reader import read

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


class Recurrent(nn.Module):
    """A recurrent layer along each row of the map: its last step, or both ways together."""

    def __init__(self, kind, channels, both):
        super().__init__()
        self.layer = kind(channels, channels, batch_first=True, bidirectional=both)

    def forward(self, maps):
        steps = self.layer(maps[0].permute(1, 2, 0))[0]
        if self.layer.bidirectional:
            steps = sum(steps.chunk(2, 2))
        else:
            steps = steps[:, -1:].expand_as(steps)
        return steps.permute(2, 0, 1)[None]


class Looping(nn.Conv2d):
    def forward(self, maps):
        for _ in range(12):
            maps = maps + super().forward(maps)
        return maps


class Odd(nn.Module):
    """An operation that has no rule of its own, or moves units where no window follows."""

    KINDS = {  # noqa: RUF012
        "flip": lambda m: m.flip(3),
        "rot90": lambda m: torch.rot90(m, 1, (2, 3)),
        "tril": lambda m: m.tril(),
        "diagonal": lambda m: torch.diag_embed(m.diagonal(0, 2, 3)),
        "cumprod": lambda m: m.cumprod(2),
        "prod": lambda m: m.prod(2, keepdim=True),
        "median": lambda m: m.median(3, keepdim=True).values,
        "sort": lambda m: m.sort(3).values,
        "complex": lambda m: torch.view_as_real(torch.complex(m, m)).sum(-1),
        "fold": lambda m: F.fold(F.unfold(m, 3, padding=1), m.shape[2:], 3, padding=1),
        "bilinear": lambda m: F.bilinear(
            *[m.movedim(1, 3)] * 2, m.new_ones([m.shape[1]] * 3)
        ).movedim(3, 1),
        "quantise": lambda m: torch.fake_quantize_per_tensor_affine(m, 0.1, 0, -128, 127),
        "mask": lambda m: m.masked_fill(torch.eye(*m.shape[2:], device=m.device) > 0, 0),
        "where": lambda m: torch.where(
            torch.arange(m.shape[3], device=m.device) % 2 > 0, m, F.avg_pool2d(m, 3, 1, 1)
        ),
    }

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, maps):
        return self.KINDS[self.kind](maps)

    def extra_repr(self):
        return self.kind


class ByChance(nn.Module):
    def forward(self, maps):
        return maps[:, :, int(torch.randint(0, 2, ())) :]


def layer(draw: random.Random, channels: int) -> nn.Module:
    """One layer that keeps the number of channels."""
    k, s, p, d = draw.randint(1, 4), draw.randint(1, 3), draw.randint(0, 2), draw.randint(1, 2)
    size = (draw.randint(2, 12), draw.randint(2, 12))
    kind = draw.randrange(21)
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
    if kind == 18:
        return Recurrent(draw.choice([nn.LSTM, nn.GRU, nn.RNN]), channels, draw.random() < 0.5)
    if kind == 19:
        odd = draw.choice(["looping", *Odd.KINDS])
        return Looping(channels, channels, 3, padding=1) if odd == "looping" else Odd(odd)
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


def spans_by_nan(model, shape, axis) -> torch.Tensor:
    """(units, units): how many rows or columns, first to last, reach each unit of a map."""
    first, last = None, None
    for pixel in range(shape[1 + axis]):
        image = torch.zeros(1, *shape)
        image.select(2 + axis, pixel).fill_(math.nan)
        with torch.no_grad():
            here = model(image).isnan()[0].any(0)
        first = torch.full(here.shape, 99) if first is None else first
        last = torch.full(here.shape, -1) if last is None else last
        first[here & (last < 0)] = pixel
        last[here] = pixel
    return (last - first + 1).clamp(0)


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
        row = [r for r in describe(model, shape).rows if r.status != "not called"][-1]
        if row.status == "constant":
            assert spans_by_nan(model.eval(), shape, 0).max() == 0, model
            return
        assert row.status == "measured", (row, model)
        for axis, size in enumerate(show.pair(row.receptive_field)):
            truth = int(spans_by_nan(model.eval(), shape, axis).max())
            assert size >= truth, (axis, row, model)
            blind = re.search("sort|quantise", str(model))  # they lose NaN
            assert size == truth or blind or size > shape[1 + axis], (axis, truth, row, model)
        return
    extent = rows[index].extent
    for axis in (0, 1):
        truth = reached_by_nan(model, shape, axis)
        if len(truth) != extent[axis]:  # the steps of a recurrent layer are one unit
            truth = truth.any(0).expand(extent[axis], -1)
        for unit in range(len(truth)):
            across = {0, extent[1 - axis] // 2, extent[1 - axis] - 1}
            places = [(unit, v) if axis == 0 else (v, unit) for v in across]
            said = torch.stack([pixels(rows, index, p).any(1 - axis) for p in places]).any(0)
            assert not (said & ~truth[unit]).any(), (axis, unit, model)
            if "bilinear" in str(model):  # NaN times a weight of 0 is NaN, and no pixel is seen
                continue
            assert torch.equal(said, truth[unit]), (axis, unit, model)
    if "Recurrent" in str(model):  # a saturated gate passes NaN, and no gradient
        return
    for unit in {(0, 0), tuple(n // 2 for n in extent), tuple(n - 1 for n in extent)}:
        said, moved = pixels(rows, index, unit), reached(model, shape, unit=unit)
        assert torch.equal(said, moved), (unit, model)
