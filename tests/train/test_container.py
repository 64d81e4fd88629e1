"""The training container's contract, kept by the real command in this process or under torchrun."""

import json
import re
import sys

import pytest
import torch

from mnist_utils.errors import InputError
from mnist_utils.train import container
from mnist_utils.train.__main__ import main
from mnist_utils.train.progress import PATTERNS

# --- options ------------------------------------------------------------------------------------


def test_hyperparameters_come_from_the_command_line_or_from_sm_hps(box, monkeypatch):
    line = ["--batch_size", "64", "--resume", "true", "--_tuning_objective_metric", "x"]
    assert container.options(line) == ["--batch-size", "64", "--resume"]
    assert container.options(["--resume", "False", "--lr=0.1"]) == ["--lr=0.1"]
    monkeypatch.setenv("SM_HPS", json.dumps({"lr": 0.1, "resume": True, "sagemaker_program": "t"}))
    assert container.options([]) == ["--lr", "0.1", "--resume"]


def test_on_a_laptop_the_command_line_is_left_alone(monkeypatch):
    monkeypatch.setenv("SM_HPS", "{}")
    monkeypatch.delenv("SM_MODEL_DIR", raising=False)
    assert container.options(["--batch_size", "true"]) == ["--batch_size", "true"]
    assert container.checkpoint_folder() is None


def test_without_checkpoint_dir_the_folder_is_sagemaker_s(box, monkeypatch):
    monkeypatch.delenv("CHECKPOINT_DIR")
    assert str(container.checkpoint_folder()) == "/opt/ml/checkpoints"


# --- a job --------------------------------------------------------------------------------------


def test_a_job_leaves_its_model_and_goes_on_from_its_checkpoint(box, command):
    status, out, _ = command(main)
    assert status == 0
    assert "nothing to resume" in out
    left = {path.name for path in (box / "model").iterdir()}
    assert {"model.safetensors", "history.json", "curves.png"} <= left
    assert [path.name for path in (box / "checkpoints").iterdir()] == ["checkpoint.safetensors"]
    assert not (box / "output").exists()

    rows = json.loads((box / "model/history.json").read_text())["epochs"]
    for name, regex in PATTERNS.items():  # the job's metrics are read from these very lines
        found = [float(value) for value in re.findall(regex, out)]
        key = name.replace(":", "_").replace("validation", "held_out")
        expected = [] if name.startswith("test:") else [row[key] for row in rows]
        assert found == pytest.approx(expected, abs=6e-5), name

    status, out, _ = command(main)  # as when SageMaker starts a finished spot job again
    assert status == 0
    assert "resuming after epoch 2 of 2" in out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--lr", "fast"], "--lr 'fast' is not a number"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
        (["--lr"], "argument --lr: expected one argument"),
        (["--recipe", "slow"], "--recipe 'slow' is not one of"),
        (["--data", "/nowhere"], "'/nowhere' does not exist"),
    ],
)
def test_the_failure_file_opens_with_the_reason(box, refused, options, reason):
    refused(main, *options)
    first = (box / "output/failure").read_text().splitlines()[0]
    assert reason in first
    assert len(first) <= container.LONGEST_REASON


def test_a_bug_leaves_its_traceback_below_the_reason_and_a_stop_leaves_nothing(box):
    def bug():
        raise ValueError("first\n" + "x" * 5000)

    def interrupted():
        raise KeyboardInterrupt

    def leaves():
        sys.exit(3)

    failure = box / "output/failure"
    with pytest.raises(KeyboardInterrupt):
        container.reports_failure(interrupted)()
    assert not failure.exists()
    with pytest.raises(SystemExit):
        container.reports_failure(leaves)()
    assert failure.read_text() == "exit status 3\n"
    with pytest.raises(ValueError, match="first"):
        container.reports_failure(bug)()
    lines = failure.read_text().splitlines()
    assert lines[0].startswith("ValueError: first xxx")
    assert len(lines[0]) == container.LONGEST_REASON
    assert "in bug" in failure.read_text()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SM_HPS", "{", "SM_HPS='{' is not a JSON object of hyperparameters"),
        ("SM_HPS", "[1]", "is not a JSON object"),
        ("SM_HPS", '{"lr": [1]}', "--lr '[1]' is not a number"),
        ("WORLD_SIZE", "many", "WORLD_SIZE='many' is not a number of processes"),
        ("WORLD_SIZE", "0", "WORLD_SIZE='0' is not"),
        ("SM_CHANNEL_TRAIN", "/no/such/channel", "/no/such/channel"),
    ],
)
def test_what_a_container_is_given_wrongly_is_one_line_and_in_the_failure_file(
    box, refused, monkeypatch, variable, value, words
):
    monkeypatch.setenv(variable, value)
    assert words in refused(main)
    assert words in (box / "output/failure").read_text().splitlines()[0]


def test_where_not_even_the_failure_file_can_be_written_the_reason_is_still_told(
    box, refused, monkeypatch
):
    (box / "a file").touch()
    monkeypatch.setenv("SM_OUTPUT_DIR", str(box / "a file"))
    monkeypatch.setenv("SM_HPS", "{")
    assert "is not a JSON object" in refused(main)


def test_an_unwritable_model_folder_is_one_line(box, refused, monkeypatch):
    (box / "a file").touch()
    monkeypatch.setenv("SM_MODEL_DIR", str(box / "a file" / "model"))
    assert "a file" in refused(main)


def test_a_trial_of_a_search_has_checkpoints_of_its_own(box, monkeypatch):
    monkeypatch.setenv("SM_HPS", json.dumps({"_tuning_objective_metric": "validation:accuracy"}))
    monkeypatch.setenv("TRAINING_JOB_NAME", "mnist-search-007")
    assert container.checkpoint_folder() == box / "checkpoints" / "mnist-search-007"


def test_a_gpu_that_nobody_sees_is_told_with_its_driver_and_its_need(monkeypatch):
    monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", "ml.g4dn.xlarge")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(container, "_driver", lambda: "535.274.02")
    words = r"CUDA 13.0\) sees none: it needs driver 580 or newer, the machine has 535.274.02"
    with pytest.raises(InputError, match=words):
        container.check_gpu()


@pytest.mark.parametrize(
    ("instance", "sees", "fine"),
    [
        ("ml.g4dn.xlarge", False, False), ("ml.p4d.24xlarge", False, False),
        ("ml.g5.xlarge", True, True), ("ml.m5.large", False, True), ("local", False, True),
        ("", False, True),
    ],
)  # fmt: skip
def test_a_gpu_nobody_sees_is_an_error(monkeypatch, instance, sees, fine):
    monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", instance)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
    if fine:
        container.check_gpu()
    else:
        with pytest.raises(InputError, match=rf"{instance} has a GPU, but torch .* sees none"):
            container.check_gpu()
