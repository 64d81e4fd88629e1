"""The lesson's arithmetic against PyTorch's own count."""

import pytest
from torch import nn

from mnist_utils.parameters import conv2d_macs, conv2d_parameters, linear_parameters


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "kernel", "groups"), [(1, 10, 3, 1), (8, 12, 5, 4)])
def test_a_convolution(inputs, outputs, kernel, groups, bias):
    layer = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias)
    counted = sum(p.numel() for p in layer.parameters())
    assert conv2d_parameters(inputs, outputs, kernel, bias, groups) == counted
    weights = layer.weight.numel()
    assert conv2d_macs(inputs, outputs, kernel, 7, 9, groups) == weights * 63


def test_a_linear_layer():
    assert linear_parameters(288, 10) == sum(p.numel() for p in nn.Linear(288, 10).parameters())
    assert linear_parameters(288, 10, bias=False) == 2_880
