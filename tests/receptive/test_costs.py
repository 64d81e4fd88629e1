"""Parameters and MACs: by hand, by `p.numel()`, by torchvision's publications."""

from itertools import pairwise

import pytest
import torch
import torchvision.models as zoo
from networks import Sharing, find
from torch import nn
from torchvision.models.regnet import BlockParams

from mnist_utils.models import Model3
from mnist_utils.parameters import conv2d_macs, conv2d_parameters, linear_parameters
from receptive import read
from receptive.costs import costs, formula


def all_costs(model, rows):
    """Of each row, and of the modules that no row used; of all modules, if there are no rows."""
    by_row, unused = costs(model, rows)
    return [*by_row, *unused]


def build(name):
    """One of torchvision's networks, without values: nothing is initialised."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        widths = BlockParams.from_init_params  # computes RegNet's widths with tensors

        def on_cpu(*args, **kwargs):
            with torch.device("cpu"):
                return widths(*args, **kwargs)

        patch.setattr(BlockParams, "from_init_params", on_cpu)
        return zoo.get_model(name, **options)


def total(costs_, column="parameters"):
    return sum(getattr(cost, column) for cost in costs_)


def numel(model):
    return sum(p.numel() for p in model.parameters())


def test_model3_by_hand():
    channels, maps = [1, 10, 10, 10, 10, 10, 10, 12], [26, 24, 22, 9, 7, 5, 3]
    parameters = sum(conv2d_parameters(i, o, 3) + 2 * o for i, o in pairwise(channels))
    macs = sum(
        conv2d_macs(i, o, 3, n, n) for (i, o), n in zip(pairwise(channels), maps, strict=True)
    )
    model = Model3()
    rows = read(model)
    found = all_costs(model, rows)
    assert parameters + conv2d_parameters(12, 10, 1) == total(found) == 6_016
    assert macs + conv2d_macs(12, 10, 1, 1, 1) == total(found, "macs") == 1_164_180
    second = found[find(rows, "block1.1.0")]
    assert second.parameter_formula == "10·10·3·3 + 10 = 910"
    assert second.mac_formula == "10·10·3·3·24·24 = 518,400"
    assert second.parameters == 910
    assert found[find(rows, "block1.1.2")].parameter_formula == "10 + 10 = 20"
    assert len(found) == len(rows)


def test_activations_are_counted_where_they_are_written():
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten()
    )
    written = [cost.activation_bytes for cost in all_costs(model, read(model))[1:]]
    assert written == [3 * 26 * 26 * 4] * 2 + [0] * 3
    assert all_costs(model.half(), read(model))[1].activation_bytes == 3 * 26 * 26 * 2


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        (nn.Conv2d(4, 6, 3), conv2d_parameters(4, 6, 3)),
        (nn.Conv2d(4, 6, 5, bias=False), conv2d_parameters(4, 6, 5, bias=False)),
        (nn.Conv2d(4, 8, 3, groups=4), conv2d_parameters(4, 8, 3, groups=4)),
        (nn.Linear(7, 5), linear_parameters(7, 5)),
        (nn.Linear(7, 5, bias=False), linear_parameters(7, 5, bias=False)),
    ],
)
def test_layers_by_hand(layer, by_hand):
    assert by_hand == numel(layer) == total(all_costs(layer, []))


def test_formula_of_paper():
    assert formula([(10, 10, 3, 3), (10,)]) == "10·10·3·3 + 10 = 910"
    assert formula([(64, 1_000)]) == "64·1,000 = 64,000"
    assert formula([(7,)]) == "7"
    assert formula([()]) == "1"  # a single number, as GELU's slope might be
    assert formula([]) == ""


@pytest.mark.parametrize("name", zoo.list_models(module=zoo))
def test_parameters_of_every_torchvision_network(name):
    model = build(name)
    assert total(all_costs(model, [])) == numel(model)


READ = [
    *(
        "alexnet",
        "vgg11_bn",
        "resnet34",
        "densenet121",
        "googlenet",
        "inception_v3",
        "mobilenet_v2",
    ),
    *("efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x1_0", "squeezenet1_0", "mnasnet0_5"),
    *("convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"),
]


@pytest.mark.parametrize("name", READ)
def test_rows_hold_every_parameter_once(name):
    model = build(name)
    assert total(all_costs(model, read(model, (3, 224, 224)))) == numel(model)


PUBLISHED = [
    *("alexnet", "vgg16", "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "googlenet"),
    *("inception_v3", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b1", "regnet_x_800mf"),
    *("shufflenet_v2_x1_0", "squeezenet1_1", "mnasnet1_0", "convnext_tiny", "vit_b_32"),
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_as_torchvision_publishes_them(name):
    """torchvision's "GFLOPS" are multiply-adds of convolutions and matrix products, as ours."""
    weights = zoo.get_model_weights(name).IMAGENET1K_V1
    size = weights.transforms.keywords["crop_size"]
    model = build(name)
    macs = total(all_costs(model, read(model, (3, size, size))), "macs")
    assert macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.01, abs=0.001)


def test_shared_once_bare_too_buffers_never_unused_last():
    model = Sharing()
    rows = read(model, (2, 8, 8))
    found = all_costs(model, rows)
    by_name = {c.name: c.parameters for c in found}
    expected = {"conv": 38, "conv_1": 0, "twin": 2, "norm": 4, "mul": 2, "never": 16}
    assert {name: by_name[name] for name in expected} == expected
    assert found[-1].name == "never"
    assert total(found) == total(all_costs(model, [])) == numel(model) == 62
    macs = [found[find(rows, name)].macs for name in ("conv", "conv_1", "twin")]
    assert macs == [2 * 2 * 3 * 3 * 8 * 8] * 3  # work is done at each call


def test_frozen_parameters_are_told_apart():
    model = Model3()
    model.block1.requires_grad_(False)
    frozen = numel(model.block1)
    assert (
        total(all_costs(model, read(model)), "frozen")
        == total(all_costs(model, []), "frozen")
        == frozen
    )
    assert total(all_costs(model, read(model))) == 6_016


def test_transposed_convolutions_and_products_have_macs():
    model = nn.Sequential(nn.ConvTranspose2d(3, 5, 2, 2), nn.Flatten(2), nn.Linear(64, 7))
    rows = read(model, (3, 4, 4))
    found = all_costs(model, rows)
    assert found[find(rows, "0")].macs == 3 * 5 * 2 * 2 * 4 * 4
    assert found[find(rows, "2")].macs == 5 * 64 * 7


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(torch.cat([x, x.flip(0)], 0))


def test_maps_laid_in_the_batch_cost_each():
    assert sum(cost.macs for cost in all_costs(Siamese(), read(Siamese()))) == 2 * (2 * 9 * 26 * 26)
