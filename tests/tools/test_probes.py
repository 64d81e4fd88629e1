"""The stored probes: whole, of the fields that `describe` gives, and what a second fit gives."""

import json

import pytest
import torch
from torch import nn

from mnist_utils import data, results
from mnist_utils.files import RESULTS
from mnist_utils.models import Model3
from receptive import describe
from tools.reproduce import probes

STORED = json.loads((RESULTS / "probes.json").read_text())


def test_every_layer_of_every_network_is_stored_with_the_field_that_describe_gives():
    whole = [
        (name, seed, layer)
        for name, layers in probes.LAYERS.items()
        for seed in range(probes.SEEDS.get(name, 1))
        for layer in layers
    ]
    assert [(row["name"], row["seed"], row["layer"]) for row in STORED] == whole
    for name, fields in probes.LAYERS.items():
        rows = describe(results.network(name))
        assert {layer: rows[layer].receptive_field for layer in fields} == fields, name


def test_a_probe_fitted_again_says_the_same(monkeypatch):
    monkeypatch.setattr(probes, "LAYERS", {"recipes/small": {"blocks.3": 22}})
    (row,) = probes.probes("recipes/small", 0)
    (stored,) = (r for r in STORED if (r["name"], r["layer"]) == ("recipes/small", "blocks.3"))
    for reading in ("mean", "grid"):
        assert row[reading] == pytest.approx(stored[reading], abs=0.001)


def test_a_probe_finds_what_is_linear_and_a_grid_what_a_mean_throws_away(test_split):
    """A pixel lit left or right: the mean over the map is the same, that of its halves is not."""
    labels = torch.arange(400) % 2
    images = torch.zeros(400, 1, 6, 6)
    images[torch.arange(400), 0, torch.arange(400) % 6, 5 * labels] = 1.0
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    nn.init.ones_(model[0].weight)
    found = {}
    for grid in (1, 3):
        features = probes.means_of(model, images, "1", grid)
        assert features.shape == (400, 2 * grid**2)
        answers = probes.linear_probe(features, labels)(features).argmax(1)
        found[grid] = (answers == labels).double().mean().item()
    assert found == {1: 0.5, 3: 1.0}
    model, digits = Model3().eval(), data.standardize(test_split.images[:50])
    maps = model.block3(model.block2(model.pool(model.block1(digits))))
    assert torch.allclose(probes.means_of(model, digits, "block3"), maps.mean((2, 3)), atol=1e-5)
