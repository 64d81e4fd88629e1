"""A pruned network: which channels stay, and that they compute what they did."""

import torch

from mnist_utils import models
from mnist_utils.pruning import slimmed


def _with_silent_channels(loud: list[int]):
    """CourseNet, in which BatchNorm mutes all but some channels, after the stem and every block."""
    torch.manual_seed(0)
    network = models.build("CourseNet").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            scale = torch.zeros_like(module.weight)
            scale[loud] = torch.rand(len(loud)) + 0.5
            module.weight.data = scale * torch.sign(torch.randn(len(scale)))
            module.bias.data = torch.randn(len(scale)) * (scale > 0)
    return network


def test_what_was_silent_anyway_can_be_left_out():
    """Muted channels are 0 after ReLU, so that the smaller network computes the same."""
    network = _with_silent_channels([1, 4, 5, 11])
    small = slimmed(network, 4, (4, 4, 4, 4))
    images = torch.randn(8, 1, 28, 28)
    assert torch.allclose(small(images), network(images), atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < 500


def test_the_pruned_network_is_narrownet_and_shares_nothing():
    network = _with_silent_channels(list(range(16)))
    same, before = slimmed(network, 16, (32, 32, 32, 32)).state_dict(), network.state_dict()
    before = {name: t.clone() for name, t in before.items() if not name.endswith("tracked")}
    assert all(torch.equal(tensor, same[name]) for name, tensor in before.items())
    small = slimmed(network, 8, (16, 16, 16, 16))
    models.build("NarrowNet").load_state_dict(small.state_dict())
    for tensor in small.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())
