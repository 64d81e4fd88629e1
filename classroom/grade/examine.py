"""A submitted network behind the wall: its size, fields and likeness, and one training of it."""

import hashlib
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

import receptive
from classroom.grade.rebuild import Rebuilt, rebuild
from mnist_utils import data, models
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError, first_line
from mnist_utils.evaluate import predict
from receptive import describe

KINDS = {
    "Conv2d": "conv", "MaxPool2d": "pool", "AvgPool2d": "pool", "max_pool2d": "pool",
    "avg_pool2d": "pool", "boolean_dispatch": "pool", "AdaptiveAvgPool2d": "mean",
    "AdaptiveMaxPool2d": "mean", "adaptive_avg_pool2d": "mean", "mean": "mean",
}  # fmt: skip


def fingerprint(network: Rebuilt) -> str:
    """The same for networks that compute the same, whatever their layers are called.

    All parameters and buffers get random values, in the order in which the layers are used, and
    the log-probabilities are compared, their number of weights, and the rates of dropout. What
    does not reach the result does not count.
    """
    live, calls = _places(network.result), []
    for number, call in reversed([*enumerate(network.calls, start=1)]):
        if number in live:
            calls.insert(0, call)
            live |= _places([call.args, call.kwargs])
    layers = [*dict.fromkeys(call.what for call in calls if isinstance(call.what, int))]
    drops = [network.layers[n].p for n in layers if isinstance(network.layers[n], _DropoutNd)]
    drops += [call.kwargs["p"] for call in calls if "p" in call.kwargs]
    random, count = torch.Generator().manual_seed(0), 0
    for number in layers:
        for tensor in network.layers[number].state_dict().values():
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=random)
                tensor.copy_(values / max(1, tensor[:1].numel()) ** 0.5)
        for name, tensor in network.layers[number].named_buffers():
            if name == "running_var":
                tensor.abs_().add_(0.5)
        count += sum(p.numel() for p in network.layers[number].parameters())
    with torch.no_grad():
        digits = torch.randn(4, 1, 28, 28, generator=random, dtype=torch.double)
        log_probabilities = F.log_softmax(network.double().eval()(digits), dim=1)
    network.float()
    text = [
        count,
        *sorted(f"{rate:.1f}" for rate in drops if rate >= 0.05),
        *log_probabilities.flatten(),
    ]
    text = " ".join(one if isinstance(one, str) else f"{one:.3g}" for one in text)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _places(written) -> set[int]:
    """The results of calls that a value speaks of."""
    if isinstance(written, dict) and "place" in written:
        return {written["place"][0]}
    parts = written.values() if isinstance(written, dict) else written
    return set().union(*map(_places, parts)) if isinstance(written, dict | list) else set()


def windows(network: nn.Module) -> dict:
    """Row before the first layer, and each convolution and pool: window, kind, right row, name.

    Those that still find more than one unit to read: the head after a global mean is left out.
    """
    lines = describe(network, (1, 28, 28)).rows
    by_name, image, windows = {line.name: line for line in lines}, [28, 1, 1, 0.0], []
    for line in lines:
        if line.container or line.kind not in KINDS or not line.output_shape:
            continue
        before = by_name.get(line.inputs[0]) if line.inputs else None
        size = before.output_shape[-1] if before else 28
        if size == 1:
            continue
        if not windows and before:
            image = [size, *_first(before.receptive_field, before.jump, before.start)]
        kind, window = KINDS[line.kind], [size, size, 0, 1]  # of a mean over the whole map
        if kind != "mean":
            window = _first(line.kernel_size, line.stride, line.padding, line.dilation)
        row = [line.output_shape[-1] if len(line.output_shape) > 2 else 1]
        row += _first(line.receptive_field, line.jump, line.start)
        windows.append([window, kind, row, line.name])
    return {"image": image, "windows": windows}


def _first(*values) -> list:
    return [value[0] if isinstance(value, (list, tuple)) else value for value in values]


def examine(described: dict) -> dict:
    """Each model's networks: parameters, fingerprint and windows, or why there is none."""
    networks = {}
    for model, description in described.items():
        try:
            if "error" in description:
                raise InputError(str(description["error"])[:600])
            networks[model] = _about(description)
        except (InputError, receptive.InputError) as error:
            networks[model] = {"error": str(error)}
        except Exception as error:
            networks[model] = {"error": f"could not be read: {first_line(error)}"}
    return networks


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
    trained = {
        "accuracies": [row["held_out_accuracy"] for row in run.history],
        "validation": predict(network, validation).argmax(1).tolist(),
    }
    if job["test"]:
        trained["test"] = predict(network, data.images(train=False)).argmax(1).tolist()
    return trained
