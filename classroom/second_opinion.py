"""What torchsummary says of a network, asked so that it leaves the network alone."""

import contextlib
import copy
import io
import re
from collections.abc import Sequence

import torch
from torch import nn

from mnist_utils.errors import InputError


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
