"""How far a network's confidence can be believed (Guo et al. 2017)."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_utils.evaluate import Evaluation, wilson_interval


class Bin(NamedTuple):
    """The predictions whose confidence lies in [low, high), and what became of them."""

    low: float
    high: float
    count: int
    confidence: float  # mean, fraction; nan where the bin is empty
    accuracy: float  # fraction; nan where the bin is empty
    interval: tuple[float, float]  # Wilson's 95%, of the accuracy; nan where the bin is empty


def reliability(result: Evaluation, edges: tuple[float, ...]) -> list[Bin]:
    """Sort predictions into bins of confidence; the last bin includes its upper edge."""
    bins = []
    for low, high in pairwise(edges):
        inside = (result.confidence >= low) & (result.confidence < high)
        if high == edges[-1]:
            inside |= result.confidence >= high
        right = (result.predictions == result.labels)[inside].double()
        confidence = result.confidence[inside].double().mean().item()
        wrong, n = int((right == 0).sum()), len(right)
        interval = wilson_interval(wrong, n) if n else (math.nan, math.nan)
        bins.append(Bin(low, high, n, confidence, right.mean().item(), interval))
    return bins


def fit_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The temperature that minimises the loss of `log_probabilities / T`, on held-out data.

    Above 1 the network is too sure of itself, below 1 not sure enough. It changes no prediction.
    """
    log_temperature = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")
    log_probabilities = log_probabilities.double()

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(log_probabilities / log_temperature.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return log_temperature.exp().item()


def at_temperature(result: Evaluation, temperature: float) -> Evaluation:
    """The same predictions with confidences softened (T > 1) or sharpened (T < 1)."""
    return Evaluation((result.log_probabilities / temperature).log_softmax(dim=1), result.labels)
