"""Networks as rows: what a notation means, what a row may hold, and what is refused."""

import pytest
import torch
from torch import nn

from mnist_utils import chains, models
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.train import train
from mnist_utils.weights import load_network


def test_a_notation_is_the_network_that_one_writes_by_hand():
    by_hand = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(24, 8, 3, padding=1, dilation=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 10, 1), nn.Flatten(), nn.LogSoftmax(dim=1),
    )  # fmt: skip
    assert str(models.build("16C5s2-MP3s2p1-24C3p1-AP2-8C3p1d2")) == str(by_hand)
    assert models.build("16C5")(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_what_is_no_network_is_refused_and_a_row_that_does_not_fit_says_why():
    for name, said in (
        ("16C5-MP", "model='16C5-MP' is unknown"),
        ("", "model='' is unknown"),
        ("16C29", "row 1: a window of 29 does not fit a map of 28"),
        ("8C3-MP0", "row 4: k cannot be 0"),
        ("8C3-MP2d2", "row 4: maxpool has no d"),
        ("8C15d2", "row 1: a window of 29 does not fit a map of 28"),
        ("9999C3", "row 1: out cannot be 9999"),
    ):
        with pytest.raises(InputError, match=said):
            models.build(name)
    for rows, said in (
        ([{"kind": "lstm"}], "row 1: 'lstm' is not a layer here; there are conv, norm"),
        ([{"kind": "relu", "k": 3}], "row 1: relu has no k"),
        ([{"kind": "conv", "k": 2.5}], "row 1: k cannot be 2.5"),
        ([{"kind": "conv", "groups": 3}], "row 1: 3 groups do not divide 1 and 16"),
        ([{"kind": "maxpool", "p": 2}], "row 1: padding of 2 is more than half of a window of 2"),
        ([{"kind": "linear"}, {"kind": "norm"}], "row 2: norm needs a map"),
        ([{"kind": "pad", "p": -14}], "row 1: a window of 1 does not fit a map of 0"),
        ([{"kind": "dropout", "rate": 1.0}], "row 1: rate cannot be 1.0"),
    ):
        with pytest.raises(InputError, match=said):
            chains.build(rows)


def test_a_chain_is_trained_by_its_notation_and_read_back(tmp_path):
    small = {"subset": 320, "validation": 320, "augmentation": "none"}
    train(TrainConfig(model="4C5-MP2-4C3", epochs=1, **small), tmp_path / "run")
    network = load_network(tmp_path / "run" / "model.safetensors")
    assert sum(p.numel() for p in network.parameters()) == 4 * 25 + 8 + 4 * 4 * 9 + 8 + 50
