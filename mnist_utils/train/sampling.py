"""Hard-example sampling: after the first epoch, a part of the digits, the hard ones preferred.

A digit that is read well teaches little: its gradient is nearly nothing, and costs as much as any.
"""

import torch
from torch import Tensor

from mnist_utils.config import TrainConfig


def epoch_sizes(digits: int, config: TrainConfig) -> list[int]:
    """How many of `digits` each epoch sees: all in the first, the configured share later."""
    part = max(1, round(config.share * digits))
    return [digits] + [part] * (config.epochs - 1)


def draw(losses: Tensor, size: int, power: float, generator: torch.Generator) -> Tensor:
    """Indices `(size,)` in random order, drawn without replacement by the losses `(N,)`.

    A digit's weight is its last loss, plus a tenth of the mean so that none is forgotten, to
    `power`. Exponential waiting times over weights arrive in such an order (Efraimidis & Spirakis
    2006).
    """
    order = torch.randperm(size, generator=generator).to(losses.device)
    if size == len(losses):
        return order
    weights = (losses + losses.mean() / 10) ** power
    waiting = torch.empty(len(losses)).exponential_(generator=generator).to(losses.device)
    return (waiting / weights).topk(size, largest=False).indices[order]
