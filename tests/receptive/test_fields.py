"""Receptive fields against published tables, and where they cannot be known."""

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from networks import Residual, Written, chain, find, seen
from oracles import reached
from torch import nn

from mnist_utils.models import Model3
from mnist_utils.receptive_field import receptive_field
from receptive import InputError, read
from receptive.fields import Unknown, bounding_box, fields, merge, pixels


def sizes(model, input_shape, names):
    rows = read(model, input_shape)
    found = fields(rows)
    return [found[find(rows, name)][0].size for name in names.split()]


def named(**layers):
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


def alexnet_v2():
    return named(
        conv1=nn.Conv2d(3, 2, 11, 4),
        pool1=nn.MaxPool2d(3, 2),
        conv2=nn.Conv2d(2, 2, 5, padding=2),
        pool2=nn.MaxPool2d(3, 2),
        conv3=nn.Conv2d(2, 2, 3, padding=1),
        conv4=nn.Conv2d(2, 2, 3, padding=1),
        conv5=nn.Conv2d(2, 2, 3, padding=1),
        pool5=nn.MaxPool2d(3, 2),
    )


def vgg_16():
    layers, channels = {}, 3
    for block, n in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(n):
            layers[f"conv{block}_{i + 1}"] = nn.Conv2d(channels, 2, 3, padding=1)
            channels = 2
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    return named(**layers)


class SameStride2(nn.Module):
    """TensorFlow's padding="SAME" on an even map: all of the one zero stands after the map."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


def mobilenet_v1(tensorflow=False):
    def conv(channels, stride, groups):
        same = tensorflow and stride == 2
        layer = nn.Conv2d(channels, 4, 3, stride, padding=0 if same else 1, groups=groups)
        return SameStride2(layer) if same else layer

    layers = [conv(3, 2, 1)]
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        layers += [conv(4, stride, 4), nn.ReLU6(), nn.Conv2d(4, 4, 1)]
    return nn.Sequential(*layers)


class SlimUnit(nn.Module):
    """TF-Slim's bottleneck: the stride sits in the 3×3, in the last unit of each block."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride
        self.body = nn.Sequential(
            nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, stride, padding=1), nn.Conv2d(2, 2, 1)
        )

    def forward(self, x):
        shortcut = F.max_pool2d(x, 1, self.stride) if self.stride > 1 else x
        return F.relu(shortcut + self.body(x))


def resnet_v1_50():
    layers = {"conv1": nn.Conv2d(3, 2, 7, 2, 3), "pool1": nn.MaxPool2d(3, 2, 1)}
    for block, (units, stride) in enumerate(((3, 2), (4, 2), (6, 2), (3, 1)), start=1):
        strides = [1] * (units - 1) + [stride]
        layers[f"block{block}"] = nn.Sequential(*map(SlimUnit, strides))
    return named(**layers)


def brief(field):
    return field.size, field.jump, field.padding


def test_alexnet_v2():
    names = "conv1 pool1 conv2 conv3 conv4 conv5 pool5"
    assert sizes(alexnet_v2(), (3, 224, 224), names) == [11, 19, 51, 99, 131, 163, 195]
    assert brief(seen(alexnet_v2(), (3, 224, 224), "pool5")[0]) == (195, 32, 64)


def test_vgg_16():
    names = "pool1 pool2 pool3 pool4 pool5"
    assert sizes(vgg_16(), (3, 224, 224), names) == [6, 16, 44, 100, 212]
    assert brief(seen(vgg_16(), (3, 224, 224))[1]) == (212, 32, 90)
    rows = read(vgg_16(), (3, 224, 224))
    assert receptive_field(w for w, _ in chain(rows, find(rows, "pool5"))) == (212, 32)


@pytest.mark.parametrize(("tensorflow", "padding"), [(True, 126), (False, 157)])
def test_mobilenet_v1(tensorflow, padding):
    assert brief(seen(mobilenet_v1(tensorflow), (3, 224, 224))[0]) == (315, 32, padding)


def test_resnet_v1_50_of_tf_slim():
    found = sizes(resnet_v1_50(), (3, 224, 224), "block1 block2 block3 block4")
    assert found == [35, 99, 291, 483]
    field = seen(resnet_v1_50(), (3, 224, 224))[0]
    assert (field.size, field.jump, field.aligned) == (483, 32, True)


def test_torchvision_resnets():
    with torch.device("meta"):
        fifty, eighteen = zoo.resnet50(), zoo.resnet18()
    assert sizes(fifty, (3, 224, 224), "layer2 layer3 layer4") == [91, 267, 427]
    assert brief(seen(fifty, (3, 224, 224), "layer4")[0])[:2] == (427, 32)
    assert brief(seen(eighteen, (3, 224, 224), "layer4")[0])[:2] == (435, 32)
    assert seen(eighteen, (3, 224, 224), "avgpool")[0].size == 435 + 6 * 32


def test_one_convolution_and_two_pools():
    model = named(a=nn.Conv2d(1, 1, 7, 2, 3), b=nn.MaxPool2d(3, 2, 1), c=nn.AvgPool2d(3, 2, 1))
    found = [seen(model, (1, 64, 64), name)[0] for name in "abc"]
    assert [f.size for f in found] == [7, 11, 19]
    assert [f.jump for f in found] == [2, 4, 8]


