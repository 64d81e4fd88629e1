import torch
from torch import nn

from mnist_utils import data, layers, models, results
from mnist_utils.recipes import RECIPES


def test_a_prepared_network_gives_the_same_answers(test_split):
    digits = data.standardize(test_split.images[:1_000])
    for name in RECIPES:
        network = results.network(name)
        with torch.inference_mode():
            ours, theirs = layers.prepared(network)(digits), network(digits)
        assert torch.allclose(ours, theirs, atol=1e-4), name
        assert torch.equal(ours.argmax(1), theirs.argmax(1)), name


def test_what_can_be_folded_is_and_the_network_itself_stays_as_it_was():
    network = models.build("CourseNet")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kinds = [type(layer) for layer in layers.prepared(network).modules()]
    assert kinds.count(nn.BatchNorm2d) == 1  # of the stem, whose pool stands in between
    assert nn.MaxPool2d not in kinds
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training
    # A norm that follows no convolution is left alone.
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2))
    kinds = [type(layer) for layer in layers.prepared(network)]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d]


def test_the_maximum_of_pairs_is_max_pooling():
    for size in ((6, 6), (7, 9), (2, 3)):
        maps = torch.randn(3, 5, *size)
        maps[0, 0, 0, 0], maps[1, 1, 1, 1] = float("nan"), float("inf")
        expected = nn.functional.max_pool2d(maps, 2)
        assert torch.equal(layers.MaxOfPairs()(maps).nan_to_num(9.5), expected.nan_to_num(9.5))
