"""Networks of which an earlier reader said a wrong number: now the right one, or none."""

import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import Written
from torch import nn

from receptive import InputError, describe


class Net(nn.Module):
    """A convolution, and whatever `then` does with its map."""

    def __init__(self, then):
        super().__init__()
        self.first, self.second, self.then = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), then

    def forward(self, image):
        return self.then(self, self.first(image))


def last(then, shape=(1, 28, 28)):
    """The row of what `then` makes."""
    return [row for row in describe(Net(then), shape).rows if row.status != "not called"][-1]


TWICE = {
    "repeat_interleave": lambda y: y.repeat_interleave(2, 2),
    "kron": lambda y: torch.kron(y, torch.ones(1, 1, 2, 2)),
    "expand and reshape": lambda y: (
        y[:, :, :, None].expand(-1, -1, -1, 2, -1).reshape(1, 4, 52, 26)
    ),
    "pixel shuffle by hand": lambda y: (
        y.view(1, 1, 2, 2, 26, 26).permute(0, 1, 4, 2, 5, 3).reshape(1, 1, 52, 52)
    ),
    "rows below rows": lambda y: torch.stack([y, 2 * y], 2).flatten(2, 3),
    "rows among rows": lambda y: torch.stack([y, 2 * y], 3).flatten(2, 3),
    "columns among columns": lambda y: torch.stack([y, 2 * y], 4).flatten(3, 4),
}


