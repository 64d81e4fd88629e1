"""What a rehearsal runs, each in a folder and processes of its own: jobs, searches, endpoints."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from cloud.rehearsal import reaper
from cloud.rehearsal.container import mount_command
from cloud.rehearsal.job import Job
from cloud.rehearsal.server import Server
from cloud.rehearsal.trials import Trials
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT

REGION = "us-east-1"
POLICY = ROOT / "cloud/jobs/iam/sagemaker_policy.json"


class Stage:
    """The jobs that run and the endpoints that serve in a rehearsal."""

    def __init__(self, endpoint: str, folder: Path, namespace: bool | None):
        self.endpoint, self.folder = endpoint, folder
        self.mount = mount_command() if namespace in (None, True) else None
        if namespace and not self.mount:
            raise InputError("this kernel allows no mount namespace; pass namespace=False")
        self.policy = json.loads(POLICY.read_text())
        self.spot = True  # is there spot capacity?
        self.second = 1.0  # how long is a second of a limit?
        self.clients, self.lock = {}, threading.Lock()
        self.jobs: dict[str, Job] = {}
        self.trials: dict[str, Trials] = {}
        self.servers: dict[str, Server] = {}
        self.reaper = subprocess.Popen(
            [sys.executable, reaper.__file__, str(folder)], stdin=subprocess.PIPE, text=True,
            bufsize=1, start_new_session=True,
        )  # fmt: skip

    def client(self, service: str):
        """A boto3 client of moto's, whatever the environment says; made once."""
        import boto3

        with self.lock:
            if service not in self.clients:
                self.clients[service] = boto3.session.Session().client(
                    service, endpoint_url=self.endpoint, region_name=REGION,
                    aws_access_key_id="aws", aws_secret_access_key="rehearsal",
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

    def kill_with_us(self, group: int) -> None:
        """Have a process group killed when this process is."""
        self._tell(group)

    def spare(self, group: int) -> None:
        """A process group has ended; its number may soon be another's."""
        self._tell(-group)

    def _tell(self, number: int) -> None:
        with self.lock, suppress(OSError):
            self.reaper.stdin.write(f"{number}\n")

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
        self.reaper.stdin.close()
        self.reaper.wait(60)
