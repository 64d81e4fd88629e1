"""A run in MLflow, where it is asked for."""

import os
import subprocess
import sys

from mnist_utils.train.__main__ import main


def test_mlflow_holds_config_epochs_pictures_and_model(box, command, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(box / "mlflow"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(box)
    status, _, err = command(main)
    assert status == 0, err
    import mlflow

    (run,) = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert run.data.params["batch_size"] == "64"
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "validation_accuracy")
    assert [point.step for point in history] == [1, 2]
    stored = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert stored == {"history.json", "model", "pictures"}
    assert {path.name for path in (box / "mlflow").iterdir()} == {"mlflow.db", "artifacts"}


def test_without_an_address_mlflow_is_not_imported():
    code = (
        "import sys; sys.argv = ['train', '--recipe=fast', '--lr=0'];"
        "from mnist_utils import recipes; from mnist_utils.train import tracking, train\n"
        "with tracking.run(recipes.REFERENCE, 'x') as tracker: tracker.epoch({'epoch': 1})\n"
        "print([name for name in ('mlflow', 'sagemaker', 'boto3') if name in sys.modules])"
    )
    environment = {key: value for key, value in os.environ.items() if "MLFLOW" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "[]", done.stderr
