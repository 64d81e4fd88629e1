"""What several test files share: the digits, and a command line run in this process."""

import os
import sys

import pytest
import torch

from mnist_utils import data
from mnist_utils.command import run as run_command

# One thread each: pytest runs as many processes as there are cores. Children inherit the variable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def train_split():
    return data.load(train=True)


@pytest.fixture(scope="session")
def test_split():
    return data.load(train=False)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a room's `main` as its command line does; return (exit status, stdout, stderr)."""

    def run(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_command(main)
        output = capsys.readouterr()
        return stop.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def refused(command):
    """Run a command line that must fail with exit 2 and one line; return that line."""

    def run(main, *arguments):
        status, _, err = command(main, *arguments)
        assert status == 2
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        return err

    return run
