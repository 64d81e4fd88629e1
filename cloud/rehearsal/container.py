"""One machine of a job: a folder and a process group, in which the folder is `/opt/ml`.

That takes a mount namespace. Where the kernel allows none, drivers and toolkit are told the folder
itself instead.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from cloud.rehearsal import loopback
from cloud.rehearsal.permissions import CALLER

# What the image's own entry point runs, where a job names none, as a tuner's.
TOOLKIT = [sys.executable, "-m", "sagemaker_training.cli.train"]


class Container:
    """A machine's folder, prepared as SageMaker does, and what runs in it."""

    def __init__(self, stage, name: str, request: dict, host: str):
        self.stage, self.name, self.request, self.host = stage, name, request, host
        self.ml = stage.folder / name / host / "ml"
        self.process: subprocess.Popen | None = None
        self.synced: dict[Path, int] = {}
        self.lines: list[str] = []

    def prepare(self, hosts: list[str]) -> None:
        """Lay out /opt/ml: data, configuration, checkpoints."""
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (self.ml / name).mkdir(parents=True)
        (self.ml.parent / "tmp").mkdir()
        known = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
        (self.ml.parent / "hosts").write_text(f"{known}\n127.0.0.1 {' '.join(hosts)}\n")
        channels = {}
        for channel in self.request["InputDataConfig"]:
            source = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self.stage.download(source, self.ml / "input/data" / channel["ChannelName"])
            channels[channel["ChannelName"]] = {"TrainingInputMode": "File"}
        if checkpoints := self.request.get("CheckpointConfig"):
            self.stage.download(checkpoints["S3Uri"], self.ml / "checkpoints")
            self.synced = {path: path.stat().st_mtime_ns for path in self._checkpoints()}
        configuration = {
            "hyperparameters": self.request.get("HyperParameters") or {},
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": self.host,
                "current_instance_type": "local",  # the truth, so nobody looks for a GPU
                "current_group_name": "homogeneousCluster",
                "hosts": hosts,
                "network_interface_name": "lo",
            },
        }
        for name, content in configuration.items():
            (self.ml / "input/config" / f"{name}.json").write_text(json.dumps(content))

    def start(self) -> None:
        with open(self.ml.parent / "log", "wb") as output:
            self.process = subprocess.Popen(
                self._command(), env=self._environment(), cwd=self.ml.parent,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self.stage.kill_with_us(self.process.pid)
        self._log = open(self.ml.parent / "log", errors="replace")  # noqa: SIM115 (till it ends)

    def _command(self) -> list[str]:
        algorithm = self.request["AlgorithmSpecification"]
        command = TOOLKIT
        if "ContainerEntrypoint" in algorithm:
            command = algorithm["ContainerEntrypoint"] + algorithm["ContainerArguments"]
        if self.stage.mount:
            return [*self.stage.mount, str(self.ml), *command]
        for path in (self.ml / "input/data/sm_drivers").rglob("*"):
            if path.suffix in (".py", ".sh"):
                told = path.read_text().replace("/opt/ml", str(self.ml))
                path.write_text(told.replace('"algo-1"', '"127.0.0.1"'))
        return [word.replace("/opt/ml", str(self.ml)) for word in command]

    def _environment(self) -> dict[str, str]:
        """What the container sees: nothing of the user's environment but what Python needs."""
        home = self.ml.parent / "tmp"
        torchrun = Path(shutil.which("torchrun") or "/bin/torchrun").parent
        fonts = Path(os.environ.get("MPLCONFIGDIR", Path.home() / ".cache/matplotlib"))
        elsewhere = {
            "CHECKPOINT_DIR": str(self.ml / "checkpoints"), "SAGEMAKER_BASE_DIR": str(self.ml),
            "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit then looks up no algo-1
        }  # fmt: skip
        return {
            "PATH": f"{Path(sys.executable).parent}:{torchrun}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home), "TMPDIR": str(home), "MPLCONFIGDIR": str(fonts),
            "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "TRAINING_JOB_NAME": self.name,
            "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "AWS_ENDPOINT_URL": self.stage.endpoint, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": CALLER, "AWS_SECRET_ACCESS_KEY": "rehearsal",  # the role's
            **loopback.DEAD_END,
            **({} if self.stage.mount else elsewhere),
            **(self.request.get("Environment") or {}),
        }  # fmt: skip

    def follow(self) -> int | None:
        """Copy log and checkpoints out as they grow; return the exit status, once there is one."""
        status = self.process.poll()
        self._publish(self._log.read())
        self._sync()
        return status

    def terminate(self, grace: float) -> None:
        """SIGTERM to the container's first process; SIGKILL after `grace` seconds."""
        pid = self.process.pid
        with suppress(ProcessLookupError):
            os.kill(_first_process(pid) if self.stage.mount else pid, signal.SIGTERM)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """What outlived the first process dies with it."""
        if self.process:
            self._kill()
            self.process.wait()
            self._log.close()
            self.stage.spare(self.process.pid)

    def _publish(self, text: str) -> None:
        """Append to the machine's stream in (moto's) CloudWatch."""
        lines = [line for line in text.splitlines() if line.strip()]
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in lines]
        where = {
            "logGroupName": "/aws/sagemaker/TrainingJobs",
            "logStreamName": f"{self.name}/{self.host}-1",
        }
        logs = self.stage.client("logs")
        if events and not self.lines:
            with suppress(logs.exceptions.ResourceAlreadyExistsException):
                logs.create_log_group(logGroupName=where["logGroupName"])
            logs.create_log_stream(**where)
        for start in range(0, len(events), 1000):
            logs.put_log_events(**where, logEvents=events[start : start + 1000])
        self.lines += lines

    def _checkpoints(self) -> list[Path]:
        paths = (self.ml / "checkpoints").rglob("*")
        return [path for path in paths if path.is_file() and not path.name.startswith(".")]

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


def mount_command() -> list[str] | None:
    """The words before a command that show it a folder as /opt/ml, or None if none work here."""
    if Path("/opt/ml").is_dir():
        place = 'mount --bind "$0" /opt/ml'
    elif any(prefix.startswith("/opt/") for prefix in (sys.prefix, sys.base_prefix)):
        return None  # a fresh /opt would hide Python itself
    else:
        place = 'mount -t tmpfs tmpfs /opt && mkdir /opt/ml && mount --bind "$0" /opt/ml'
    command = ["unshare", "-Urm", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
    hosts = 'test ! -f "$0/../hosts" || mount --bind "$0/../hosts" /etc/hosts'
    command += ["sh", "-c", f'{place} && {hosts} && exec "$@"']
    with tempfile.TemporaryDirectory() as folder:  # no other: what is mounted below cannot be bound
        try:
            tried = subprocess.run([*command, folder, "true"], capture_output=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
    return command if tried.returncode == 0 else None


def _first_process(unshare: int) -> int:
    """The container's process 1, seen from outside."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    return int(children[0]) if children else unshare
