from itertools import pairwise

import pytest
import torch
from torch import nn

from mnist_utils import models
from mnist_utils.errors import InputError

# Sides of the maps after the seven 3×3 convolutions, worked out by hand.
MAPS = [26, 24, 22, 9, 7, 5, 3]


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def test_model3_has_6016_parameters_counted_by_hand():
    channels = [1, 10, 10, 10, 10, 10, 10, 12]
    by_hand = sum(9 * i * o + o for i, o in pairwise(channels))
    by_hand += sum(2 * o for o in channels[1:])  # BatchNorm: a scale and a shift a channel
    by_hand += 12 * 10 + 10
    model = models.build("Model3")
    assert by_hand == sum(p.numel() for p in model.parameters()) == 6_016


def test_model3_maps_shrink_as_its_comments_say():
    model, sides = models.build("Model3"), []
    for layer in convolutions(model):
        layer.register_forward_hook(lambda layer, _, output: sides.append(output.shape[-1]))
    model(torch.zeros(2, 1, 28, 28))
    assert sides == [*MAPS, 1]


def test_model3_is_the_source_s_net():
    model = models.build("Model3")
    kinds = [type(m).__name__ for m in model.modules() if not list(m.children())]
    block = ["Conv2d", "ReLU", "BatchNorm2d", "Dropout"]
    head = ["AdaptiveAvgPool2d", "Conv2d"]
    assert kinds == block * 3 + ["MaxPool2d"] + block * 4 + head
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.05}
    assert all(layer.padding == (0, 0) and layer.bias is not None for layer in convolutions(model))


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_network_gives_log_probabilities_and_a_gradient_to_every_weight(name):
    torch.manual_seed(0)
    model = models.build(name)
    log_probabilities = model(torch.randn(8, 1, 28, 28))
    assert log_probabilities.shape == (8, 10)
    assert torch.allclose(log_probabilities.exp().sum(dim=1), torch.ones(8), atol=1e-5)
    log_probabilities[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_an_unknown_network_is_named_with_those_that_exist():
    with pytest.raises(InputError, match="model='Model9' is unknown; choose from .*Model3"):
        models.build("Model9")
