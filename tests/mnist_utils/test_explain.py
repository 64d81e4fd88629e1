"""How much each pixel counts."""

import pytest
import torch
from torch import nn

from mnist_utils import data, results
from mnist_utils.errors import InputError
from mnist_utils.explain import (
    effective_receptive_field,
    pixels_holding,
    sharing_ties,
    spread,
)
from mnist_utils.models import Model3
from mnist_utils.receptive_field import Window, variance


def test_the_effective_field_of_one_convolution_is_its_weights():
    model = nn.Conv2d(1, 2, 3)
    images = torch.randn(5, 1, 9, 9)
    weight = effective_receptive_field(model, images, unit=(2, 1), channel=1)
    expected = torch.zeros(9, 9)
    expected[2:5, 1:4] = model.weight[1, 0].detach() ** 2
    assert torch.allclose(weight, expected)


def test_random_networks_are_as_wide_as_equal_weights():
    """The theory's bump is the mean square of the gradient, over random weights."""
    torch.manual_seed(0)
    chain = [Window(3), Window(3), Window(2, stride=2), Window(3)]
    weight = 0
    for _ in range(200):
        layers = [nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.AvgPool2d(2), nn.Conv2d(8, 1, 3)]
        model = nn.Sequential(*layers)
        weight = weight + effective_receptive_field(model, torch.zeros(1, 1, 10, 10), channel=0)
    for sigma in spread(weight):
        assert sigma == pytest.approx(variance(chain) ** 0.5, rel=0.03)


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
    logits = nn.Sequential(*list(sharing_ties(model).children()))(one).flatten()
    logits.max().backward()
    alone = effective_receptive_field(model, digits[:1], layer="head")
    assert torch.allclose(alone, one.grad[0, 0] ** 2, atol=1e-6)
    assert torch.equal(before, model.block1[0][2].running_mean)
    assert model.training
    with pytest.raises(InputError, match="not a module"):
        effective_receptive_field(model, digits[:1], layer="nothing")


def gradient(model, images):
    images = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(images).square().sum(), images)
    return found


def test_a_pool_that_shares_is_torch_s_and_units_tied_but_for_rounding_share_the_gradient():
    for places in ((2,), (3, 2), (3, 1, 1), ((3, 2), (2, 1), (1, 0), (2, 3))):
        pool, maps = nn.MaxPool2d(*places), torch.randperm(432).view(2, 3, 9, 8) / 432 - 2
        shared = sharing_ties(alone := nn.Sequential(pool))
        torch.testing.assert_close(shared(maps), alone(maps), rtol=0, atol=1e-3)
        both = gradient(shared, maps), gradient(alone, maps)
        torch.testing.assert_close(*both, rtol=0, atol=0.01)
    shared = sharing_ties(nn.Sequential(nn.MaxPool2d(2)))
    maps = torch.tensor([[1, 1 + 1e-6], [0.5, 1 - 1e-6]]).view(1, 1, 2, 2)
    third = 2 / 3  # the derivative of 1 squared, in three
    expected = torch.tensor([[third, third], [0, third]]).view(1, 1, 2, 2)
    torch.testing.assert_close(gradient(shared, maps), expected)


def test_a_digit_s_effective_field_does_not_hang_on_the_last_bit(test_split):
    torch.manual_seed(0)
    digits = data.standardize(test_split.images[:1])
    model, noise = results.network("reference"), 1e-7 * torch.randn(28, 28)
    one, other = (
        effective_receptive_field(model, x, layer="head") for x in (digits, digits + noise)
    )
    assert (one - other).abs().max() < 1e-3 * one.max()


def test_a_layer_or_a_unit_that_is_not_there_is_named():
    network, images = nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 5, 5)
    with pytest.raises(InputError, match="outside the map of 3 × 3"):
        effective_receptive_field(network, images, unit=(0, 3))
    with pytest.raises(InputError, match="not a module"):
        effective_receptive_field(network, images, layer="layer9")
