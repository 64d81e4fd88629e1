"""Receptive fields: the recurrence against published tables, and against gradients."""

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from mnist_utils import data
from mnist_utils.errors import InputError
from mnist_utils.explain import effective_receptive_field, pixels_holding, spread
from mnist_utils.layers import Window, find, read
from mnist_utils.models import Model3
from mnist_utils.receptive_field import (
    Unknown,
    all_ones,
    bounding_box,
    chain,
    fields,
    merge,
    pixels,
    reached,
    receptive_field,
    variance,
)


def seen(model, input_shape, name=None, **options):
    """(height's field, width's field) of a row, by default the last layer's."""
    rows = read(model, input_shape)
    last = [i for i, row in enumerate(rows) if row.shown and not row.inside][-1]
    return fields(rows, **options)[last if name is None else find(rows, name)]


def sizes(model, input_shape, names):
    rows = read(model, input_shape)
    found = fields(rows)
    return [found[find(rows, name)][0].size for name in names.split()]


# --- Published tables --------------------------------------------------------------------------


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


def test_alexnet_v2():
    names = "conv1 pool1 conv2 conv3 conv4 conv5 pool5"
    assert sizes(alexnet_v2(), (3, 224, 224), names) == [11, 19, 51, 99, 131, 163, 195]
    assert seen(alexnet_v2(), (3, 224, 224), "pool5")[0][:3] == (195, 32, 64)


def test_vgg_16():
    names = "pool1 pool2 pool3 pool4 pool5"
    assert sizes(vgg_16(), (3, 224, 224), names) == [6, 16, 44, 100, 212]
    assert seen(vgg_16(), (3, 224, 224))[1][:3] == (212, 32, 90)
    rows = read(vgg_16(), (3, 224, 224))
    assert receptive_field(w for w, _ in chain(rows, find(rows, "pool5"))) == (212, 32)


@pytest.mark.parametrize(("tensorflow", "padding"), [(True, 126), (False, 157)])
def test_mobilenet_v1(tensorflow, padding):
    assert seen(mobilenet_v1(tensorflow), (3, 224, 224))[0][:3] == (315, 32, padding)


def test_resnet_v1_50_of_tf_slim():
    found = sizes(resnet_v1_50(), (3, 224, 224), "block1 block2 block3 block4")
    assert found == [35, 99, 291, 483]
    size, jump, *_, aligned = seen(resnet_v1_50(), (3, 224, 224))[0]
    assert (size, jump, aligned) == (483, 32, True)


def test_torchvision_resnets():
    with torch.device("meta"):
        fifty, eighteen = zoo.resnet50(), zoo.resnet18()
    assert sizes(fifty, (3, 224, 224), "layer2 layer3 layer4") == [91, 267, 427]
    assert seen(fifty, (3, 224, 224), "layer4")[0][:2] == (427, 32)
    assert seen(eighteen, (3, 224, 224), "layer4")[0][:2] == (435, 32)
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


# --- Recurrence against gradient ---------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, *branches, cat=False):
        super().__init__()
        self.branches, self.cat = nn.ModuleList(branches), cat

    def forward(self, x):
        maps = [branch(x) for branch in self.branches]
        if self.cat:
            return torch.cat(maps, dim=1).mean(1, keepdim=True)
        return F.relu(sum(maps[1:], start=maps[0]))


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw):
    kernel, stride, dilation = draw(pairs(1, 5)), draw(pairs(1, 3)), draw(pairs(1, 3))
    return nn.Conv2d(1, 1, kernel, stride, draw(pairs(0, 2)), dilation)


