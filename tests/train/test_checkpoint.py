import pytest
import torch
from torch import nn

from mnist_utils.errors import InputError
from mnist_utils.train import checkpoint


def test_training_state_comes_back_whole(tmp_path):
    def make():
        model = nn.Linear(3, 2)
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    model, optimizer = make()
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint.save_training(tmp_path / "c", model, optimizer, None, {"epoch": 1})
    other, other_optimizer = make()
    assert checkpoint.load_training(tmp_path / "c", other, other_optimizer, None) == {"epoch": 1}
    assert torch.equal(model.weight, other.weight)
    for slot, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(value, other_optimizer.state_dict()["state"][0][slot])


def test_another_network_s_training_state_is_refused(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save_training(tmp_path / "c", model, optimizer, None, {})
    other = nn.Linear(4, 2)
    with pytest.raises(InputError, match="does not fit this model"):
        checkpoint.load_training(tmp_path / "c", other, torch.optim.AdamW(other.parameters()), None)