@pytest.mark.parametrize("name", TWICE)
def test_an_axis_laid_out_with_something_else_has_no_whole_jump(name):
    """Twice as many rows, columns or both: half a pixel apart, or in an order that has no jump."""
    for then in (TWICE[name], lambda y: F.relu(TWICE[name](y))):
        row = last(lambda net, y, then=then: then(y))
        rows, columns = (n // 26 for n in row.output_shape[1:])
        jumps = row.jump if isinstance(row.jump, list) else [row.jump] * 2
        odd = "below" in name
        assert (jumps, row.receptive_field) == ([None if odd else 1 / rows, 1 / columns], 3)
        assert row.status == ("measured" if "below" in name or "among" in name else "known")


EVEN, TEN, smooth = torch.arange(26) % 2 == 0, torch.eye(10), nn.AvgPool2d(3, 1, 1)
MEASURED = {  # function, its output's fields along height and width, the smallest of them, why
    "flipped": (lambda net, y: y.flip(3), 3, 3, "makes flipped columns"),
    "slid over": (lambda net, y: net.second(y.flip(3)), 5, 5, "flip: it makes flipped columns"),
    "repeated": (lambda net, y: torch.cat([y, y], 2), 3, 3, "makes repeated rows"),
    "side by side": (lambda net, y: torch.cat([y[:, :, 2:], net.second(y)], 3), 5, 3, "side by"),
    "end to end": (lambda net, y: torch.cat([y.mean(3), y.mean(2)], 2), 28, 3, "end to end"),
    "cut": (lambda net, y: y.flatten(2)[:, :, 5:].clone(), 3, 3, "cuts the flattened pixels"),
    "tiles": (lambda net, y: net.second(y[..., :24, :].unflatten(2, (6, 4)).transpose(1, 2)[0]),
              5, 5, "slides over|laid out"),
    "a choice": (lambda net, y: torch.where(EVEN, y, smooth(y)), 5, 3, "a constant mask"),
    "masked": (lambda net, y: y.masked_fill(torch.eye(26) > 0, 0), 3, 3, "a constant mask"),
    "sorted": (lambda net, y: y.sort(3).values, [3, 28], [3, 28], "sort along units"),
    "the third": (lambda net, y: y.kthvalue(3, 3).values, [3, 28], None, "not in the table"),
    "looked up": (lambda net, y: F.embedding((9 * y.sigmoid()).long(), TEN), 3, None, "table"),
    "added again": (lambda net, y: F.fold(F.unfold(y, 3), 26, 3), 3, 3, "not in the table"),
    "the whole spectrum": (lambda net, y: torch.fft.fft2(y).abs(), 28, 28, "not in the table"),
    "rotated": (lambda net, y: torch.rot90(y, 1, (2, 3)), 3, 3, "not in the table"),
    "a triangle": (lambda net, y: y.tril(), 3, 3, "not in the table"),
    "a diagonal": (lambda net, y: y.diagonal(0, 2, 3), 3, 3, "not in the table"),
    "complex": (lambda net, y: torch.view_as_real(torch.complex(y, y)), 3, 3, "not in the table"),
    "multiplied up": (lambda net, y: y.cumprod(2), [28, 3], 3, "not in the table"),
    "the median": (lambda net, y: y.median(3).values, [3, 28], [3, 28], "not in the table"),
    "as in eight bits": (lambda net, y: torch.fake_quantize_per_tensor_affine(y, 0.1, 0, -9, 9),
                         3, 3, "not in the table"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_what_cannot_be_read_is_measured_in_a_small_image(name):
    then, field, smallest, why = MEASURED[name]
    row = last(then)
    assert row.receptive_field == field
    assert smallest in (row.smallest_field, None)  # of some it depends on the weights
    assert row.status == "measured"
    assert re.search(why, row.reason)
    large = last(then, (1, 28, 65)) if name in ("flipped", "sorted") else None
    assert large is None or (large.status, large.receptive_field) == ("unknown", None)


def test_a_constant_mask_of_channels_hides_no_unit():
    odd = torch.tensor([True, False, True, False])[:, None, None]
    assert last(lambda net, y: y.masked_fill(odd, 0)).status == "known"
    assert last(lambda net, y: torch.where(y > 0, y, smooth(y))).receptive_field == 5


def test_flattened_pixels_keep_their_fields():
    """What every classifier does before its first Linear layer, and every transformer."""
    assert last(lambda net, y: y.flatten(1)).receptive_field == 3
    assert last(lambda net, y: y.flatten(2).transpose(1, 2)).jump == 1
    assert last(lambda net, y: y.permute(0, 2, 3, 1).flatten(1)).receptive_field == 3


ACROSS = {
    "linear": lambda net, y: F.linear(y, torch.ones(7, 26)),
    "matmul": lambda net, y: torch.matmul(torch.ones(7, 26), y),
    "einsum": lambda net, y: torch.einsum("gh,nchw->ncgw", torch.ones(7, 26), y),
}


@pytest.mark.parametrize("name", ACROSS)
def test_a_product_over_one_axis_shows_all_of_it_to_every_unit(name):
    row = last(ACROSS[name])
    axis = 1 if name == "linear" else 0
    assert (row.receptive_field[axis], row.receptive_field[1 - axis]) == (28, 3)
    assert (row.jump[axis], row.jump[1 - axis]) == (None, 1)
    assert row.same_for_all_units == [axis == 0, axis == 1]
    after = last(lambda net, y: net.second(ACROSS[name](net, y)))
    assert (after.receptive_field[axis], after.receptive_field[1 - axis]) == (28, 5)


def test_a_softmax_over_rows_is_global_along_height_alone():
    found = describe(Net(lambda net, y: y.softmax(2)))
    assert found["softmax"].receptive_field == [28, 3]
    assert found["softmax"].same_for_all_units == [True, False]
    assert "28*×3 " in str(found)


BY_CHANCE = {
    "torch": lambda net, y: y[:, :, int(torch.randint(0, 5, ())) :],
    "torch, computed": lambda net, y: y[:, :, (2 * torch.rand(())).round().long().item() :],
    "python": lambda net, y: net.second(y) if random.random() < 0.5 else y,
    "numpy": lambda net, y: net.second(y) if np.random.rand() < 0.5 else y,
}


@pytest.mark.parametrize("name", BY_CHANCE)
def test_a_network_that_goes_by_chance_is_refused_and_no_random_state_moves(name):
    net = Net(BY_CHANCE[name])
    states = random.getstate(), torch.get_rng_state(), str(np.random.get_state())
    with pytest.raises(InputError, match="draws random numbers and goes by them"):
        describe(net)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert str(np.random.get_state()) == states[2]


def test_noise_added_to_a_map_is_no_choice():
    assert last(lambda net, y: y + torch.rand_like(y)).receptive_field == 3


def test_a_network_that_asks_for_its_device_is_told_a_real_one():
    row = last(lambda net, y: net.second(y) if y.device.type == "cpu" else y)
    assert row.receptive_field == 5
    row = last(lambda net, y: net.second(y) if not y.is_meta else y)
    assert row.receptive_field == 5


def test_a_constant_mask_of_channels_is_read_and_one_of_values_refused():
    mask = torch.tensor([True, False, True, False])
    assert last(lambda net, y: y[:, mask]).output_shape == [2, 26, 26]
    with pytest.raises(InputError, match="looks at the values of its input"):
        describe(Net(lambda net, y: y[y > 0]))


def test_a_compiled_network_is_read_inside():
    inner = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    assert str(describe(torch.compile(inner))) == str(describe(inner))


def test_what_reads_padding_alone_is_constant_and_not_unknown():
    """A kernel of two rows, dilated, over one row that no rule reads: both lie on padding."""
    product = Written(lambda s, x: x.prod(2, keepdim=True))
    beside = nn.Conv2d(1, 1, (2, 1), padding=(1, 0), dilation=(2, 1))
    row = describe(nn.Sequential(product, beside), (1, 12, 12)).rows[-1]
    assert (row.status, row.receptive_field) == ("constant", None)
