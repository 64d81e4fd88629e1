"""What a rehearsal runs: training jobs and endpoints, each a folder and a process of its own.

A job's container is a mount namespace in which the folder is `/opt/ml`, or, where the kernel allows
none, the folder itself, to which the driver scripts are rewritten.
"""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from mnist_utils.errors import InputError
from mnist_utils.rehearsal import heir, loopback, serving, toolkit

REGION = "us-east-1"
GRACE = 20  # seconds between SIGTERM and SIGKILL; SageMaker grants 120


class Stage:
    """The jobs that run and the endpoints that serve in a rehearsal."""

    def __init__(self, endpoint: str, folder: Path, namespace: bool | None):
        self.endpoint, self.folder = endpoint, folder
        self.mount = mount_command() if namespace in (None, True) else None
        if namespace and not self.mount:
            raise InputError("this kernel allows no mount namespace; pass namespace=False")
        self.clients, self.lock = {}, threading.Lock()
        self.jobs: dict[str, Job] = {}
        self.trials: dict[str, Trials] = {}
        self.servers: dict[str, Server] = {}
        self.heir = subprocess.Popen(
            [sys.executable, heir.__file__, str(folder)], stdin=subprocess.PIPE, text=True,
            bufsize=1, start_new_session=True,
        )  # fmt: skip

    def client(self, service: str):
        """A boto3 client of moto's, whatever the environment says; made once."""
        import boto3

        with self.lock:
            if service not in self.clients:
                self.clients[service] = boto3.session.Session().client(
                    service, endpoint_url=self.endpoint, region_name=REGION,
                    aws_access_key_id="rehearsal", aws_secret_access_key="rehearsal",
                )  # fmt: skip
            return self.clients[service]

    def download(self, uri: str, folder: Path) -> None:
        """Copy every object under an S3 prefix."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        folder.mkdir(parents=True, exist_ok=True)
        s3 = self.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                name = item["Key"][len(prefix) :].lstrip("/") or Path(item["Key"]).name
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, item["Key"], str(target))

    def upload(self, path: Path, uri: str) -> None:
        """Copy one file to one object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client("s3").upload_file(str(path), bucket, key)

    def bequeath(self, group: int) -> None:
        """Have a process group killed when this process is, or leave it in peace: `-group`."""
        with self.lock, suppress(OSError):
            self.heir.stdin.write(f"{group}\n")

    def close(self) -> None:
        """End every search, every job and every server."""
        for trials in self.trials.values():
            trials.stopping = True
        for job in list(self.jobs.values()):
            job.stop(grace=0)
        for running in [*self.trials.values(), *self.jobs.values(), *self.servers.values()]:
            running.thread.join(timeout=60)
        for server in self.servers.values():
            server.stop()
        self.heir.stdin.close()
        self.heir.wait(60)


# --- a training job -----------------------------------------------------------------------------


