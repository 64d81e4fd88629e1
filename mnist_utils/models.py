"""The networks of the course, each readable from its first layer to its logits in one screen.

Shapes trail the lines as `(channels, height, width)` of one sample; every network takes
standardised digits `(N, 1, 28, 28)` and returns log-probabilities `(N, 10)`.
"""

import inspect
import sys

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils.errors import InputError


def conv_relu_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Valid 3×3 convolution, then ReLU, BatchNorm and Dropout(0.05), in the source's order."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3),
        nn.ReLU(),
        nn.BatchNorm2d(out_channels),
        nn.Dropout(0.05),
    )


class Model3(nn.Module):
    """The source's network: 6,016 parameters, 1,164,180 MACs, no padding, no dense layer.

    Its seven convolutions and one pool are chosen so that each logit sees 28 pixels: the image,
    exactly. The receptive field, in input pixels, stands last on each line.
    """

    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(
            conv_relu_norm(1, 10),  # (10, 26, 26)   3
            conv_relu_norm(10, 10),  # (10, 24, 24)   5
            conv_relu_norm(10, 10),  # (10, 22, 22)   7
        )
        self.pool = nn.MaxPool2d(2)  # (10, 11, 11)   8
        self.block2 = nn.Sequential(
            conv_relu_norm(10, 10),  # (10, 9, 9)    12
            conv_relu_norm(10, 10),  # (10, 7, 7)    16
            conv_relu_norm(10, 10),  # (10, 5, 5)    20
        )
        self.block3 = conv_relu_norm(10, 12)  # (12, 3, 3)    24
        self.gap = nn.AdaptiveAvgPool2d(1)  # (12, 1, 1)    28
        self.head = nn.Conv2d(12, 10, kernel_size=1)  # (10, 1, 1)    28

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities `(N, 10)` of images `(N, 1, 28, 28)`."""
        x = self.pool(self.block1(images))
        x = self.block3(self.block2(x))
        logits = self.head(self.gap(x)).flatten(1)
        return F.log_softmax(logits, dim=1)


def names() -> list[str]:
    """Names of the networks that `build` knows."""
    classes = inspect.getmembers(sys.modules[__name__], inspect.isclass)
    return [
        name for name, cls in classes if issubclass(cls, nn.Module) and cls.__module__ == __name__
    ]


def build(name: str) -> nn.Module:
    """Return a freshly initialised network. Raises InputError for an unknown name."""
    if name not in names():
        raise InputError(f"model={name!r} is unknown; choose from {', '.join(names())}")
    return getattr(sys.modules[__name__], name)()
