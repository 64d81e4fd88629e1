"""The assignment: three networks for digits, each with fewer than 8,000 parameters.

Each takes standardised digits `(N, 1, 28, 28)` and returns ten numbers a digit, `(N, 10)`: logits or
log-probabilities. Use PyTorch's layers; your code describes the networks, and the grader builds them
again from these and trains them. Weights of your own stay behind.
"""

from torch import Tensor, nn


class Model1(nn.Module):
    """A skeleton that learns. Its idea: …"""

    def __init__(self):
        super().__init__()
        raise NotImplementedError("write Model1")

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError("write Model1")


class Model2(nn.Module):
    """What it changes in Model1: …"""

    def __init__(self):
        super().__init__()
        raise NotImplementedError("write Model2")

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError("write Model2")


class Model3(nn.Module):
    """What it changes in Model2: …"""

    def __init__(self):
        super().__init__()
        raise NotImplementedError("write Model3")

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError("write Model3")
