"""One training of a submitted network, and its answers."""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils import data, models
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.evaluate import predict
from mnist_utils.grade.rebuild import rebuild
from mnist_utils.train import train


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
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    return torch.allclose(together, alone, atol=1e-3)


def train_once(job: dict) -> dict:
    """Train a description's network; its answers to validation digits, and to test digits.

    Raises
    ------
    InputError
        The network cannot be trained, or answers for a batch instead of a digit.
    """
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
