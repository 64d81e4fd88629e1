"""What is to be known of a submitted network before it is trained: size, fields, likeness."""

import hashlib

import torch
from torch import nn

from mnist_utils.describe import describe
from mnist_utils.errors import InputError, first_line
from mnist_utils.grade.rebuild import Network, Rebuilt, rebuild

KINDS = {
    "Conv2d": "conv", "MaxPool2d": "pool", "AvgPool2d": "pool", "max_pool2d": "pool",
    "avg_pool2d": "pool", "boolean_dispatch": "pool", "AdaptiveAvgPool2d": "mean",
    "AdaptiveMaxPool2d": "mean", "adaptive_avg_pool2d": "mean", "mean": "mean",
}  # fmt: skip


def fingerprint(network: Rebuilt) -> str:
    """The same for networks that compute the same, whatever their layers are called.

    Layers get their weights in the order of their use, and what comes out is compared.
    """
    used = dict.fromkeys(call.what for call in network.calls if isinstance(call.what, int))
    torch.manual_seed(0)
    for number in used:
        if hasattr(network.layers[number], "reset_parameters"):
            network.layers[number].reset_parameters()
    digits = torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        found = torch.cat([network.train()(digits), network.eval()(digits)]).double()
    text = " ".join(f"{value:.4g}" for value in found.flatten().tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def windows(network: nn.Module) -> dict:
    """Row before the first layer, and each convolution and pool: window, kind, right row, name.

    Those that still find more than one unit to read: the head after a global mean is left out.
    """
    lines = describe(network, (1, 28, 28)).rows
    by_name, image, found = {line.name: line for line in lines}, [28, 1, 1, 0.0], []
    for line in lines:
        if line.container or line.kind not in KINDS or not line.output_shape:
            continue
        before = by_name.get(line.inputs[0]) if line.inputs else None
        size = before.output_shape[-1] if before else 28
        if size == 1:
            continue
        if not found and before:
            image = [size, *_first(before, "receptive_field", "jump", "start")]
        kind = KINDS[line.kind]
        window = [size, size, 0, 1]  # of a mean over the whole map
        if kind != "mean":
            window = _first(line, "kernel_size", "stride", "padding", "dilation")
        row = [line.output_shape[-1] if len(line.output_shape) > 2 else 1]
        row += _first(line, "receptive_field", "jump", "start")
        found.append([window, kind, row, line.name])
    return {"image": image, "windows": found}


def _first(line, *names) -> list:
    values = [getattr(line, name) for name in names]
    return [value[0] if isinstance(value, (list, tuple)) else value for value in values]


def examine(described: dict) -> dict:
    """Each model's networks: parameters, fingerprint and windows, or why there is none."""
    found = {}
    for model, description in described.items():
        try:
            if "error" in description:
                raise InputError(str(description["error"])[:600])
            network = rebuild(description)
            found[model] = _about(network) | {"description": _nameless(description)}
        except InputError as error:
            found[model] = {"error": str(error)}
        except Exception as error:
            found[model] = {"error": f"could not be read: {first_line(error)}"}
    return found


def _about(network: Network) -> dict:
    about = windows(network.module)
    for window in about["windows"]:
        _, _, number = window[3].partition("layers.")
        window[3] = network.names[int(number)] if number.isdecimal() else window[3]
    weights = sum(p.numel() for p in network.module.parameters())
    counts = {"parameters": weights + network.numbers, "numbers": network.numbers}
    return counts | about | {"fingerprint": fingerprint(network.module)}


def _nameless(description: dict) -> dict:
    """A description whose layers are called by their numbers: the same for copies."""
    names = {name: str(number) for number, name in enumerate(description["layers"])}
    calls = [
        [{"layer": names[what["layer"]]} if isinstance(what, dict) else what, *given]
        for what, *given in description["calls"]
    ]
    layers = {names[name]: about for name, about in description["layers"].items()}
    return description | {"calls": calls, "layers": layers}
