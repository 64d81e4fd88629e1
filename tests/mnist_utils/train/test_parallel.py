"""Several processes take the steps of one."""

import socket

import pytest
import torch
from processes import first_gradients

from mnist_utils.errors import InputError
from mnist_utils.train import parallel


def test_two_processes_take_the_first_step_of_one(tmp_path, monkeypatch):
    for variable in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, "")  # restored afterwards
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first_gradients(0, 1, port, tmp_path / "one")
    torch.multiprocessing.spawn(first_gradients, (2, port, tmp_path / "two"), nprocs=2)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-9, atol=1e-12), name


def test_a_batch_too_small_to_share_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="smallest batch has 1 digits for 2 processes"):
        parallel.check(129, 64)
    parallel.check(130, 64)
