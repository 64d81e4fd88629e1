"""A run's figures where people look for them: MLflow, if `MLFLOW_TRACKING_URI` is set.

A local folder, the address of a server or a database, or the ARN of SageMaker's managed MLflow.
Unset, mlflow is not even imported.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_utils.config import TrainConfig
from mnist_utils.train import parallel, progress

EXPERIMENT = "mnist"


class Tracker:
    """Logs nothing."""

    def epoch(self, row: dict) -> None:
        """One row of the history."""

    def files(self, out: Path) -> None:
        """What the run left: pictures, history, model."""


class MlflowTracker(Tracker):
    """Logs to the active MLflow run."""

    def epoch(self, row: dict) -> None:
        import mlflow

        seconds = {name: row[name] for name in ("seconds", "cpu_seconds")}
        mlflow.log_metrics(progress.figures(row) | seconds, step=row["epoch"])

    def files(self, out: Path) -> None:
        import mlflow

        for path in sorted(out.glob("*.png")):
            mlflow.log_artifact(path, "pictures")
        mlflow.log_artifact(out / "history.json")
        mlflow.log_artifact(out / "model.safetensors", "model")


@contextmanager
def run(settings: TrainConfig, name: str) -> Iterator[Tracker]:
    """Context of one training run; what it yields logs, or is silent."""
    if not os.environ.get("MLFLOW_TRACKING_URI") or not parallel.is_first_process():
        yield Tracker()
        return
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # mlflow phones home otherwise
    with warnings.catch_warnings(action="ignore"):  # of widgets it would like to have
        import mlflow

    for noisy in ("mlflow", "alembic"):  # a new database tells of every table
        logging.getLogger(noisy).setLevel(logging.WARNING)
    address, artifacts = os.environ["MLFLOW_TRACKING_URI"], None
    if "://" not in address and not address.startswith("arn:"):
        folder = Path(address).resolve()  # mlflow keeps a database there, and files beside it
        folder.mkdir(parents=True, exist_ok=True)
        address, artifacts = f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri()
    mlflow.set_tracking_uri(address)
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifacts)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=name):
        mlflow.log_params(settings.to_dict())
        yield MlflowTracker()
