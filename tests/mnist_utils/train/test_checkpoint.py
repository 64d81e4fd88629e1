from dataclasses import replace

import pytest
import torch

from mnist_utils.errors import InputError
from mnist_utils.recipes import RECIPES
from mnist_utils.train import checkpoint
from mnist_utils.train.loop import Training, train_epoch

QUICK = replace(RECIPES["course"], epochs=2)


def test_training_state_comes_back_whole_and_another_run_s_is_refused(tmp_path, train_split):
    few = train_split.take(slice(0, 200))
    run, other = Training.start(QUICK, 200), Training.start(replace(QUICK, seed=1), 200)
    assert not torch.equal(run.model.head.weight, other.model.head.weight)
    train_epoch(run, few, 1)
    checkpoint.save_training(tmp_path / "c", run, {"epoch": 1})
    assert checkpoint.load_training(tmp_path / "c", other) == {"epoch": 1}
    assert torch.equal(run.losses, other.losses)
    for one, two in ((run.model, other.model), (run.average, other.average)):
        two = two.state_dict()
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.state_dict().items())
    for one, two in zip(run.optimizers, other.optimizers, strict=True):
        one, two = one.state_dict(), two.state_dict()
        assert one["param_groups"][0]["lr"] == two["param_groups"][0]["lr"]
        for index, slots in one["state"].items():
            assert all(torch.equal(slots[name], two["state"][index][name]) for name in slots)
    for changes in ({"model": "SmallNet"}, {"muon": 0.0}, {"ema": 0.0}):
        checkpoint.save_training(tmp_path / "c", Training.start(replace(QUICK, **changes), 9), {})
        with pytest.raises(InputError, match="does not fit this run"):
            checkpoint.load_training(tmp_path / "c", Training.start(QUICK, 9))
