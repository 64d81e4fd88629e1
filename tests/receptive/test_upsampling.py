"""What students build after a first course, against truths worked out by hand."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from receptive import describe
from receptive.fields import fields
from receptive.reader import read
from receptive.steps import Steps, Window, resized, transposed

HALF = Fraction(1, 2)


def along_width(*layers, shape=(1, 12, 12)):
    return fields(read(nn.Sequential(*layers), shape))[-1][1]


def test_a_window_is_a_pattern_of_one_unit():
    assert Steps.of(Window(3, 2, 1)) == Steps(((-1, 0, 1),), 2)
    assert Steps.of(Window(3, 2, 1)).read_by(4) == [7, 8, 9]


def test_transposed_convolution_reads_where_its_stride_lands():
    """Kernel 4, stride 2, padding 1: unit 0 meets inputs −1 and 0, unit 1 inputs 0 and 1."""
    assert transposed(4, 2, 1, 1) == Steps(((-1, 0), (0, 1)), 1)
    assert transposed(2, 2, 0, 1) == Steps(((0,), (0,)), 1)
    assert transposed(1, 2, 0, 1).reads == ((0,), ())


@pytest.mark.parametrize(
    ("arguments", "reads", "advance"),
    [
        ((4, 8, "nearest"), ((0,), (0,)), 1),
        ((4, 6, "nearest"), ((0,), (0,), (1,)), 2),
        ((4, 8, "bilinear"), ((-1, 0), (0, 1)), 1),
        ((4, 12, "bilinear"), ((-1, 0), (0,), (0, 1)), 1),  # the middle one is a pixel itself
        ((4, 7, "bilinear", True), ((0,), (0, 1)), 1),
        ((7, 5, "adaptive"), ((0, 1), (1, 2), (2, 3, 4), (4, 5), (5, 6)), 7),
    ],
)
def test_resizing_reads_by_a_repeating_pattern(arguments, reads, advance):
    steps = resized(*arguments)
    assert (steps.reads, steps.advance) == (reads, advance)


def test_upsampling_halves_the_jump_and_leaves_the_field():
    field = along_width(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2))
    assert (field.sizes, field.jump) == ((3, 3), HALF)
    assert [field.span(unit) for unit in range(4)] == [(0, 2), (0, 2), (1, 3), (1, 3)]


def test_a_stride_takes_back_what_upsampling_gave():
    field = along_width(nn.Upsample(scale_factor=2), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3))
    assert (field.sizes, field.jump, len(field.spans)) == ((3, 3), 1, 1)


def test_units_of_several_sizes_are_told_from_smallest_to_largest():
    """Adaptive pooling from 7 to 5: four units of 2 pixels, one of 3."""
    found = describe(nn.AdaptiveAvgPool2d(5), (1, 7, 7))
    (row,) = found.rows
    assert (row.smallest_field, row.receptive_field, row.jump) == (2, 3, 1.4)
    assert str(found).splitlines()[2].split()[-3:] == ["2–3", "7/5", "½"]


def test_pixel_shuffle_and_back():
    up = nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2))
    field = along_width(*up)
    assert (field.size, field.jump) == (3, HALF)
    field = along_width(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3))
    assert (field.size, field.jump) == (6, 2)


def test_a_map_of_one_unit_is_padded():
    """The mean of 24 pixels, and a unit of zeros 24 pixels before it."""
    field = along_width(nn.AdaptiveAvgPool2d(1), nn.ZeroPad2d(1), shape=(1, 24, 24))
    assert (field.size, field.start) == (24, 11.5 - 24)


class UNet(nn.Module):
    def __init__(self, up):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.last = up, nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, image):
        fine = self.first(image)  # 3 pixels
        coarse = self.second(F.max_pool2d(fine, 2))  # pooled 4 at jump 2, then 8
        return self.last(torch.cat([fine, self.up(coarse)], 1))


@pytest.mark.parametrize(
    ("up", "size"),
    [
        (nn.Upsample(scale_factor=2), 10),  # 8, and 2 more by the last convolution
        (nn.ConvTranspose2d(4, 4, 2, 2), 10),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 12),  # two coarse units: 10
    ],
)
def test_a_u_net(up, size):
    found = describe(UNet(up))
    assert (found["last"].receptive_field, found["last"].jump) == (size, 1)
    assert found["cat"].status == "known"


def test_a_dcgan_generator():
    layers = [nn.ConvTranspose2d(8, 4, 4), nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.ReLU()]
    found = describe(nn.Sequential(*layers, nn.ConvTranspose2d(4, 1, 4, 2, 1)), (8, 4, 4))
    assert [row.receptive_field for row in found.rows] == [4, 5, 5, 6]
    assert [row.jump for row in found.rows] == [1, 0.5, 0.5, 0.25]
    assert str(found).count("5–6") == 1


class Patches(nn.Module):
    """A transformer's first layer by hand, and one block."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

    def forward(self, image):
        patches = image.view(1, 1, 7, 4, 7, 4).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return self.block(self.embed(patches)).mean(1)


def test_a_vision_transformer():
    found = describe(Patches())
    assert (found["embed"].receptive_field, found["embed"].jump) == (4, 4)
    assert found["block.self_attn"].receptive_field == 28
    assert found["block.self_attn"].same_for_all_units is True
    assert found["mean"].output_shape == [32]


@pytest.mark.parametrize(
    "patches",
    [lambda x: F.unfold(x, 4, stride=4), lambda x: x.unfold(2, 4, 4).unfold(3, 4, 4)],
    ids=["F.unfold", "Tensor.unfold"],
)
def test_unfolded_patches(patches):
    class Unfolded(nn.Module):
        def forward(self, image):
            return patches(image).relu()

    row = describe(Unfolded()).rows[-1]
    assert (row.receptive_field, row.jump) == (4, 4)


def test_some_pixels_of_a_patch_are_not_taken_for_all():
    class Corner(nn.Module):
        def forward(self, image):
            return image.view(1, 1, 14, 2, 28)[:, :, :, 0]

    row = describe(Corner()).rows[-1]
    assert (row.receptive_field, row.jump) == (1, [2, 1])


def test_one_channel_of_a_pixel_unshuffle_is_not_taken_for_the_whole_patch():
    class First(nn.Module):
        def forward(self, image):
            return F.pixel_unshuffle(image, 2)[:, :1]

    row = describe(First()).rows[-1]
    assert (row.receptive_field, row.jump) == (1, 2)
