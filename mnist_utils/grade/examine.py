"""A submitted network behind the wall: its size, fields and likeness, and one training of it."""

import hashlib
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils import data, models
from mnist_utils.config import TrainConfig
from mnist_utils.describe import describe
from mnist_utils.errors import InputError, first_line
from mnist_utils.evaluate import predict
from mnist_utils.grade.rebuild import Rebuilt, rebuild

KINDS = {
    "Conv2d": "conv", "MaxPool2d": "pool", "AvgPool2d": "pool", "max_pool2d": "pool",
    "avg_pool2d": "pool", "boolean_dispatch": "pool", "AdaptiveAvgPool2d": "mean",
    "AdaptiveMaxPool2d": "mean", "adaptive_avg_pool2d": "mean", "mean": "mean",
}  # fmt: skip


def fingerprint(network: Rebuilt) -> str:
    """The same for networks that compute the same, whatever their layers are called.

    Layers get their weights in the order of their use, and what comes out is compared.
    """
    torch.manual_seed(0)
    for number in dict.fromkeys(call.what for call in network.calls if isinstance(call.what, int)):
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
            image = [size, *_first(before.receptive_field, before.jump, before.start)]
        kind, window = KINDS[line.kind], [size, size, 0, 1]  # of a mean over the whole map
        if kind != "mean":
            window = _first(line.kernel_size, line.stride, line.padding, line.dilation)
        row = [line.output_shape[-1] if len(line.output_shape) > 2 else 1]
        row += _first(line.receptive_field, line.jump, line.start)
        found.append([window, kind, row, line.name])
    return {"image": image, "windows": found}


def _first(*values) -> list:
    return [value[0] if isinstance(value, (list, tuple)) else value for value in values]


def examine(described: dict) -> dict:
    """Each model's networks: parameters, fingerprint and windows, or why there is none."""
    found = {}
    for model, description in described.items():
        try:
            if "error" in description:
                raise InputError(str(description["error"])[:600])
            found[model] = _about(description)
        except InputError as error:
            found[model] = {"error": str(error)}
        except Exception as error:
            found[model] = {"error": f"could not be read: {first_line(error)}"}
    return found


def _about(description: dict) -> dict:
    network, names, numbers = rebuild(description)
    about = windows(network)
    for window in about["windows"]:
        number = window[3].removeprefix("layers.")
        window[3] = names[int(number)] if number.isdecimal() else window[3]
    weights = sum(p.numel() for p in network.parameters())
    about |= {"parameters": weights + numbers, "numbers": numbers, "description": description}
    return about | {"fingerprint": fingerprint(network)}


class Classifier(nn.Module):
    """A network with log-probabilities as its output, whether it gives logits or these."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.network(images), dim=1)


def judged_alone(network: nn.Module, images: Tensor) -> bool:
    """Whether a digit's answer is its own: the same in a batch and alone."""
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
        return torch.allclose(network(images), alone, atol=1e-3)


def train_once(job: dict) -> dict:
    """Train a description's network; its answers to validation digits, and to test digits.

    Raises
    ------
    InputError
        The network cannot be trained, or answers for a batch instead of a digit.
    """
    from mnist_utils.train import train

    models.NETWORKS["submission"] = lambda: Classifier(rebuild(job["description"]).module)
    settings = TrainConfig.from_dict(job["settings"] | {"model": "submission"})
    with tempfile.TemporaryDirectory() as folder:
        run = train(settings, Path(folder))
    network = run.evaluated.eval()
    validation = data.load(train=True).images[-settings.validation :]
    if not judged_alone(network, data.standardize(validation[:32])):
        raise InputError("its answer for a digit depends on the other digits of the batch")
    found = {
        "accuracies": [row["held_out_accuracy"] for row in run.history],
        "validation": predict(network, validation).argmax(1).tolist(),
    }
    if job["test"]:
        found["test"] = predict(network, data.images(train=False)).argmax(1).tolist()
    return found
