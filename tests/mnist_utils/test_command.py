"""Every command line ends well."""

import pytest

from cloud.jobs import __main__ as jobs
from mnist_utils import evaluate
from mnist_utils.train import __main__ as train
from receptive import __main__ as describe
from tools import bench, ledger, pairs
from tools.reproduce import __main__ as reproduce


def test_an_abbreviated_option_is_refused(refused):
    for room, line in (
        (train, "--rec reference"),
        (evaluate, "--js"),
        (describe, "mnist_utils.models:Model3 --js"),
        (reproduce, "course --seed 1"),
        (jobs, "--rehea stop x"),
        (jobs, "stop --rol x y"),
        (bench, "--round 1"),
        (ledger, "--chec"),
        (pairs, "--chec"),
    ):
        said = refused(room.main, *line.split())
        assert "unrecognized arguments: --" in said or "is not understood" in said, line


def test_ctrl_c_and_a_bug_are_told_apart(command):
    def interrupted():
        raise KeyboardInterrupt("all is saved")

    def bug():
        raise ValueError("mine")

    assert command(interrupted) == (130, "", "stopped: all is saved\n")
    with pytest.raises(ValueError, match="mine"):
        command(bug)
