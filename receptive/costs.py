"""Parameters, multiply-adds and memory of each row, written as on paper.

Only convolutions and matrix products are counted: biases, norms and activations add a percent.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

from torch import nn

from receptive.rows import Row


def formula(products: Iterable[Sequence[int]]) -> str:
    """Write the sum of products as on paper: `10·10·3·3 + 10 = 910`; "" when there is none."""
    products = [tuple(p) or (1,) for p in products]
    text = " + ".join("·".join(f"{n:,}" for n in p) for p in products)
    total = f"{sum(prod(p) for p in products):,}"
    return text if text in ("", total) else f"{text} = {total}"


class Cost(NamedTuple):
    """What one layer holds and computes for one sample; the columns of `table.Line`."""

    name: str
    kind: str
    parameters: int = 0
    frozen: int = 0  # those of `parameters` that do not require a gradient
    parameter_formula: str = ""
    macs: int = 0
    mac_formula: str = ""
    activation_bytes: int = 0  # newly written output; 0 for views and in-place layers


def costs(model: nn.Module, rows: Sequence[Row]) -> tuple[list[Cost], list[Cost]]:
    """One cost for each row of `model`, and one for each module whose weights no row used.

    A weight counts at the first row that uses it, so that every column adds up to the whole.
    GoogLeNet's auxiliary classifiers are such unused modules: they run in training only.
    """
    parameters = dict(model.named_parameters())
    by_row = [
        _cost(row.name, row.kind, map(parameters.pop, row.parameters), row.products, row.nbytes)
        if row.shown
        else Cost("", "")
        for row in rows
    ]
    modules, left = dict(model.named_modules()), {}
    for name, p in parameters.items():
        left.setdefault(name.rpartition(".")[0], []).append(p)
    unused = [_cost(path, type(modules[path]).__name__, own) for path, own in left.items()]
    return by_row, unused


def _cost(name: str, kind: str, parameters: Iterable, products=(), nbytes: int = 0) -> Cost:
    parameters = list(parameters)
    count = sum(p.numel() for p in parameters)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    macs, on_paper = sum(map(prod, products)), formula(p.shape for p in parameters)
    return Cost(name, kind, count, frozen, on_paper, macs, formula(products), nbytes)
