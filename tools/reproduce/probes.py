"""What each layer of the stored networks says by itself, in means of its maps; nothing is trained.

Command line: `python -m tools.reproduce.probes` writes `results/probes.json`, some minutes.
A linear probe reads a layer's maps averaged, as GAP does, or averaged in a 3×3 grid: what it gains
by the grid is what averaging throws away. Fitted on the first 20,000 training digits and asked
about the last 5,000. The networks of `recipes` were trained on these as well, those of `ablations`
and `cut` were not.
"""

import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classroom.factorial import TOO_LARGE
from mnist_utils import command, data, results
from mnist_utils.explain import output_of
from mnist_utils.files import RESULTS, write_atomically

LONG = f"cut/{next(iter(TOO_LARGE))}"  # its fields run to 60 pixels
_BLOCKS = {"stem": 6, "blocks.0": 10, "blocks.1": 14, "blocks.2": 18, "blocks.3": 22}
# Network -> its layers and the receptive field of each.
LAYERS = {
    "recipes/reference": {
        "block1.0": 3, "block1.1": 5, "block1.2": 7, "pool": 8,
        "block2.0": 12, "block2.1": 16, "block2.2": 20, "block3": 24,
    },
    "recipes/small": _BLOCKS, "recipes/course": _BLOCKS, "recipes/best": _BLOCKS,
    "ablations/course": _BLOCKS,
    LONG: {
        "2": 5, "3": 6, "6": 10, "9": 14, "12": 18, "13": 20,
        "16": 28, "19": 36, "22": 44, "25": 52, "28": 60,
    },
}  # fmt: skip
SEEDS = {"recipes/course": 3, "ablations/course": 3, LONG: 3}  # of the others one
FITTED, ASKED = 20_000, 5_000  # digits


@torch.no_grad()
def means_of(model: nn.Module, images: Tensor, layer: str, grid: int = 1) -> Tensor:
    """(N, channels · grid²): the means of a layer's maps, each cut into `grid` × `grid` parts."""
    chunks = [output_of(model, chunk, layer) for chunk in images.split(1000)]
    return torch.cat([F.adaptive_avg_pool2d(chunk, grid).flatten(1) for chunk in chunks])


def linear_probe(features: Tensor, labels: Tensor) -> nn.Module:
    """A linear classifier fitted to features (N, D) and labels (N,): what they say by themselves.

    Logistic regression on standardised features, by L-BFGS, with a weight decay of 0.0001 (Alain
    and Bengio 2016); where a layer's probe is no better than the one before, the layer adds
    nothing (Richter et al. 2021).
    """
    norm = nn.BatchNorm1d(features.size(1), affine=False, momentum=None)
    norm(features)  # its mean and deviation are those of the features
    linear = nn.Linear(features.size(1), int(labels.max()) + 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    inputs = norm.eval()(features)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(linear(inputs), labels) + 1e-4 * linear.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return nn.Sequential(norm, linear).eval()


def probes(name: str, seed: int) -> list[dict]:
    """A row for each layer: its field, its channels, and the accuracy of both probes."""
    network, split = results.network(name, seed=seed), data.load(train=True)
    parts = [split.take(slice(FITTED)), split.take(slice(-ASKED, None))]
    images = [data.standardize(part.images) for part in parts]
    rows = []
    for layer, field in LAYERS[name].items():
        row = {"name": name, "seed": seed, "layer": layer, "field": field}
        for reading, grid in (("mean", 1), ("grid", 3)):
            fitted, asked = (means_of(network, some, layer, grid) for some in images)
            answers = linear_probe(fitted, parts[0].labels)(asked).argmax(1)
            row |= {"channels": fitted.size(1) // grid**2}
            row |= {reading: (answers == parts[1].labels).double().mean().item()}
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    rows = [
        row for name in LAYERS for seed in range(SEEDS.get(name, 1)) for row in probes(name, seed)
    ]
    write_atomically(RESULTS / "probes.json", json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    command.run(main)
