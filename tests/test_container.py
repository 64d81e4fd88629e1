"""The training container's contract, kept by the real command in this process or under torchrun."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest
import torch

from mnist_utils import container, jobs, models, parallel, train
from mnist_utils.errors import InputError

QUICK = {"recipe": "fast", "subset": 256, "batch_size": 64, "epochs": 2, "evaluate_every": 1,
         "validation": 500}  # fmt: skip


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A container's folders and variables."""
    for variable, name in (("SM_MODEL_DIR", "model"), ("SM_OUTPUT_DIR", "output")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(train.data.BUNDLE))
    monkeypatch.setenv("SM_HPS", json.dumps(QUICK))
    return tmp_path


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
    status, out, _ = command(train.main)
    assert status == 0
    assert "nothing to resume" in out
    left = {path.name for path in (box / "model").iterdir()}
    assert {"model.safetensors", "history.json", "curves.png"} <= left
    assert [path.name for path in (box / "checkpoints").iterdir()] == ["checkpoint.safetensors"]
    assert not (box / "output").exists()

    rows = json.loads((box / "model/history.json").read_text())["epochs"]
    for name, regex in jobs.METRICS.items():  # the job's metrics are read from these very lines
        found = [float(value) for value in re.findall(regex, out)]
        key = name.replace(":", "_").replace("validation", "test")
        expected = [] if name.startswith("test:") else [row[key] for row in rows]
        assert found == pytest.approx(expected, abs=6e-5), name

    status, out, _ = command(train.main)  # as when SageMaker starts a finished spot job again
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
    refused(train.main, *options)
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
        container.tells_failure(interrupted)()
    assert not failure.exists()
    with pytest.raises(SystemExit):
        container.tells_failure(leaves)()
    assert failure.read_text() == "exit status 3\n"
    with pytest.raises(ValueError, match="first"):
        container.tells_failure(bug)()
    lines = failure.read_text().splitlines()
    assert lines[0].startswith("ValueError: first xxx")
    assert len(lines[0]) == container.LONGEST_REASON
    assert "in bug" in failure.read_text()


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


# --- several processes --------------------------------------------------------------------------


def first_gradients(rank, processes, port, out):
    """Gradients of one step on 63 digits in float64, where rounding hides nothing."""
    os.environ |= {"WORLD_SIZE": str(processes), "RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    split = train.data.load(train=True).take(slice(63))
    images = train.data.standardize(split.images).double()
    with parallel.group("cpu"):
        torch.manual_seed(0)
        model = parallel.synchronize(models.build("CourseNet").double()).train()
        replica, labels = parallel.replicate(model), parallel.share(split.labels)
        loss = train.loss_function(replica(parallel.share(images)), labels, 0.1)
        parallel.weigh(loss, len(labels), 63).backward()
        if rank == 0:
            gradients = {name: p.grad for name, p in model.named_parameters()}
            torch.save(gradients | dict(model.named_buffers()), out)


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


# --- mlflow -------------------------------------------------------------------------------------


def test_mlflow_holds_config_epochs_pictures_and_model(box, command, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(box / "mlflow"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(box)
    status, _, err = command(train.main)
    assert status == 0, err
    import mlflow

    (run,) = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert run.data.params["batch_size"] == "64"
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "test_accuracy")
    assert [point.step for point in history] == [1, 2]
    stored = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert stored == {"history.json", "model", "pictures"}
    assert {path.name for path in (box / "mlflow").iterdir()} == {"mlflow.db", "artifacts"}


def test_without_an_address_mlflow_is_not_imported():
    code = (
        "import sys; sys.argv = ['train', '--recipe=fast', '--lr=0'];"
        "from mnist_utils import tracking, recipes, train\n"
        "with tracking.run(recipes.REFERENCE, 'x') as tracker: tracker.epoch({'epoch': 1})\n"
        "print([name for name in ('mlflow', 'sagemaker', 'boto3') if name in sys.modules])"
    )
    environment = {key: value for key, value in os.environ.items() if "MLFLOW" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "[]", done.stderr
