from itertools import pairwise

import pytest
import torch
from torch import nn

from mnist_utils import models
from mnist_utils.errors import InputError


def test_model3_is_the_source_s_net_counted_by_hand():
    channels = [1, 10, 10, 10, 10, 10, 10, 12]
    by_hand = sum(9 * i * o + o for i, o in pairwise(channels))
    by_hand += sum(2 * o for o in channels[1:])  # BatchNorm: a scale and a shift a channel
    by_hand += 12 * 10 + 10
    model, sides = models.build("Model3"), []
    assert by_hand == sum(p.numel() for p in model.parameters()) == 6_016
    leaves = [m for m in model.modules() if not list(m.children())]
    block = ["Conv2d", "ReLU", "BatchNorm2d", "Dropout"]
    kinds = block * 3 + ["MaxPool2d"] + block * 4 + ["AdaptiveAvgPool2d", "Conv2d"]
    assert [type(m).__name__ for m in leaves] == kinds
    assert {m.p for m in leaves if isinstance(m, nn.Dropout)} == {0.05}
    for layer in (m for m in leaves if isinstance(m, nn.Conv2d)):
        assert layer.padding == (0, 0)
        assert layer.bias is not None
        layer.register_forward_hook(lambda layer, _, output: sides.append(output.shape[-1]))
    model(torch.zeros(2, 1, 28, 28))
    assert sides == [26, 24, 22, 9, 7, 5, 3, 1]


def test_every_network_gives_log_probabilities_and_a_gradient_to_every_weight():
    for name in models.NETWORKS:
        torch.manual_seed(0)
        model = models.build(name)
        log_probabilities = model(torch.randn(8, 1, 28, 28))
        assert log_probabilities.shape == (8, 10), name
        assert torch.allclose(log_probabilities.exp().sum(dim=1), torch.ones(8), atol=1e-5), name
        log_probabilities[:, 0].sum().backward()
        for parameter, tensor in model.named_parameters():
            assert tensor.grad is not None, (name, parameter)
            assert tensor.grad.abs().sum() > 0, (name, parameter)
    with pytest.raises(InputError, match="model='Model9' is unknown; choose from .*Model3"):
        models.build("Model9")
