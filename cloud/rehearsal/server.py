"""An endpoint of a rehearsal: `serving` as a process, with the model of its configuration."""

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request

from cloud.rehearsal import loopback, serving


class Server:
    """One endpoint's server: created with the model of its configuration, killed with it."""

    def __init__(self, stage, record, model: dict):
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
        self.stage.kill_with_us(self.process.pid)
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
            self.stage.spare(self.process.pid)
            self.process.stdin.close()
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
