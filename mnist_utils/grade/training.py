"""One training of a submitted network, in a process of its own; no line of the student's runs here.

`python -m mnist_utils.grade.training JOB.JSON OUT.JSON`.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils import data, models
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.files import write_atomically
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


def measure(job: dict) -> dict:
    """Train a description's network once; validation by epoch, the test digits once, at the end.

    Raises
    ------
    InputError
        The network cannot be trained, or answers for a batch instead of a digit.
    """
    models.NETWORKS["submission"] = lambda: Classifier(rebuild(job["description"]))
    settings = TrainConfig.from_dict(job["settings"] | {"model": "submission"})
    with tempfile.TemporaryDirectory() as folder:
        run = train(settings, Path(folder))
    network, test = run.evaluated.eval(), data.load(train=False)
    if not judged_alone(network, data.standardize(test.images[:32])):
        raise InputError("its answer for a digit depends on the other digits of the batch")
    result = evaluate(network, test)
    return {
        "epochs": run.history,
        "test_errors": result.n_errors,
        "mistakes": result.mistakes.tolist(),
    }


def main() -> None:
    job, out = (Path(name) for name in sys.argv[1:])
    try:
        found = measure(json.loads(job.read_text()))
    except InputError as error:
        found = {"error": str(error)}
    write_atomically(out, json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