@st.composite
def pools(draw):
    kernel = draw(pairs(1, 4))
    padding = tuple(min(p, k // 2) for p, k in zip(draw(pairs(0, 2)), kernel, strict=True))
    stride, ceil = draw(pairs(1, 3)), draw(st.booleans())
    if draw(st.booleans()):
        return nn.MaxPool2d(kernel, stride, padding, draw(pairs(1, 2)), ceil_mode=ceil)
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil)


@st.composite
def residuals(draw):
    """Branches whose maps are equally large: centred, off centre, or strided alike."""
    stride = draw(pairs(1, 3))
    branches = [nn.Identity() if stride == (1, 1) else nn.Conv2d(1, 1, 1, stride)]
    for half in draw(st.lists(pairs(0, 2), min_size=1, max_size=2)):
        kernel, dilation = tuple(2 * h + 1 for h in half), draw(pairs(1, 2))
        reach = [2 * h * d for h, d in zip(half, dilation, strict=True)]
        before = [draw(st.sampled_from([r // 2, r // 2, r, 0])) for r in reach]
        (top, left), (bottom, right) = before, [r - b for r, b in zip(reach, before, strict=True)]
        pad = nn.ZeroPad2d((left, right, top, bottom))
        branches.append(nn.Sequential(pad, nn.Conv2d(1, 1, kernel, stride, 0, dilation)))
    return Residual(*branches, cat=draw(st.booleans()))


networks = st.lists(st.one_of(convolutions(), pools(), residuals()), min_size=1, max_size=6)


def interior(field, pixels):
    """Units that see nothing beyond the image's edge, and how large an image has one."""
    first = -(-field.padding // field.jump)
    return first, first * field.jump - field.padding + field.size


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(networks)
def test_recurrence_equals_gradient(layers):
    model = nn.Sequential(*layers)
    found = seen(model, (1, 1500, 1500))
    units, needed = zip(*(interior(f, 0) for f in found), strict=True)
    assume(max(needed) <= 250)
    shape = (1, *(n + f.jump for n, f in zip(needed, found, strict=True)))
    rows = read(model, shape)
    index = len(rows) - 1
    assert fields(rows)[index] == found
    mask = reached(model, shape, unit=units)
    assert bounding_box(mask) == tuple(f.span(u) for f, u in zip(found, units, strict=True))
    assert torch.equal(pixels(rows, index, units), mask)
    assert torch.equal(pixels(rows, index, (0, 0)), reached(model, shape, unit=(0, 0)))


def convolve(x, kernel_size, groups=1):
    """All-ones, keeping the number of channels and the map's size."""
    channels = x.shape[1]
    weight = x.new_ones(channels, channels // groups, *kernel_size) / channels
    return F.conv2d(x, weight, padding=[k // 2 for k in kernel_size], groups=groups)


REGROUPINGS = {  # of a map x of 2·half channels; k is a kernel's size, n a number
    "beside": lambda x, half, k, n: torch.cat([x, convolve(x, k)], 1),
    "stacked": lambda x, half, k, n: torch.stack([convolve(x, k), x], 2).flatten(1, 2),
    "half": lambda x, half, k, n: x.chunk(2, 1)[n % 2],
    "some": lambda x, half, k, n: x[:, n % 2 :: 2],
    "one": lambda x, half, k, n: x[:, n % half].unsqueeze(1),
    "swapped": lambda x, half, k, n: torch.cat(x.split([2 * half - 1, 1], 1)[::-1], 1),
    "shuffled": lambda x, half, k, n: x.unflatten(1, (2, half)).transpose(1, 2).flatten(1, 2),
    "added": lambda x, half, k, n: F.relu(x) + convolve(x, k),
    "unbound": lambda x, half, k, n: torch.stack(x.unbind(1)[::-1], 1),
    "summed": lambda x, half, k, n: x + x[:, n % half].unsqueeze(1),
    "pooled": lambda x, half, k, n: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1),
    "mixed": lambda x, half, k, n: convolve(x, k),
    "grouped": lambda x, half, k, n: convolve(x, k, groups=2),
    "depthwise": lambda x, half, k, n: convolve(x, k, groups=2 * half),
}


class Regrouped(nn.Module):
    """Concatenations whose channels are then moved, parted or mixed in part."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        x = torch.cat([x, convolve(x, (3, 3))], 1)
        for step, kernel_size, n in self.steps:
            if x.shape[1] % 2:
                x = torch.cat([x, x[:, :1]], 1)
            x = REGROUPINGS[step](x, x.shape[1] // 2, kernel_size, n)
        return x.clone()


steps = st.tuples(
    st.sampled_from(list(REGROUPINGS)),
    st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3])),
    st.integers(0, 3),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(steps, min_size=1, max_size=8))
def test_channels_that_see_different_fields_are_told_apart(steps):
    model, shape, unit = Regrouped(steps), (1, 81, 61), (40, 30)
    rows = read(model, shape)
    found = fields(rows)[-1]
    mask = reached(model, shape, unit=unit)
    assert bounding_box(mask) == tuple(f.span(u) for f, u in zip(found, unit, strict=True))
    assert torch.equal(pixels(rows, len(rows) - 1, unit), mask)


def first_half_of(mix):
    """The image beside a 5×3 convolution of it, mixed; then the first half of the channels."""
    return Odd(lambda s, x: mix(torch.cat([x, convolve(x, (5, 3))], 1))[:, :2].clone())


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        (lambda x: x, (1, 1)),
        (lambda x: F.relu(x + 1), (1, 1)),
        (lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2), (5, 3)),
        (lambda x: x.softmax(1), (5, 3)),
        (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), (5, 3)),
        (lambda x: F.linear(x.mT, x.new_ones(9, 9)).mT, (9, 1)),
        (lambda x: F.linear(x.movedim(1, 3), x.new_ones(4, 4)).movedim(3, 1), (5, 3)),
        (lambda x: F.adaptive_avg_pool2d(x, (3, 9)), (3, 1)),
        (lambda x: F.group_norm(x, 2), (9, 9)),
    ],
)
def test_what_mixes_channels_and_what_does_not(mix, expected):
    found = seen(first_half_of(mix), (2, 9, 9))
    assert tuple(f.size for f in found) == expected


@pytest.mark.parametrize("groups", [1, 2])
def test_group_norm_leaves_the_channels_own_fields(groups):
    model = first_half_of(lambda x: F.group_norm(x, groups))
    assert [f.size for f in seen(model, (2, 9, 9), global_context=False)] == [1, 1]


def test_channels_moved_in_an_unfollowed_way_are_unknown():
    found = seen(first_half_of(lambda x: x.roll(1, 1)), (2, 9, 9))
    assert isinstance(found, Unknown)
    assert "roll of channels that see different fields" in found.reason


def written(change, **layers):
    """A network that adds to its image what `change` wrote of a convolution of 7×5 pixels."""
    return Odd(lambda s, x: change(s, x, s.b(x)) + x, b=same_size(7, 5), **layers)


def same_size(height, width):
    return conv((height, width), channels=(1, 1), padding=(height // 2, width // 2))


def through_a_view(s, x, y):
    buffer = torch.zeros_like(x)
    buffer[0].copy_(y[0])
    return buffer


def added_through_a_view(s, x, y):
    buffer = x.new_zeros(1, 2, *x.shape[2:])
    buffer[:, :1].add_(y)
    return buffer.amax(1, keepdim=True)


def by_a_list(s, x, y):
    buffer = torch.zeros_like(x)
    torch._foreach_add_([buffer], [y])
    return buffer


@pytest.mark.parametrize("change", [through_a_view, added_through_a_view, by_a_list])
def test_what_is_written_into_a_constant_is_no_constant(change):
    assert isinstance(seen(written(change), (1, 21, 21)), Unknown)


def test_constants_beside_maps_see_nothing():
    def forward(s, x):
        y = torch.cat([torch.zeros_like(x), s.b(x), x], 1)
        parts = (y.clone(), y[:, :1].clone(), y[:, 1:2].clone(), y[:, :2].clone())
        return s.whole(parts[0] + y.flip(1)), s.zeros(parts[1]), s.map(parts[2]), s.both(parts[3])

    names = ("whole", "zeros", "map", "both")
    model = Odd(forward, b=same_size(7, 5), **{name: nn.ReLU() for name in names})
    rows = read(model, (1, 21, 21))
    found = {name: fields(rows)[find(rows, name)] for name in names}
    assert found["zeros"].reason == "it does not depend on the image"
    assert [tuple(f.size for f in found[n]) for n in ("whole", "map", "both")] == [(7, 5)] * 3


def test_channels_of_zeros_see_nothing():
    def forward(s, x):
        y = F.pad(s.b(x), (1, 1, 0, 0, 2, 1))
        return s.zeros(y[:, :2]), s.map(y[:, 1:3]), s.sum(y + F.pad(x, (1, 1, 0, 0, 3, 0)))

    names = ("zeros", "map", "sum")
    model = Odd(forward, b=same_size(7, 5), **{name: nn.ReLU() for name in names})
    rows = read(model, (1, 21, 21))
    found = {name: fields(rows)[find(rows, name)] for name in names}
    assert found["zeros"].reason == "it does not depend on the image"
    assert [tuple(f.size for f in found[name]) for name in ("map", "sum")] == [(7, 5)] * 2


def test_a_scalar_of_channels_that_see_different_fields():
    model = Odd(lambda s, x: F.relu(torch.cat([x, s.b(x)], 1).mean() + x), b=same_size(7, 5))
    assert [f.span(0) for f in seen(model, (1, 21, 21))] == [(0, 20)] * 2


def test_reductions_that_keep_dimensions_leave_the_axes_where_they_are():
    model = Odd(lambda s, x: (x - x.mean((2, 3), keepdim=True)).amax(1, keepdim=True))
    found = seen(model, (1, 9, 7))
    assert [(f.size, f.jump) for f in found] == [(9, 1), (7, 1)]
    rows = read(model, (1, 9, 7))
    assert pixels(rows, len(rows) - 1, (4, 3)).all()


def test_a_gate_without_axes_leaves_those_of_its_map():
    model = Odd(lambda s, x: (x * x.mean((2, 3))[:, :1, None, None]).movedim(1, 3).clone())
    rows = read(model, (1, 9, 7))
    assert rows[-1].extent == (9, 7)
    assert pixels(rows, len(rows) - 1, (4, 3)).all()


@pytest.mark.parametrize(
    "join",
    [
        lambda a, b: a - b,
        lambda a, b: (a - b).abs(),
        lambda a, b: a * (1 - b.sigmoid()),
        lambda a, b: torch.maximum(a, b),
        lambda a, b: torch.max(torch.cat([a, b], 1), 1, keepdim=True)[0],
        lambda a, b: torch.cat([a, b], 1).amax(1, keepdim=True),
        lambda a, b: F.max_pool2d(a + b, 1, return_indices=True)[0],
    ],
)
def test_nothing_cancels_in_the_measurement(join):
    model = Odd(lambda s, x: join(s.a(x), s.b(x)), a=same_size(3, 3), b=same_size(7, 5))
    mask = reached(model, (1, 21, 21), unit=(10, 10))
    found = seen(model, (1, 21, 21))
    assert bounding_box(mask) == tuple(f.span(10) for f in found) == ((7, 13), (8, 12))


@pytest.mark.parametrize(
    "resized",
    [
        lambda x: F.interpolate(x, scale_factor=1.04, mode="nearest-exact"),
        lambda x: torch.as_strided(x, (1, 1, 20, 20), (400, 400, 1, 20)),
    ],
)
def test_equal_sizes_are_not_taken_for_equal_maps(resized):
    assert isinstance(seen(Odd(lambda s, x: resized(x).clone()), (1, 20, 20)), Unknown)


def narrow(block, depths):
    """A ResNet of torchvision's own geometry, with few channels."""
    model = ResNet(block, depths, width_per_group=4 if block is Bottleneck else 64)
    return model.requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "layer", "pixels_"),
    [
        (lambda: narrow(BasicBlock, [2, 2, 2, 2]), "layer3", 288),
        (zoo.shufflenet_v2_x0_5, "conv5", 608),
        (lambda: zoo.mobilenet_v2(width_mult=0.1), "features", 544),
        (lambda: zoo.googlenet(init_weights=False), "inception4a", 192),
    ],
)
def test_torchvision_by_gradient(model, layer, pixels_):
    model = model()
    shape = (3, pixels_, pixels_ - 32)
    rows = read(model, shape)
    index = find(rows, layer)
    found, unit = fields(rows)[index], tuple(n // 2 for n in rows[index].extent)
    mask = reached(model, shape, layer=layer, unit=unit)
    spans = tuple(f.span(u) for f, u in zip(found, unit, strict=True))
    assert all(first >= 0 and last < n for (first, last), n in zip(spans, shape[1:], strict=True))
    assert bounding_box(mask) == spans
    assert torch.equal(pixels(rows, index, unit), mask)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
def test_squeeze_and_excitation_by_gradient(name):
    model = zoo.get_model(name)
    mask = reached(model, (3, 96, 64), layer="features", unit=(0, 0))
    assert bounding_box(mask) == ((0, 95), (0, 63))
    assert [f.span(0) for f in seen(model, (3, 96, 64), "features")] == [(0, 95), (0, 63)]


class Odd(nn.Module):
    """One way of writing things each, to be read and measured."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.written = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.written(self, x)


def conv(kernel_size=3, channels=(1, 4), **options):
    return nn.Conv2d(*channels, kernel_size, **options)


ODD = {
    "padding same": Odd(lambda s, x: s.a(x), a=conv((4, 3), padding="same", dilation=(1, 2))),
    "reflect": Odd(lambda s, x: s.a(x), a=conv(5, padding=2, padding_mode="reflect")),
    "replicate": Odd(lambda s, x: s.a(x), a=conv(5, padding=2, padding_mode="replicate")),
    "strided slice": Odd(lambda s, x: s.a(x[:, :, 1::2, 3:]), a=conv()),
    "space to channels": Odd(
        lambda s, x: s.a(torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1)),
        a=conv(channels=(2, 4)),
    ),
    "reused": Odd(lambda s, x: s.b(s.b(s.a(x))), a=conv(), b=conv(channels=(4, 4))),
    "depthwise": Odd(lambda s, x: s.b(s.a(x)), a=conv(), b=conv(channels=(4, 4), groups=4)),
    "mean over the map": Odd(lambda s, x: s.a(x).mean([2, 3]), a=conv()),
    "flatten, Linear": Odd(
        lambda s, x: s.b(s.a(x).flatten(1)), a=conv(3, stride=4), b=nn.Linear(4 * 8 * 6, 3)
    ),
    "view, matmul": Odd(
        lambda s, x: s.a(x).view(x.size(0), -1) @ torch.ones(4 * 8 * 6, 2, dtype=x.dtype),
        a=conv(3, stride=4),
    ),
    "permute, Linear, permute": Odd(
        lambda s, x: s.b(s.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        a=conv(),
        b=nn.Linear(4, 5),
    ),
    "channel shuffle by hand": Odd(
        lambda s, x: s.a(x).view(1, 2, 2, 32, 24).transpose(1, 2).reshape(1, 4, 32, 24),
        a=conv(padding=1),
    ),
    "chunk and stack": Odd(lambda s, x: torch.stack(s.a(x).chunk(2, 1)).sum(0), a=conv(padding=1)),
    "gate by view": Odd(
        lambda s, x: x * torch.sigmoid(s.a(x).mean((2, 3))).view(-1, 4, 1, 1).sum(1, True),
        a=conv(),
    ),
    "gate along the width": Odd(
        lambda s, x: s.a(x) * torch.sigmoid(s.a(x).mean(3, keepdim=True)), a=conv()
    ),
    "GroupNorm": Odd(lambda s, x: s.b(s.a(x)), a=conv(), b=nn.GroupNorm(2, 4)),
    "LayerNorm over channels": Odd(
        lambda s, x: s.b(s.a(x).movedim(1, -1)).movedim(-1, 1), a=conv(), b=nn.LayerNorm(4)
    ),
    "pooled context": Odd(
        lambda s, x: s.a(x) + F.interpolate(F.adaptive_avg_pool2d(s.a(x), 1), size=(30, 22)),
        a=conv(),
    ),
    "adaptive pool to 4 × 3": Odd(lambda s, x: F.adaptive_max_pool2d(x, (4, 3))),
    "option A shortcut": Odd(
        lambda s, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)) + s.a(x),
        a=conv(stride=2, padding=1),
    ),
    "in place": Odd(lambda s, x: s.a(x).relu_().add_(x[:, :, 1:-1, 1:-1]).mul_(2), a=conv()),
    "response norm": Odd(lambda s, x: F.local_response_norm(s.a(x), 3), a=conv()),
    "einsum over channels": Odd(
        lambda s, x: torch.einsum("nchw,oc->nohw", s.a(x), torch.ones(3, 4, dtype=x.dtype)),
        a=conv(),
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_ways_of_writing(name):
    model, shape = ODD[name], (1, 32, 24)
    rows = read(model, shape)
    index = len(rows) - 1
    found = fields(rows)[index]
    for unit in {(0, 0), tuple(n // 2 for n in rows[index].extent)}:
        mask = reached(model, shape, unit=unit)
        assert torch.equal(pixels(rows, index, unit), mask)
        clipped = [
            (max(first, 0), min(last, n - 1))
            for (first, last), n in zip(
                (f.span(u) for f, u in zip(found, unit, strict=True)), shape[1:], strict=True
            )
        ]
        if unit != (0, 0) or not any(f.padding for f in found):
            assert bounding_box(mask) == tuple(clipped)


# --- Holes, branches, what cannot be known ------------------------------------------------------


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
    assert "jumps [1, 2]" in found.reason
    rows = read(model, (1, 5, 5))
    assert torch.equal(pixels(rows, len(rows) - 1, (1, 1)), reached(model, (1, 5, 5), unit=(1, 1)))
    one_unit = seen(model, (1, 4, 4))[0]  # a single unit has a single field
    assert (one_unit.size, one_unit.aligned) == (4, False)


@pytest.mark.parametrize("crop", [slice(None, -1), slice(1, None)])
def test_context_that_misses_pixels_is_not_called_global(crop):
    """What is pooled lacks the last, or the first, row and column: units see different pixels."""
    model = Odd(lambda s, x: x + F.avg_pool2d(x[:, :, crop, crop], 7))
    assert isinstance(seen(model, (1, 8, 8)), Unknown)


def test_everything_after_an_unreadable_layer_is_unknown():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 2, 2), nn.ReLU(), nn.Conv2d(2, 1, 3)
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
    with pytest.raises(InputError, match="outside"):
        reached(nn.Conv2d(1, 1, 3), (1, 5, 5), unit=(0, 3))
    with pytest.raises(InputError, match="no module"):
        reached(nn.Conv2d(1, 1, 3), (1, 5, 5), layer="layer9")


# --- The effective receptive field --------------------------------------------------------------


@pytest.mark.parametrize(("layer", "expected"), [("block3", 12.917), ("gap", 15.583)])
def test_closed_form_variance_of_model3(layer, expected):
    rows = read(Model3())
    formula = variance(window for window, _ in chain(rows, find(rows, layer)))
    assert formula == pytest.approx(expected, abs=5e-4)
    weight = all_ones(Model3(), (1, 28, 28), layer=layer)
    for sigma in spread(weight):
        assert sigma**2 == pytest.approx(formula)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(convolutions(), min_size=1, max_size=4))
def test_closed_form_variance_equals_the_measured_one(layers):
    model = nn.Sequential(*layers)
    rows = read(model, (1, 1500, 1500))
    found = fields(rows)[-1]
    units, needed = zip(*(interior(f, 0) for f in found), strict=True)
    assume(max(needed) <= 150)
    measured = spread(all_ones(model, (1, *needed), unit=units))
    for axis, sigma in enumerate(measured):
        formula = variance(windows[axis] for windows in chain(rows, len(rows) - 1))
        assert sigma**2 == pytest.approx(formula, abs=1e-9)


def test_half_of_a_logits_weight_sits_in_71_pixels():
    weight = all_ones(Model3(), (1, 28, 28))
    assert (weight > 0).all()
    assert (pixels_holding(weight, 0.5), pixels_holding(weight, 0.95)) == (71, 285)


def test_the_effective_field_of_one_convolution_is_its_weights():
    model = nn.Conv2d(1, 2, 3)
    images = torch.randn(5, 1, 9, 9)
    weight = effective_receptive_field(model, images, unit=(2, 1), channel=1)
    expected = torch.zeros(9, 9)
    expected[2:5, 1:4] = model.weight[1, 0].detach().abs()
    assert torch.allclose(weight, expected)


def test_the_effective_field_on_digits_is_narrower_than_the_theoretical_one(test_split):
    torch.manual_seed(0)
    model = Model3().train()
    digits = data.standardize(test_split.images[:64])
    before = model.block1[0][2].running_mean.clone()
    weight = effective_receptive_field(model, digits, layer="head")
    assert weight.shape == (28, 28)
    assert pixels_holding(weight, 0.95) < 784 * 0.9
    uniform = spread(torch.ones(28, 28))
    assert all(sigma < flat for sigma, flat in zip(spread(weight), uniform, strict=True))
    one = digits[:1].clone().requires_grad_()
    logits = nn.Sequential(*list(model.eval().children()))(one).flatten()
    logits.max().backward()
    alone = effective_receptive_field(model, digits[:1], layer="head")
    assert torch.allclose(alone, one.grad.abs()[0, 0], atol=1e-6)
    assert torch.equal(before, model.block1[0][2].running_mean)
    assert model.head.weight.grad is not None
    with pytest.raises(InputError, match="no module"):
        effective_receptive_field(model, digits[:1], layer="nothing")


def test_a_chain_ends_where_branches_meet():
    with pytest.raises(InputError, match="single chain"):
        chain(read(Residual(nn.Identity(), nn.Conv2d(1, 1, 1)), (1, 5, 5)), 4)


def test_merge_of_one_branch_is_that_branch():
    field = seen(nn.Conv2d(1, 1, 3, 2, 1), (1, 9, 9))[0]
    assert merge([field], 5, 9) == field
    assert Window(3) == Window(3, 1, 0, 1)