class Job:
    """One training job: its container is a folder, a mount namespace and a process group."""

    def __init__(self, stage: Stage, record, request: dict):
        self.stage, self.record, self.request = stage, record, request
        self.name = record.training_job_name
        self.ml = stage.folder / self.name / "ml"
        self.process: subprocess.Popen | None = None
        self.stopping = False
        self.synced: dict[Path, int] = {}
        self.events: list[dict] = []
        self.lock = threading.Lock()
        record.training_job_status, record.secondary_status = "InProgress", "Starting"
        record.training_end_time = None
        record.algorithm_specification = request["AlgorithmSpecification"]
        record.environment = request.get("Environment")
        record.model_artifacts, record.final_metric_data_list = None, []
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def stop(self, grace: float = GRACE) -> None:
        """SIGTERM to the container's first process; SIGKILL after `grace` seconds."""
        with self.lock:
            self.stopping = True
        if self.thread.is_alive():
            self.record.training_job_status = "Stopping"
            threading.Thread(target=self._end, args=(grace,), daemon=True).start()

    def _end(self, grace: float) -> None:
        if (process := self.process) is None:
            return
        with suppress(ProcessLookupError):
            os.kill(
                _first_process(process.pid) if self.stage.mount else process.pid, signal.SIGTERM
            )
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _live(self) -> None:
        record, started = self.record, time.time()
        try:
            self._prepare()
            record.secondary_status = "Training"
            status = self._run()
            seconds = max(1, round(time.time() - started))
            record.training_time_in_seconds = record.billable_time_in_seconds = seconds
            self._keep()
            record.final_metric_data_list = self._metrics()
            if self.stopping:
                self._finish("Stopped")
            elif status == 0:
                self._finish("Completed")
            else:
                failure = self.ml / "output" / "failure"
                reason = failure.read_text() if failure.exists() else ""
                record.failure_reason = f"AlgorithmError: {reason[:1024]}, exit code: {status}"
                self._finish("Failed")
        except Exception as error:  # the stage's own fault must not look like a job that hangs
            record.failure_reason = f"InternalServerError: {type(error).__name__}: {error}"
            self._finish("Failed")
        shutil.rmtree(self.ml.parent, ignore_errors=True)

    def _finish(self, status: str) -> None:
        from moto.core.utils import utcnow

        self.record.training_end_time = self.record.last_modified_time = utcnow()
        self.record.secondary_status = status
        self.record.training_job_status = status

    def _prepare(self) -> None:
        """Lay out /opt/ml as SageMaker does: data, configuration, checkpoints."""
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (self.ml / name).mkdir(parents=True)
        (self.ml.parent / "tmp").mkdir()
        channels = {}
        for channel in self.request["InputDataConfig"]:
            source = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self.stage.download(source, self.ml / "input/data" / channel["ChannelName"])
            channels[channel["ChannelName"]] = {"TrainingInputMode": "File"}
        if checkpoints := self.request.get("CheckpointConfig"):
            self.stage.download(checkpoints["S3Uri"], self.ml / "checkpoints")
            self.synced = {path: path.stat().st_mtime_ns for path in self._checkpoints()}
        if source := (self.request.get("HyperParameters") or {}).get("sagemaker_submit_directory"):
            self.stage.download(source, self.ml / "code")
        configuration = {
            "hyperparameters": self.request.get("HyperParameters") or {},
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": "algo-1",
                "current_instance_type": "local",  # the truth, so nobody looks for a GPU
                "current_group_name": "homogeneousCluster",
                "hosts": ["algo-1"],
                "network_interface_name": "lo",
            },
        }
        for name, content in configuration.items():
            (self.ml / "input/config" / f"{name}.json").write_text(json.dumps(content))

    def _command(self) -> list[str]:
        algorithm = self.request["AlgorithmSpecification"]
        command = [sys.executable, toolkit.__file__, "/opt/ml"]
        if "ContainerEntrypoint" in algorithm:
            command = algorithm["ContainerEntrypoint"] + algorithm["ContainerArguments"]
        if self.stage.mount:
            return [*self.stage.mount, str(self.ml), *command]
        for path in (self.ml / "input/data/sm_drivers").rglob("*"):
            if path.suffix in (".py", ".sh"):
                path.write_text(path.read_text().replace("/opt/ml", str(self.ml)))
        return [word.replace("/opt/ml", str(self.ml)) for word in command]

    def _environment(self) -> dict[str, str]:
        """What the container sees: nothing of the user's environment but what Python needs."""
        home = self.ml.parent / "tmp"
        torchrun = Path(
            shutil.which("torchrun") or "/bin/torchrun"
        ).parent  # the image's, in Studio
        fonts = Path(os.environ.get("MPLCONFIGDIR", Path.home() / ".cache/matplotlib"))
        return {
            "PATH": f"{Path(sys.executable).parent}:{torchrun}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home), "TMPDIR": str(home), "MPLCONFIGDIR": str(fonts),
            "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "TRAINING_JOB_NAME": self.name,
            "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            **loopback.DEAD_END,
            **({} if self.stage.mount else {"CHECKPOINT_DIR": str(self.ml / "checkpoints")}),
            **(self.request.get("Environment") or {}),
        }  # fmt: skip

    def _run(self) -> int:
        """Run the container to its end; copy log and checkpoints out as they grow."""
        log = self.ml.parent / "log"
        with self.lock:
            if self.stopping:
                return 143
            with open(log, "wb") as output:
                self.process = subprocess.Popen(
                    self._command(), env=self._environment(), cwd=self.ml.parent,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
                self.stage.bequeath(self.process.pid)
        with open(log, errors="replace") as lines:
            ended = False
            while not ended:
                ended = self.process.poll() is not None
                self._publish(lines.read())
                self._sync()
                time.sleep(0 if ended else 0.2)
        with suppress(ProcessLookupError):  # what outlived the first process dies with it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.stage.bequeath(-self.process.pid)
        return self.process.returncode

    def _publish(self, text: str) -> None:
        """Append to the job's stream in (moto's) CloudWatch."""
        events = [
            {"timestamp": int(time.time() * 1000), "message": line}
            for line in text.splitlines()
            if line.strip()
        ]
        where = {
            "logGroupName": "/aws/sagemaker/TrainingJobs",
            "logStreamName": f"{self.name}/algo-1-1",
        }
        logs = self.stage.client("logs")
        if events and not self.events:
            with suppress(logs.exceptions.ResourceAlreadyExistsException):
                logs.create_log_group(logGroupName=where["logGroupName"])
            logs.create_log_stream(**where)
        for start in range(0, len(events), 1000):
            logs.put_log_events(**where, logEvents=events[start : start + 1000])
        self.events += events

    def _checkpoints(self) -> list[Path]:
        found = (self.ml / "checkpoints").rglob("*")
        return [path for path in found if path.is_file() and not path.name.startswith(".")]

    def _sync(self) -> None:
        """Copy what changed in /opt/ml/checkpoints to S3, as SageMaker does while a job runs."""
        if not (config := self.request.get("CheckpointConfig")):
            return
        for path in self._checkpoints():
            with suppress(FileNotFoundError):
                changed = path.stat().st_mtime_ns
                if self.synced.get(path) != changed:
                    name = path.relative_to(self.ml / "checkpoints")
                    self.stage.upload(path, f"{config['S3Uri'].rstrip('/')}/{name}")
                    self.synced[path] = changed

    def _keep(self) -> None:
        """Pack /opt/ml/model into model.tar.gz, in S3."""
        if not any((self.ml / "model").iterdir()):
            return
        archive = self.ml.parent / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted((self.ml / "model").iterdir()):
                tar.add(path, path.name)
        folder = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        uri = f"{folder}/{self.name}/output/model.tar.gz"
        self.stage.upload(archive, uri)
        self.record.model_artifacts = {"S3ModelArtifacts": uri}

    def _metrics(self) -> list[dict]:
        """The last value of each metric definition found in the log."""
        text = "\n".join(event["message"] for event in self.events)
        found = []
        for definition in self.request["AlgorithmSpecification"].get("MetricDefinitions") or []:
            if values := re.findall(definition["Regex"], text):
                metric = {"MetricName": definition["Name"], "Value": float(values[-1])}
                found.append(metric | {"Timestamp": time.time()})
        return found


class Trials:
    """A search for hyperparameters: two of its trials, one after the other."""

    def __init__(self, stage: Stage, record, request: dict):
        self.stage, self.record, self.request, self.stopping = stage, record, request, False
        record.hyper_parameter_tuning_job_status = "InProgress"
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _choices(self) -> list[dict[str, str]]:
        """Both ends of every range."""
        ranges = self.request["HyperParameterTuningJobConfig"]["ParameterRanges"]
        ends: list[dict[str, str]] = [{}, {}]
        for one in [r for kind in ranges.values() for r in kind]:
            values = one.get("Values") or [one["MinValue"], one["MaxValue"]]
            for chosen, value in zip(ends, (values[0], values[-1]), strict=True):
                chosen[one["Name"]] = value
        return ends

    def _live(self) -> None:
        definition = copy.deepcopy(self.request["TrainingJobDefinition"])
        config = self.request["HyperParameterTuningJobConfig"]
        objective = config["HyperParameterTuningJobObjective"]["MetricName"]
        static = definition.pop("StaticHyperParameters") | {"_tuning_objective_metric": objective}
        sagemaker, statuses = self.stage.client("sagemaker"), []
        for number, chosen in enumerate(self._choices(), start=1):
            if self.stopping:
                break
            name = (
                f"{self.request['HyperParameterTuningJobName']}-{number:03}-{os.urandom(4).hex()}"
            )
            sagemaker.create_training_job(
                TrainingJobName=name, HyperParameters=static | chosen, **definition
            )
            self.stage.jobs[name].thread.join()
            statuses.append(self.stage.jobs[name].record.training_job_status)
        ended = "Stopped" if self.stopping else "Completed"
        self.record.hyper_parameter_tuning_job_status = ended
        self.record.training_job_status_counters |= {"Completed": statuses.count("Completed")}


def mount_command() -> list[str] | None:
    """The words before a command that show it a folder as /opt/ml, or None if none work here."""
    if Path("/opt/ml").is_dir():
        place = 'mount --bind "$0" /opt/ml'
    elif any(prefix.startswith("/opt/") for prefix in (sys.prefix, sys.base_prefix)):
        return None  # a fresh /opt would hide Python itself
    else:
        place = 'mount -t tmpfs tmpfs /opt && mkdir /opt/ml && mount --bind "$0" /opt/ml'
    command = ["unshare", "-Urm", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
    command += ["sh", "-c", f'{place} && exec "$@"']
    try:
        tried = subprocess.run([*command, "/tmp", "true"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return command if tried.returncode == 0 else None


def _first_process(unshare: int) -> int:
    """The container's process 1, seen from outside."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    return int(children[0]) if children else unshare


# --- an endpoint --------------------------------------------------------------------------------


class Server:
    """One endpoint's server: created with the model of its configuration, killed with it."""

    def __init__(self, stage: Stage, record, model: dict):
        self.stage, self.record, self.model = stage, record, model
        self.folder = stage.folder / f"endpoint-{record.endpoint_name}"
        self.process: subprocess.Popen | None = None
        self.port: int | None = None
        record.endpoint_status = "Creating"
        self.thread = threading.Thread(target=self._start, daemon=True)
        self.thread.start()

    def _start(self) -> None:
        container = self.model.get("PrimaryContainer") or self.model["Containers"][0]
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.stage.download(container["ModelDataUrl"], self.folder / "download")
            (archive,) = (self.folder / "download").iterdir()
            with tarfile.open(archive) as tar:
                tar.extractall(self.folder / "model", filter="data")
        except Exception as error:
            self._fail(f"Failed to extract model data archive ({error}).")
            return
        environment = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
            "HOME": str(self.folder), **loopback.DEAD_END, **(container.get("Environment") or {}),
        }  # fmt: skip
        log = open(self.folder / "log", "w+")  # noqa: SIM115  (the process keeps it)
        self.process = subprocess.Popen(
            [sys.executable, serving.__file__, str(self.folder / "model")],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            text=True, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        self.stage.bequeath(self.process.pid)
        line = self.process.stdout.readline()
        if line.strip().isdigit():
            self.port = int(line)
            self.record.endpoint_status = "InService"
        else:
            log.seek(0)
            last = (log.read().strip().splitlines() or ["it printed nothing"])[-1]
            self._fail(f"The container did not pass the ping health check: {last}")
        log.close()

    def _fail(self, reason: str) -> None:
        self.record.failure_reason = reason
        self.record.endpoint_status = "Failed"

    def invoke(self, body: bytes, headers: dict) -> tuple[int, str, bytes]:
        """Forward a request: (status, content type, body); 0 if nobody answers."""
        address = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(address, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers["Content-Type"], answer.read()
        except OSError as error:
            return 0, "text/plain", f"the container does not answer: {error}".encode()

    def stop(self) -> None:
        """Kill the server; remove its files."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.stage.bequeath(-self.process.pid)
            self.process.stdin.close()
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
