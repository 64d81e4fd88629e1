"""torchsummary, asked politely, and where it errs."""

import contextlib

import pytest
import torch
from networks import Sharing
from torch import nn

from classroom.second_opinion import torchsummary_table, torchsummary_total
from mnist_utils.errors import InputError
from mnist_utils.models import Model3


def test_torchsummary_agrees_on_model3_and_leaves_it_alone():
    model = Model3().train()
    state, random = model.block1[0][2].running_mean.clone(), torch.get_rng_state()
    table = torchsummary_table(model, (1, 28, 28))
    assert torchsummary_total(table) == 6_016
    assert "Conv2d-1" in table
    assert torch.equal(state, model.block1[0][2].running_mean)
    assert torch.equal(random, torch.get_rng_state())
    assert model.training
    assert not model.block1[0][0]._forward_hooks


def test_torchsummary_counts_shared_layers_twice_and_bare_parameters_never():
    model = Sharing()
    theirs = torchsummary_total(torchsummary_table(model, (2, 8, 8)))
    assert sum(p.numel() for p in model.parameters()) == 62
    # conv three times (38 + 38 + 38, once as the twin), norm 4; neither scale (2) nor never (16)
    assert theirs == 3 * 38 + 4


def test_torchsummary_itself_moves_the_statistics():
    from torchsummary import summary

    model = nn.Sequential(nn.BatchNorm2d(1))
    with contextlib.redirect_stdout(None):
        summary(model, (1, 8, 8), device="cpu")
    assert model[0].num_batches_tracked > 0


def test_torchsummary_fails_in_one_line():
    with pytest.raises(InputError, match="torchsummary cannot read Model3"):
        torchsummary_table(Model3(), (3, 28, 28))
