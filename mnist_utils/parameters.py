"""Parameters, multiply-adds and memory of each layer, by the arithmetic one does on paper.

A MAC is one multiplication and one addition; papers that count FLOPs count both, twice as many.
Only convolutions and matrix products are counted: biases, norms and activations add a percent.
"""

import contextlib
import copy
import io
import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import nn

from mnist_utils.errors import InputError
from mnist_utils.layers import Row


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


def formula(products: Iterable[Sequence[int]]) -> str:
    """Write the sum of products as on paper: `10·10·3·3 + 10 = 910`; "" when there is none."""
    products = [tuple(p) or (1,) for p in products]
    text = " + ".join("·".join(f"{n:,}" for n in p) for p in products)
    total = f"{sum(prod(p) for p in products):,}"
    return text if text in ("", total) else f"{text} = {total}"


class Cost(NamedTuple):
    """What one layer holds and computes for one sample."""

    name: str
    kind: str
    parameters: int = 0
    frozen: int = 0  # those of `parameters` that do not require a gradient
    parameter_formula: str = ""
    macs: int = 0
    mac_formula: str = ""
    nbytes: int = 0  # newly written output; 0 for views and in-place layers


def module_costs(model: nn.Module) -> list[Cost]:
    """Parameters by module, without running the network: for one that cannot be read, too.

    A weight that several modules share is counted at the first; buffers, such as BatchNorm's
    running mean, are no parameters. The sum is `sum(p.numel() for p in model.parameters())`.
    """
    seen, costs = set(), []
    for path, module in model.named_modules():
        own = {id(p): p for p in module.parameters(recurse=False) if id(p) not in seen}
        seen |= own.keys()
        if own:
            costs.append(_cost(path, type(module).__name__, own.values()))
    return costs


def costs(model: nn.Module, rows: Sequence[Row]) -> list[Cost]:
    """One cost for each row of `model`, then one for each module whose weights no row used.

    A weight counts at the first row that uses it, so that every column adds up to the whole.
    GoogLeNet's auxiliary classifiers are such unused modules: they run in training only.
    """
    parameters = dict(model.named_parameters())
    found = [
        _cost(row.name, row.kind, [parameters.pop(name) for name in row.parameters], row)
        for row in rows
    ]
    modules, left = dict(model.named_modules()), {}
    for name, p in parameters.items():
        left.setdefault(name.rpartition(".")[0], []).append(p)
    return found + [_cost(path, type(modules[path]).__name__, own) for path, own in left.items()]


def _cost(name: str, kind: str, parameters: Iterable[nn.Parameter], row: Row | None = None) -> Cost:
    parameters, products = list(parameters), row.products if row else ()
    return Cost(
        name,
        kind,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if not p.requires_grad),
        formula(p.shape for p in parameters),
        sum(prod(p) for p in products),
        formula(products),
        row.nbytes if row else 0,
    )


def torchsummary_table(model: nn.Module, input_shape: Sequence[int]) -> str:
    """The table of torchsummary 1.5.1, taken so that it leaves `model` and the random state alone.

    By itself it runs a forward pass in training mode, which moves BatchNorm's statistics. It
    counts a module once for each call, however often its weights are shared, and overlooks a
    bare `nn.Parameter`; `torchsummary_total` reads its total.
    """
    from torchsummary import summary

    twin, printed = copy.deepcopy(model).float().cpu().eval(), io.StringIO()
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(printed):
            summary(twin, tuple(input_shape), device="cpu")
    except Exception as error:
        raise InputError(f"torchsummary cannot read {type(model).__name__}: {error}") from error
    return printed.getvalue()


def torchsummary_total(table: str) -> int:
    """The `Total params` that a torchsummary table ends with."""
    return int(re.search(r"Total params: ([\d,]+)", table)[1].replace(",", ""))
