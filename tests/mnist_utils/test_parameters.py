"""The lesson's arithmetic against PyTorch's own count."""

from itertools import product

from torch import nn

from mnist_utils.parameters import conv2d_macs, conv2d_parameters, linear_parameters


def test_a_convolution_and_a_linear_layer():
    cases = [(1, 10, 3, 1), (8, 12, 5, 4)]
    for (inputs, outputs, kernel, groups), bias in product(cases, (True, False)):
        layer = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias)
        counted = sum(p.numel() for p in layer.parameters())
        assert conv2d_parameters(inputs, outputs, kernel, bias, groups) == counted
        macs = conv2d_macs(inputs, outputs, kernel, 7, 9, groups)
        assert macs == layer.weight.numel() * 63
    for bias in (True, False):
        counted = sum(p.numel() for p in nn.Linear(288, 10, bias).parameters())
        assert linear_parameters(288, 10, bias) == counted
