"""The same four functions behind Ray Serve, from the archive that its image takes."""

import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from networks import npy

from cloud.jobs import archive
from cloud.serve import handlers
from cloud.serve.handlers import JSON, NPY

RAY_SERVE = """\
import importlib, sys, ray, yaml
from ray import serve

port, temporary = sys.argv[1:]
application = yaml.safe_load(open("config.yaml"))["applications"][0]
for attempt in range(10):  # Ray gives its own parts 30 seconds by the clock, however busy it is
    try:
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=10**8,
                 _temp_dir=f"{temporary}/{attempt}")
        break
    except Exception as error:
        print(error, file=sys.stderr)
        ray.shutdown()
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
module, name = application["import_path"].split(":")
serve.run(getattr(importlib.import_module(module), name), route_prefix=application["route_prefix"])
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


@pytest.fixture
def ray_endpoint(tmp_path, model_dir):
    """The Ray Serve archive, unpacked and served by Ray itself; its URL."""
    packed = tmp_path / "model.tar.gz"
    archive.pack(model_dir, packed)
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "model"),  # the archive's source, not the repository's
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",  # of 15 by default: on a busy machine no turn within minutes
    }
    log = tmp_path / "log"
    with (
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as temporary,  # sockets: short paths
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", RAY_SERVE, str(port), temporary],
            cwd=tmp_path / "model", env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        ) as server,
    ):  # fmt: skip
        timer = threading.Timer(600, server.kill)
        timer.start()
        assert any(line == "ready\n" for line in server.stdout), log.read_text()
        yield f"http://127.0.0.1:{port}/"
        server.communicate("")
        timer.cancel()
        assert server.returncode == 0, log.read_text()


def test_ray_serve_answers_as_the_functions_do(ray_endpoint, digits, model):
    def ask(body, kind):
        return urlopen(Request(ray_endpoint, body, {"Content-Type": kind}), timeout=600)

    with ask(npy(digits[:1000]), NPY) as answer:
        labels = json.load(answer)["labels"]
    expected = handlers.predict_fn(handlers.input_fn(npy(digits[:1000]), NPY), model)
    assert labels == expected.argmax(dim=1).tolist()
    with pytest.raises(HTTPError, match="400") as refusal:
        ask(b"[[", JSON)
    assert b"not whole JSON" in refusal.value.read()
