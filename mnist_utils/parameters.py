"""Parameters and multiply-adds of a layer, by the arithmetic one does on paper.

A MAC is one multiplication and one addition; papers that count FLOPs count both, twice as many.
"""


def conv2d_parameters(
    in_channels: int, out_channels: int, kernel_size: int, bias: bool = True, groups: int = 1
) -> int:
    """Weights and biases of a convolution: each filter reads `in_channels / groups` channels."""
    return out_channels * (in_channels // groups) * kernel_size**2 + out_channels * bias


def conv2d_macs(
    in_channels: int, out_channels: int, kernel_size: int, height: int, width: int, groups: int = 1
) -> int:
    """MACs of a convolution with an output of `height` × `width`: each weight once a position."""
    return conv2d_parameters(in_channels, out_channels, kernel_size, False, groups) * height * width


def linear_parameters(in_features: int, out_features: int, bias: bool = True) -> int:
    """Weights and biases of a Linear layer; its MACs are the same number without the biases."""
    return out_features * in_features + out_features * bias
