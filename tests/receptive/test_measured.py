"""The recurrence against gradients: two routes to every field."""

import os

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from networks import Residual, Written, chain, conv, find, same_size, seen
from oracles import all_ones, reached
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from mnist_utils.explain import pixels_holding, spread
from mnist_utils.models import Model3
from mnist_utils.receptive_field import variance
from receptive import read
from receptive.fields import Unknown, bounding_box, fields, pixels


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


NETWORKS = int(os.environ.get("NETWORKS", 50))  # weekly 5,000


@settings(
    max_examples=NETWORKS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
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
    model = Written(lambda s, x: join(s.a(x), s.b(x)), a=same_size(3, 3), b=same_size(7, 5))
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
    assert isinstance(seen(Written(lambda s, x: resized(x).clone()), (1, 20, 20)), Unknown)


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


ODD = {
    "padding same": Written(lambda s, x: s.a(x), a=conv((4, 3), padding="same", dilation=(1, 2))),
    "reflect": Written(lambda s, x: s.a(x), a=conv(5, padding=2, padding_mode="reflect")),
    "replicate": Written(lambda s, x: s.a(x), a=conv(5, padding=2, padding_mode="replicate")),
    "strided slice": Written(lambda s, x: s.a(x[:, :, 1::2, 3:]), a=conv()),
    "space to channels": Written(
        lambda s, x: s.a(torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1)),
        a=conv(channels=(2, 4)),
    ),
    "reused": Written(lambda s, x: s.b(s.b(s.a(x))), a=conv(), b=conv(channels=(4, 4))),
    "depthwise": Written(lambda s, x: s.b(s.a(x)), a=conv(), b=conv(channels=(4, 4), groups=4)),
    "mean over the map": Written(lambda s, x: s.a(x).mean([2, 3]), a=conv()),
    "flatten, Linear": Written(
        lambda s, x: s.b(s.a(x).flatten(1)), a=conv(3, stride=4), b=nn.Linear(4 * 8 * 6, 3)
    ),
    "view, matmul": Written(
        lambda s, x: s.a(x).view(x.size(0), -1) @ torch.ones(4 * 8 * 6, 2, dtype=x.dtype),
        a=conv(3, stride=4),
    ),
    "permute, Linear, permute": Written(
        lambda s, x: s.b(s.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        a=conv(),
        b=nn.Linear(4, 5),
    ),
    "channel shuffle by hand": Written(
        lambda s, x: s.a(x).view(1, 2, 2, 32, 24).transpose(1, 2).reshape(1, 4, 32, 24),
        a=conv(padding=1),
    ),
    "chunk and stack": Written(
        lambda s, x: torch.stack(s.a(x).chunk(2, 1)).sum(0), a=conv(padding=1)
    ),
    "gate by view": Written(
        lambda s, x: x * torch.sigmoid(s.a(x).mean((2, 3))).view(-1, 4, 1, 1).sum(1, True),
        a=conv(),
    ),
    "gate along the width": Written(
        lambda s, x: s.a(x) * torch.sigmoid(s.a(x).mean(3, keepdim=True)), a=conv()
    ),
    "GroupNorm": Written(lambda s, x: s.b(s.a(x)), a=conv(), b=nn.GroupNorm(2, 4)),
    "LayerNorm over channels": Written(
        lambda s, x: s.b(s.a(x).movedim(1, -1)).movedim(-1, 1), a=conv(), b=nn.LayerNorm(4)
    ),
    "pooled context": Written(
        lambda s, x: s.a(x) + F.interpolate(F.adaptive_avg_pool2d(s.a(x), 1), size=(30, 22)),
        a=conv(),
    ),
    "adaptive pool to 4 × 3": Written(lambda s, x: F.adaptive_max_pool2d(x, (4, 3))),
    "option A shortcut": Written(
        lambda s, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)) + s.a(x),
        a=conv(stride=2, padding=1),
    ),
    "in place": Written(lambda s, x: s.a(x).relu_().add_(x[:, :, 1:-1, 1:-1]).mul_(2), a=conv()),
    "response norm": Written(lambda s, x: F.local_response_norm(s.a(x), 3), a=conv()),
    "einsum over channels": Written(
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
