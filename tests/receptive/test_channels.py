"""Channels that see different fields, and constants that see nothing."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Written, find, same_size, seen
from oracles import reached
from torch import nn

from receptive import describe, read
from receptive.fields import Unknown, bounding_box, fields, pixels


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
    "rolled": lambda x, half, k, n: x.roll(n, 1),
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
    return Written(lambda s, x: mix(torch.cat([x, convolve(x, (5, 3))], 1))[:, :2].clone())


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


def written(change, **layers):
    """A network that adds to its image what `change` wrote of a convolution of 7×5 pixels."""
    return Written(lambda s, x: change(s, x, s.b(x)) + x, b=same_size(7, 5), **layers)


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
    model = Written(forward, b=same_size(7, 5), **{name: nn.ReLU() for name in names})
    rows = read(model, (1, 21, 21))
    found = {name: fields(rows)[find(rows, name)] for name in names}
    assert found["zeros"].reason == "it does not depend on the image"
    assert [tuple(f.size for f in found[n]) for n in ("whole", "map", "both")] == [(7, 5)] * 3


def test_channels_of_zeros_see_nothing():
    def forward(s, x):
        y = F.pad(s.b(x), (1, 1, 0, 0, 2, 1))
        return s.zeros(y[:, :2]), s.map(y[:, 1:3]), s.sum(y + F.pad(x, (1, 1, 0, 0, 3, 0)))

    names = ("zeros", "map", "sum")
    model = Written(forward, b=same_size(7, 5), **{name: nn.ReLU() for name in names})
    rows = read(model, (1, 21, 21))
    found = {name: fields(rows)[find(rows, name)] for name in names}
    assert found["zeros"].reason == "it does not depend on the image"
    assert [tuple(f.size for f in found[name]) for name in ("map", "sum")] == [(7, 5)] * 2


def test_a_scalar_of_channels_that_see_different_fields():
    model = Written(lambda s, x: F.relu(torch.cat([x, s.b(x)], 1).mean() + x), b=same_size(7, 5))
    assert [f.span(0) for f in seen(model, (1, 21, 21))] == [(0, 20)] * 2


def test_reductions_that_keep_dimensions_leave_the_axes_where_they_are():
    model = Written(lambda s, x: (x - x.mean((2, 3), keepdim=True)).amax(1, keepdim=True))
    found = seen(model, (1, 9, 7))
    assert [(f.size, f.jump) for f in found] == [(9, 1), (7, 1)]
    rows = read(model, (1, 9, 7))
    assert pixels(rows, len(rows) - 1, (4, 3)).all()


def test_a_gate_without_axes_leaves_those_of_its_map():
    model = Written(lambda s, x: (x * x.mean((2, 3))[:, :1, None, None]).movedim(1, 3).clone())
    rows = read(model, (1, 9, 7))
    assert rows[-1].extent == (9, 7)
    assert pixels(rows, len(rows) - 1, (4, 3)).all()


def test_torch_s_own_channel_shuffle_is_read():
    layers = [nn.Conv2d(1, 8, 3), nn.ChannelShuffle(4), nn.Conv2d(8, 8, 3, groups=2)]
    assert describe(nn.Sequential(*layers), (1, 28, 28)).rows[-1].receptive_field == 5
