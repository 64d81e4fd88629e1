"""Networks as rows (`mnist_utils.chains`), and rows with their numbers, by `describe`."""

from base64 import b64encode

import numpy as np
from torch import nn

from mnist_utils import chains
from mnist_utils.errors import InputError
from receptive import Line, describe

_POOLS = {"MaxPool2d": "maxpool", "max_pool2d": "maxpool"}
_POOLS |= {"AvgPool2d": "avgpool", "avg_pool2d": "avgpool"}
_SKIPPED = {"Identity", "Flatten", "flatten", "view", "reshape", "squeeze", "LogSoftmax"}
_SKIPPED |= {"log_softmax", "Softmax", "softmax"}


def numbers(rows: list[dict]) -> list[dict]:
    """What `describe` says of each row: map, field, jump, start, parameters, multiply-adds.

    Raises
    ------
    InputError
        A row that does not fit; see `chains.build`.
    """
    network = chains.build(rows)
    table = describe(network) if rows else None
    lines = [table[f"{i}.1" if r["kind"] == "linear" else str(i)] for i, r in enumerate(rows)]
    return [_numbers(line) for line in lines]


def _numbers(line: Line) -> dict:
    shape = line.output_shape
    return {
        "channels": shape[0],
        "side": shape[1] if len(shape) == 3 else 0,
        "field": line.receptive_field,
        "jump": line.jump,
        "start": line.start,
        "parameters": line.parameters,
        "macs": line.macs,
        "pixels": line.pixels_read,  # [read, of the box] by a middle unit, if it has holes
    }


def rows_of(network: nn.Module) -> list[dict]:
    """The rows of a network that is a chain, as `describe` follows it; a class or a Sequential.

    Raises
    ------
    InputError
        Branches, or a layer that the lab does not have; the message names it.
    """
    return [row for row, module in _layers(network)]


def weights_of(network: nn.Module) -> np.ndarray:
    """The weights of a chain, float32, row by row in the order of lab.js's `tensorSizes`."""
    tensors = []
    for row, module in _layers(network):
        if row["kind"] == "norm":
            ones = np.ones(module.num_features, np.float32)
            scale = ones if module.weight is None else module.weight
            tensors += [scale, module.bias, module.running_mean, module.running_var]
        elif row["kind"] in ("conv", "linear"):
            tensors += [module.weight] + ([] if module.bias is None else [module.bias])
    flat = [t.ravel() if isinstance(t, np.ndarray) else t.detach().numpy().ravel() for t in tensors]
    return np.concatenate([*flat, np.zeros(0, np.float32)]).astype(np.float32)


def base64(array: np.ndarray) -> str:
    """An array's bytes as the page reads them."""
    return b64encode(array.tobytes()).decode()


def _layers(network: nn.Module) -> list[tuple[dict, nn.Module | None]]:
    """Each row, and its module if it has one."""
    modules, before, rows = dict(network.named_modules()), "input", []
    channels, side = 1, 28
    for line in describe(network).rows:
        if line.container or line.status == "not called":
            continue
        if line.inputs != [before]:
            raise InputError(f"{line.name} reads {', '.join(line.inputs)}: not one chain of layers")
        before = line.name
        if line.kind in _SKIPPED:
            continue
        module = modules.get(line.name)
        row = _row(line, module, side)
        if problem := chains.problem_of(row, channels, side):
            raise InputError(f"{line.name}: {problem}")
        channels, side = chains.after(row, channels, side)
        if [channels, side, side][: 3 if side else 1] != line.output_shape:
            raise InputError(f"{line.name}, {line.kind}, gives {line.output_shape}: not square")
        rows.append((row, module))
    return rows


def _row(line: Line, module: nn.Module | None, side: int) -> dict:
    """One line of `describe` as a row of the lab."""
    kind, name = line.kind, line.name
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
        row = {"kind": "conv", "out": module.out_channels, "groups": module.groups}
        return _plain(row | {"bias": module.bias is not None} | _window(line))
    if isinstance(module, nn.BatchNorm2d):
        return {"kind": "norm"}
    if kind in ("ReLU", "relu"):
        return {"kind": "relu"}
    if kind in _POOLS and line.dilation in (1, None):
        window = _window(line)
        window.pop("d", None)
        return {"kind": _POOLS[kind]} | window
    if kind in ("Dropout", "dropout"):
        return {"kind": "dropout", "rate": getattr(module, "p", 0.5)}
    if kind in ("AdaptiveAvgPool2d", "adaptive_avg_pool2d") and line.output_shape[1:] == [1, 1]:
        return {"kind": "gap"}
    if isinstance(module, nn.Linear):
        return {"kind": "linear", "out": module.out_features}
    if kind in ("getitem", "ZeroPad2d") and len(line.output_shape) == 3:
        return {"kind": "pad", "p": (line.output_shape[1] - side) // 2}
    raise InputError(f"{name}, {kind}: the lab has no such layer; it has {', '.join(chains.KINDS)}")


def _window(line: Line) -> dict:
    names = {"k": "kernel_size", "s": "stride", "p": "padding", "d": "dilation"}
    numbers = {short: getattr(line, long) for short, long in names.items()}
    if sides := [v for v in numbers.values() if isinstance(v, list)]:
        raise InputError(f"{line.name}: {sides[0]}: the lab's windows are square")
    return {short: value for short, value in numbers.items() if value is not None}


def _plain(row: dict) -> dict:
    """A row without what has its default."""
    usual = chains.KINDS[row["kind"]]
    return {k: v for k, v in row.items() if k in ("kind", "out", "k") or v != usual[k]}
