"""A training job of a rehearsal: its life from Starting to its end, on one machine or several."""

import re
import shutil
import tarfile
import threading
import time

from cloud.rehearsal.container import Container

GRACE = 20  # seconds between SIGTERM and SIGKILL; SageMaker grants 120
# What AWS says beside a status that it reaches by itself.
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
}
NO_CAPACITY = "Insufficient capacity error from EC2 while launching instances, retrying!"


class Job:
    """One training job: its containers, and the record that answers for it."""

    def __init__(self, stage, record, request: dict):
        self.stage, self.record, self.request = stage, record, request
        self.name = record.training_job_name
        count = request["ResourceConfig"].get("InstanceCount", 1)
        hosts = [f"algo-{number}" for number in range(1, count + 1)]
        self.containers = [Container(stage, self.name, request, host) for host in hosts]
        self.ended_by: str | None = None  # the secondary status of whatever stopped it
        self.lock = threading.Lock()
        record.secondary_status_transitions = []
        record.training_job_status = "InProgress"
        record.training_end_time = None
        record.algorithm_specification = request["AlgorithmSpecification"]
        record.environment = request.get("Environment")
        record.model_artifacts, record.final_metric_data_list = None, []
        self._becomes("Starting")
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def stop(self, grace: float = GRACE, why: str = "Stopped") -> None:
        """End the job as SageMaker does, whoever asked for it."""
        with self.lock:
            self.ended_by = self.ended_by or why
        if self.thread.is_alive():
            self.record.training_job_status = "Stopping"
            for container in self.containers:
                if container.process:
                    threading.Thread(target=container.terminate, args=(grace,), daemon=True).start()

    def _becomes(self, status: str, message: str | None = None) -> None:
        from moto.core.utils import utcnow

        self.record.secondary_status, self.record.last_modified_time = status, utcnow()
        change = {"Status": status, "StartTime": utcnow()}
        if said := message or MESSAGES.get(status):
            change["StatusMessage"] = said
        self.record.secondary_status_transitions.append(change)

    def _live(self) -> None:
        record, asked = self.record, time.time()
        try:
            if self._finds_capacity(asked):
                started = time.time()
                self._becomes("Downloading")
                for container in self.containers:
                    container.prepare([each.host for each in self.containers])
                self._becomes("Training")
                status = self._run(started)
                seconds = max(1, round(time.time() - started))
                record.training_time_in_seconds = record.billable_time_in_seconds = seconds
                self._keep()
                record.final_metric_data_list = self._metrics()
                if status and not self.ended_by:
                    failure = self.containers[0].ml / "output" / "failure"
                    reason = failure.read_text() if failure.exists() else ""
                    record.failure_reason = f"AlgorithmError: {reason[:1024]}, exit code: {status}"
                    self._finish("Failed")
                    return
            self._finish("Stopped" if self.ended_by else "Completed")
        except Exception as error:  # the stage's own fault must not look like a job that hangs
            record.failure_reason = f"InternalServerError: {type(error).__name__}: {error}"
            self._finish("Failed")
        finally:
            for container in self.containers:
                container.close()
            shutil.rmtree(self.stage.folder / self.name, ignore_errors=True)

    def _finish(self, status: str) -> None:
        from moto.core.utils import utcnow

        self.record.training_end_time = utcnow()
        self._becomes(self.ended_by or status)
        self.record.training_job_status = status

    def _limit(self, name: str) -> float:
        """A limit of the request, in the stage's seconds."""
        return self.request["StoppingCondition"].get(name, float("inf")) * self.stage.second

    def _finds_capacity(self, asked: float) -> bool:
        """Wait for spot capacity, if it is asked for: no longer than the request allows."""
        if self.request.get("EnableManagedSpotTraining") and not self.stage.spot:
            self.record.secondary_status_transitions[-1]["StatusMessage"] = NO_CAPACITY
        while self.request.get("EnableManagedSpotTraining") and not self.stage.spot:
            if time.time() - asked > self._limit("MaxWaitTimeInSeconds"):
                self.stop(why="MaxWaitTimeExceeded")
            if self.ended_by:
                return False
            time.sleep(0.05)
        return True

    def _run(self, started: float) -> int:
        """Run every container to its end; return the first exit status that is not 0."""
        with self.lock:
            if self.ended_by:
                return 143
            for container in self.containers:
                container.start()
        while None in (statuses := [container.follow() for container in self.containers]):
            if any(statuses):  # SageMaker ends a job with its first machine that fails
                for container in self.containers:
                    container.terminate(grace=0)
            if time.time() - started > self._limit("MaxRuntimeInSeconds") and not self.ended_by:
                self.stop(why="MaxRuntimeExceeded")
            time.sleep(0.2)
        return next((status for status in statuses if status), 0)

    def _keep(self) -> None:
        """Pack every machine's /opt/ml/model into model.tar.gz, in S3."""
        paths = [path for each in self.containers for path in (each.ml / "model").iterdir()]
        if not paths:
            return
        self._becomes("Uploading")
        archive = self.stage.folder / self.name / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(paths):
                tar.add(path, path.name)
        folder = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        uri = f"{folder}/{self.name}/output/model.tar.gz"
        self.stage.upload(archive, uri)
        self.record.model_artifacts = {"S3ModelArtifacts": uri}

    def _metrics(self) -> list[dict]:
        """The last value of each metric definition found in the log."""
        text = "\n".join(line for each in self.containers for line in each.lines)
        found = []
        for definition in self.request["AlgorithmSpecification"].get("MetricDefinitions") or []:
            if values := re.findall(definition["Regex"], text):
                metric = {"MetricName": definition["Name"], "Value": float(values[-1])}
                found.append(metric | {"Timestamp": time.time()})
        return found
