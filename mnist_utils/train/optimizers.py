"""Who takes the steps, and how far: Adam, Muon, and the schedule of their rates."""

import math

import torch
from torch import Tensor, nn

from mnist_utils.config import TrainConfig


def choose_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Adam for all parameters; or Muon for filters that mix channels, the head's apart."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    filters = [c.weight for c in convolutions[:-1] if c.groups == 1] if config.muon else []
    rest = [p for p in model.parameters() if all(p is not filter for filter in filters)]
    result = [torch.optim.AdamW(rest, config.lr, weight_decay=config.weight_decay, foreach=True)]
    if filters:
        result.append(Muon(filters, config.muon))
    for optimizer in result:
        optimizer.param_groups[0]["peak"] = optimizer.param_groups[0]["lr"]
    return result


def schedule(step: int, total: int, config: TrainConfig) -> float:
    """The learning rate of a step, counted from 0, of `total` steps, as a share of its peak."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return 1.0 if step < total / 2 else 0.1 if step < total * 3 / 4 else 0.01
    warmup = config.warmup * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal, for filters `(out, in, height, width)` as matrices of `out` rows.

    A gradient often has a few directions that outweigh the others. Muon sets its singular values to
    about 1, so that a step goes equally far along all (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/). `torch.optim.Muon` takes matrices alone, one after
    the other; here all filters of one shape share each product.
    """

    def __init__(self, filters: list[Tensor], lr: float, momentum: float = 0.9):
        super().__init__(filters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape = {}
            for filter in group["params"]:
                by_shape.setdefault((len(filter), filter[0].numel()), []).append(filter)
            for (rows, columns), filters in by_shape.items():
                updates = [self._momentum(filter, group["momentum"]) for filter in filters]
                updates = orthogonal(torch.stack(updates).view(-1, rows, columns))
                rate = group["lr"] * max(1, rows / columns) ** 0.5
                for filter, update in zip(filters, updates, strict=True):
                    filter.sub_(update.view(filter.shape), alpha=rate)

    def _momentum(self, filter: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the gradient, and the momentum that it has already joined."""
        state, gradient = self.state[filter], filter.grad.contiguous()
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        return gradient + momentum * state["momentum"].mul_(momentum).add_(gradient)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices `(N, rows, columns)` whose singular values are about 1.

    Newton-Schulz: x ← a·x + (b·s + c·s²)·x with s = x·xᵀ is a polynomial of each singular value
    that draws 0..1 towards 1. Five times bring what exceeds 0.01 to between 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
