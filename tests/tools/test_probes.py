"""The stored probes: whole, of the fields that `describe` gives, and what a second fit gives."""

import json

import pytest

from mnist_utils import results
from mnist_utils.files import RESULTS
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
