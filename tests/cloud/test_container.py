"""The training container's contract, kept by the real command in this process or under torchrun."""

import json
import re
import sys

import pytest
import torch
from imports import loaded_by

from cloud import container
from cloud.container import main
from mnist_utils.errors import InputError
from mnist_utils.train.progress import PATTERNS


def test_hyperparameters_come_from_the_command_line_or_from_sm_hps(box, monkeypatch):
    line = ["--batch_size", "64", "--resume", "true", "--_tuning_objective_metric", "x"]
    assert container.words(line) == ["--batch-size", "64", "--resume"]
    assert container.words(["--resume", "False", "--lr=0.1"]) == ["--lr=0.1"]
    monkeypatch.setenv("SM_HPS", json.dumps({"lr": 0.1, "resume": True, "sagemaker_program": "t"}))
    assert container.words([]) == ["--lr", "0.1", "--resume"]


def test_checkpoints_lie_in_sagemaker_s_folder_and_a_trial_of_a_search_has_its_own(
    box, monkeypatch
):
    monkeypatch.setenv(container.SEARCH, "1")
    monkeypatch.setenv("TRAINING_JOB_NAME", "mnist-search-007")
    assert container.checkpoint_folder() == box / "checkpoints" / "mnist-search-007"
    monkeypatch.delenv(container.SEARCH)
    monkeypatch.delenv("CHECKPOINT_DIR")
    assert str(container.checkpoint_folder()) == "/opt/ml/checkpoints"


def test_a_job_leaves_its_model_and_its_metrics_and_goes_on_from_its_checkpoint(
    box, command, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(box / "mlflow"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(box)
    status, out, err = command(main)
    assert status == 0, err
    assert "nothing to resume" in out
    assert {path.name for path in (box / "model").iterdir()} == {
        "confusion.png", "curves.png", "history.json", "misclassified.png", "model.safetensors"
    }  # fmt: skip
    assert [path.name for path in (box / "checkpoints").iterdir()] == ["checkpoint.safetensors"]
    assert not (box / "output").exists()

    rows = json.loads((box / "model/history.json").read_text())["epochs"]
    for name, regex in PATTERNS.items():  # the job's metrics are read from these very lines
        values = [float(value) for value in re.findall(regex, out)]
        key = name.replace(":", "_").replace("validation", "held_out")
        expected = [] if name.startswith("test:") else [row[key] for row in rows]
        assert values == pytest.approx(expected, abs=6e-5), name

    import mlflow

    (run,) = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert run.data.params["batch_size"] == "64"
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "validation_accuracy")
    assert [point.step for point in history] == [1, 2]
    stored = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert stored == {"history.json", "model", "pictures"}
    assert {path.name for path in (box / "mlflow").iterdir()} == {"mlflow.db", "artifacts"}

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    status, out, _ = command(main)  # as when SageMaker starts a finished spot job again
    assert status == 0
    assert "resuming after epoch 2 of 2" in out


def test_without_an_address_mlflow_is_not_imported():
    code = (
        "import os, sys; os.environ.pop('MLFLOW_TRACKING_URI', None)\n"
        "from mnist_utils import recipes; from mnist_utils.train import tracking, train\n"
        "with tracking.run(recipes.REFERENCE, 'x') as tracker: tracker.epoch({'epoch': 1})"
    )
    assert loaded_by(code + "\nNone", ("mlflow", "sagemaker", "boto3")) == set()


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


def test_what_a_container_is_given_wrongly_is_one_line_and_in_the_failure_file(
    box, refused, monkeypatch
):
    (box / "a file").touch()
    for variable, value, words in (
        ("SM_HPS", "{", "SM_HPS='{' is not a JSON object of hyperparameters"),
        ("SM_HPS", "[1]", "is not a JSON object"),
        ("SM_HPS", '{"lr": [1]}', "--lr '[1]' is not a number"),
        ("SM_HPS", '{"colour": "red"}', "unrecognized arguments: --colour red"),
        ("SM_HPS", '{"recipe": "slow"}', "--recipe 'slow' is not one of"),
        ("WORLD_SIZE", "many", "WORLD_SIZE='many' is not a number of processes"),
        ("WORLD_SIZE", "0", "WORLD_SIZE='0' is not"),
        ("SM_CHANNEL_TRAIN", "/no/such/channel", "/no/such/channel"),
        ("SM_MODEL_DIR", str(box / "a file" / "model"), "a file"),
    ):
        with monkeypatch.context() as wrong:
            wrong.setenv(variable, value)
            assert words in refused(main)
            assert words in (box / "output/failure").read_text().splitlines()[0]
    monkeypatch.setenv("SM_OUTPUT_DIR", str(box / "a file"))  # not even the file can be written
    monkeypatch.setenv("SM_HPS", "{")
    assert "is not a JSON object" in refused(main)


def test_a_gpu_nobody_sees_is_an_error_told_with_its_driver_and_its_need(monkeypatch):
    def check(instance, sees=False):
        monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", instance)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
        container.check_gpu()

    for instance, sees in (("ml.g5.xlarge", True), ("ml.m5.large", False), ("local", False)):
        check(instance, sees)
    check("")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(container, "_driver", lambda: "535.274.02")
    words = r"CUDA 13.0\) sees none: it needs driver 580 or newer, the machine has 535.274.02"
    for instance in ("ml.g4dn.xlarge", "ml.p4d.24xlarge"):
        with pytest.raises(InputError, match=rf"{instance} has a GPU, but torch .*{words}"):
            check(instance)
