"""Attention, tokens, windows and mixing, against truths worked out by hand and by NaN."""

import pytest
import torch
import torch.nn.functional as F
from networks import Written
from oracles import reached_by_nan
from torch import nn

from receptive import describe


def reached(model, shape, axis=0):
    """First and last pixel that each unit sees along an axis, by NaN."""
    seen = [mask.nonzero().flatten().tolist() for mask in reached_by_nan(model, shape, axis)]
    return [(pixels[0], pixels[-1]) for pixels in seen]


@pytest.mark.parametrize("shape", [(1, 16, 1), (1, 1, 16), (1, 1, 1)])
def test_a_map_one_unit_wide_grows_again_after_a_linear_layer_over_channels(shape):
    model = Written(
        lambda s, x: s.c(s.b(s.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
        a=nn.Conv2d(1, 4, 3, padding=1), b=nn.Linear(4, 5), c=nn.Conv2d(5, 5, 3, padding=1),
    )  # fmt: skip
    assert describe(model, shape)["c"].receptive_field == 5


def test_a_convnext_block():
    """7×7 depthwise, then Linear layers over channels, added to the map: 7, and one jump."""
    block = Written(
        lambda s, x: x + s.d(F.gelu(s.c(s.b(s.a(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2),
        a=nn.Conv2d(4, 4, 7, padding=3, groups=4), b=nn.LayerNorm(4), c=nn.Linear(4, 16),
        d=nn.Linear(16, 4),
    )  # fmt: skip
    described = describe(nn.Sequential(nn.Conv2d(1, 4, 4, 4), block, block), (1, 32, 32))
    fields = [described[name].receptive_field for name in ("0", "1", "1_1")]
    assert fields == [4, 4 + 6 * 4, 4 + 12 * 4]
    assert described["1_1"].jump == 4


def test_a_convolution_over_channels_gates_the_whole_map():
    """ECA: the gate of a channel is computed from the means of its neighbours."""

    def forward(s, x):
        maps = s.a(x)
        gate = s.b(maps.mean((2, 3)).view(1, 1, -1)).view(1, -1, 1, 1)
        return maps * gate.sigmoid().expand_as(maps)

    model = Written(forward, a=nn.Conv2d(1, 4, 3), b=nn.Conv1d(1, 1, 3, padding=1))
    row = describe(model, (1, 9, 9))["mul"]
    assert (row.receptive_field, row.same_for_all_units, row.local_field) == (9, True, 3)


def test_circular_padding_reads_from_the_other_end():
    model = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    row = describe(nn.Sequential(model), (1, 8, 8))["0"]
    assert (row.receptive_field, row.field_padding, row.padding) == (3, 1, 1)
    assert reached_by_nan(model, (1, 8, 8), 0)[0].tolist() == [True, True] + [False] * 5 + [True]


class Classified(nn.Module):
    """Patches, a class token before them, one block; read off the token."""

    def __init__(self, blocks=1):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, blocks) if blocks else nn.Identity()

    def forward(self, image):
        units = self.patches(image).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([self.token.expand(len(units), -1, -1), units], 1))[:, 0]


def test_a_class_token_sees_all_after_attention_and_nothing_before():
    described = describe(Classified(), (1, 16, 16))
    assert (described["cat"].receptive_field, described["cat"].jump) == (4, 4)
    assert described["cat"].output_shape == [17, 8]
    assert described["getitem"].receptive_field == 16
    last = describe(Classified(0), (1, 16, 16)).rows[-1]  # [:, 0]: a constant, or no row at all
    assert last.status == "constant" or last.name == "blocks"


def test_a_token_that_has_seen_the_image_does_not_lie_beside_local_units():
    def forward(s, x):
        units = s.a(x).flatten(2).transpose(1, 2)
        return torch.cat([units.mean(1, keepdim=True), units], 1)

    row = describe(Written(forward, a=nn.Conv2d(1, 8, 4, 4)), (1, 16, 16))["cat"]
    assert (row.status, row.receptive_field, row.smallest_field) == ("measured", 16, 4)
    assert row.reason.endswith("tokens that see the image lie beside units of smaller fields")


class Windows(nn.Module):
    """Attention within windows of 4 × 4 units, shifted by `shift`; or none at all."""

    def __init__(self, shift=0, mix=True):
        super().__init__()
        self.first, self.shift, self.mix = nn.Conv2d(1, 4, 3, padding=1), shift, mix
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

    def forward(self, image):
        maps = self.first(image).permute(0, 2, 3, 1).roll((-self.shift,) * 2, (1, 2))
        n, height, width, channels = maps.shape
        tiles = maps.view(n, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
        units = tiles.reshape(-1, 16, channels)
        units = self.attention(units, units, units)[0] if self.mix else units
        maps = units.view(tiles.shape).permute(0, 1, 3, 2, 4, 5).reshape(maps.shape)
        return maps.roll((self.shift,) * 2, (1, 2)).permute(0, 3, 1, 2)


def test_attention_within_windows_shows_each_unit_its_window():
    """Windows of 4 units, and one pixel more on each side: 6, the same for 4 units on end."""
    row = describe(Windows(), (1, 16, 12)).rows[-1]
    assert (row.receptive_field, row.jump, row.same_for_all_units) == (6, 1, False)
    tiles = [(0, 4), (3, 8), (7, 12), (11, 15)]
    assert reached(Windows(), (1, 16, 12)) == [tile for tile in tiles for _ in range(4)]


def test_shifted_windows():
    row = describe(Windows(shift=1), (1, 16, 12)).rows[-1]
    assert (row.receptive_field, row.jump) == (6, 1)
    assert reached(Windows(shift=1), (1, 16, 12))[1:5] == [(0, 5)] * 4


def test_windows_that_nothing_mixes_are_not_taken_for_mixed():
    row = describe(Windows(mix=False), (1, 16, 12))["permute_3"]
    assert (row.receptive_field, row.jump) == (3, 1)


def test_attention_across_windows_reads_with_holes_and_is_not_told():
    """MaxViT's grid: the same place in every window."""

    def forward(s, x):
        grid = s.a(x).view(1, 4, 4, 4, 4, 4).permute(0, 3, 5, 2, 4, 1).reshape(16, 16, 4)
        return s.b(grid, grid, grid)[0]

    attention = nn.MultiheadAttention(4, 1, batch_first=True)
    model = Written(forward, a=nn.Conv2d(1, 4, 1), b=attention)
    row = describe(model, (1, 16, 16))["b"]
    assert row.reason == "b: it joins maps whose axes lie differently"


def test_a_mixer_shows_every_unit_all_others():
    def forward(s, x):
        units = s.a(x).flatten(2)
        return units + s.b(units)

    model = Written(forward, a=nn.Conv2d(1, 4, 4, 4), b=nn.Linear(16, 16))
    row = describe(model, (1, 16, 16))["add"]
    assert (row.receptive_field, row.same_for_all_units, row.jump) == (16, True, 4)


def test_channels_are_not_taken_for_an_axis_of_their_own_length():
    """26 channels beside 26 columns: added across, each unit would see a column and a channel."""
    model = Written(lambda s, x: s.a(x) + s.a(x).transpose(1, 3), a=nn.Conv2d(1, 26, 3))
    row = describe(model)["add"]
    assert (row.status, row.receptive_field) == ("measured", [3, 28])