def test_model3_sees_28_pixels():
    names = "block1.0 block1.1 block1.2 pool block2.0 block2.1 block2.2 block3 gap head"
    rows = read(Model3())
    found = [fields(rows)[find(rows, name)][0] for name in names.split()]
    assert [f.size for f in found] == [3, 5, 7, 8, 12, 16, 20, 24, 28, 28]
    assert [f.jump for f in found] == [1, 1, 1, 2, 2, 2, 2, 2, 6, 6]
    starts = [found[-3].start + u * found[-3].jump for u in range(3)]
    assert starts == [11.5, 13.5, 15.5]  # the centres of the class activation map's cells
    assert found[-1].span(0) == (0, 27)


# Worked out from the papers' tables of layers, not by this package.
@pytest.mark.parametrize(
    ("name", "layer", "size", "jump"),
    [
        ("vgg11", "features", 150, 32),
        ("vgg19", "features", 268, 32),
        ("resnet101", "layer4", 971, 32),
        ("resnet152", "layer4", 1451, 32),
        ("mobilenet_v2", "features", 491, 32),
        ("inception_v3", "Mixed_7c", 1311, 32),  # as published for Inception v3
        ("googlenet", "inception5b", 379, 32),
        ("densenet121", "features.denseblock4", 2071, 32),
        ("squeezenet1_1", "features.12", 207, 16),
        ("convnext_tiny", "features", 1688, 32),
    ],
)
def test_torchvision_families(name, layer, size, jump):
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        model = zoo.get_model(name, **options)
    field = seen(model, (3, 299, 299), layer)[0]
    assert (field.size, field.jump, field.aligned) == (size, jump, True)


@pytest.mark.parametrize(("name", "size"), [("efficientnet_b0", 851), ("mobilenet_v3_large", 595)])
def test_squeeze_and_excitation_with_and_without(name, size):
    with torch.device("meta"):
        model = zoo.get_model(name)
    for field in seen(model, (3, 224, 256), "features"):
        assert field.fixed
        assert field.jump == 32
    assert [f.size for f in seen(model, (3, 224, 256), "features")] == [224, 256]
    without = seen(model, (3, 224, 256), "features", global_context=False)[0]
    assert (without.size, without.jump, without.fixed) == (size, 32, False)


def test_dilation_and_wide_strides_leave_holes():
    dilated = nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3, dilation=2))
    mask = reached(dilated, (1, 21, 21))
    assert bounding_box(mask) == ((6, 14), (6, 14))
    assert mask.sum() == 5 * 5  # every second pixel of nine
    sparse = nn.Sequential(nn.Conv2d(1, 1, 1, stride=3), nn.Conv2d(1, 1, 2))
    mask = pixels(read(sparse, (1, 12, 12)), 2, (1, 1))
    assert mask.nonzero().tolist() == [[3, 3], [3, 6], [6, 3], [6, 6]]


def test_misaligned_branches_are_flagged_and_united():
    late = nn.Sequential(nn.ZeroPad2d((2, 0, 0, 0)), nn.Conv2d(1, 1, (1, 3)))
    early = nn.Sequential(nn.ZeroPad2d((0, 2, 0, 0)), nn.Conv2d(1, 1, (1, 3)))
    height, width = seen(Residual(late, early), (1, 9, 9))
    assert height.aligned
    assert not width.aligned
    assert (width.size, width.span(4)) == (5, (2, 6))  # larger than the largest branch


def test_branches_of_unequal_jump_have_no_single_field():
    model = Residual(nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 4))
    found = seen(model, (1, 5, 5))
    assert isinstance(found, Unknown)
    assert "jumps 1, 2" in found.reason
    rows = read(model, (1, 5, 5))
    assert torch.equal(pixels(rows, len(rows) - 1, (1, 1)), reached(model, (1, 5, 5), unit=(1, 1)))
    one_unit = seen(model, (1, 4, 4))[0]  # a single unit has a single field
    assert (one_unit.size, one_unit.aligned) == (4, False)


@pytest.mark.parametrize("crop", [slice(None, -1), slice(1, None)])
def test_context_that_misses_pixels_is_not_called_global(crop):
    """What is pooled lacks the last, or the first, row and column: units see different pixels."""
    model = Written(lambda s, x: x + F.avg_pool2d(x[:, :, crop, crop], 7))
    assert isinstance(seen(model, (1, 8, 8)), Unknown)


def test_everything_after_an_unreadable_layer_is_unknown():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 1, 2), nn.ReLU(), nn.Conv2d(2, 1, 3)
    )
    rows = read(model, (1, 9, 9))
    found = fields(rows)
    assert found[1][0].size == 3
    for after in found[2:]:
        assert isinstance(after, Unknown)
        assert after.source == "1"
        assert "transposed" in after.reason
    with pytest.raises(InputError, match="transposed"):
        pixels(rows, 4, (0, 0))


def test_a_unit_outside_the_map_is_refused():
    rows = read(nn.Conv2d(1, 1, 3), (1, 5, 5))
    with pytest.raises(InputError, match="outside"):
        pixels(rows, 1, (3, 0))


def test_merge_of_one_branch_is_that_branch():
    field = seen(nn.Conv2d(1, 1, 3, 2, 1), (1, 9, 9))[0]
    assert merge((field,), 5, 9) == field
