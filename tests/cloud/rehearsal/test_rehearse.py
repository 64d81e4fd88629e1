"""A rehearsal reaches nothing but this machine, and leaves nothing behind on it."""

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest

from cloud.rehearsal import loopback, patches, rehearse, stage
from mnist_utils.errors import InputError

# Python runs this first in every process of the rehearsal: whom does it try to reach?
WITNESS = """
import os, sys
def witness(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[event in ("socket.connect", "socket.sendto")]
        where = where[0] if isinstance(where, tuple) else where
        with open({log!r}, "a") as log:
            log.write(f"{{event}} {{where}}\\n")
sys.addaudithook(witness)
"""

RUN = """
import sys
from mnist_utils import command
from cloud.jobs.__main__ import main
from cloud.rehearsal import loopback, stage
loopback.DEAD_END["PYTHONPATH"] = {folder!r}  # into the containers, too
stage.mount_command = lambda: None  # the way without a namespace
command.run(main)
"""


SHARED = Path("/tmp/sagemaker")  # the SDK's own choice, where two users of a machine would meet


def test_with_dead_proxies_and_keys_of_nonsense_no_byte_leaves_loopback(tmp_path):
    log, before, shared_before = tmp_path / "log", _opt_ml(), SHARED.exists()
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness/sitecustomize.py").write_text(WITNESS.format(log=str(log)))
    run = tmp_path / "run.py"
    run.write_text(RUN.format(folder=str(tmp_path / "witness")))
    dead, nonsense = "http://127.0.0.1:9", "nonsense"
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "witness"), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1",
        "HTTP_PROXY": dead, "HTTPS_PROXY": dead, "http_proxy": dead, "https_proxy": dead,
        "ALL_PROXY": dead, "AWS_ACCESS_KEY_ID": nonsense, "AWS_SECRET_ACCESS_KEY": nonsense,
        "AWS_SESSION_TOKEN": nonsense, "AWS_PROFILE": nonsense, "AWS_DEFAULT_REGION": "eu-west-9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }  # fmt: skip
    command = [sys.executable, str(run), "--rehearse", "all", "--out", str(tmp_path / "model")]
    options = ["--recipe", "fast", "--subset", "1000", "--epochs", "1", "--batch_size", "64"]
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "cannot prove",
        "epoch=1",
        "Completed",
        "of 1,000 test digits",
        "deleted: endpoint, configuration, model",
    ):
        assert words in done.stdout, words
    assert "Traceback" not in done.stderr

    tried = set(log.read_text().splitlines())
    assert any(line.startswith("socket.connect") for line in tried)
    assert [line for line in tried if not loopback.is_here(line.split(" ", 1)[1])] == []

    assert (tmp_path / "model/model.safetensors").exists()
    assert not list(tmp_path.glob("rehearsal-*"))
    assert SHARED.exists() is shared_before
    assert _opt_ml() == before
    assert not [line for line in _processes() if str(tmp_path) in line]


def _opt_ml() -> list[str]:
    return sorted(map(str, Path("/opt/ml").rglob("*"))) if Path("/opt/ml").exists() else ["absent"]


def _processes() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


LEFT_ALONE = """
from cloud import jobs
place = jobs.connect(rehearse=True)
job = jobs.submit(place, {"recipe": "reference_batch"})  # half a minute an epoch
jobs.wait(place, job, until="starting at epoch 1", logs=False)
print("ready", place.rehearsal.folder, flush=True)
jobs.wait(place, job, logs=False)
"""


def test_a_rehearsal_that_is_killed_leaves_no_process_and_no_folder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", LEFT_ALONE], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    line = next(line for line in process.stdout if line.startswith("ready"))
    folder = Path(line.split()[1])
    assert _of(folder)
    process.kill()
    process.wait(300)
    deadline = time.monotonic() + 300
    while (folder.exists() or _of(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not folder.exists()
    assert _of(folder) == []
    assert not list(tmp_path.glob("rehearsal-*"))


def _of(folder: Path) -> list[str]:
    """Processes that work in a folder, or were started with it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            here = str(folder)
            if here in os.readlink(path / "cwd") or here in (path / "cmdline").read_text():
                found.append((path / "cmdline").read_text())
    return found


def test_sockets_reach_this_machine_alone(monkeypatch):
    """The real functions are replaced before, so that a broken guard sends nothing either."""
    reached = []
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda sock, address: reached.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_: reached.append(host))
    with loopback.only(), socket.socket() as sock:
        for host in ("sts.us-east-1.amazonaws.com", "192.0.2.1", "2001:db8::1", "0.0.0.0"):
            for call in (sock.connect, sock.connect_ex):
                with pytest.raises(ConnectionRefusedError, match="does not talk to"):
                    call((host, 443))
            with pytest.raises(ConnectionRefusedError, match=f"does not talk to {host}"):
                socket.getaddrinfo(host, 443)
        assert reached == []
        sock.connect(("127.0.0.1", 80))
        socket.getaddrinfo("localhost", 80)
        assert reached == [("127.0.0.1", 80), "localhost"]
    socket.getaddrinfo("example.org", 80)
    assert reached[-1] == "example.org"  # the guard is gone


def test_the_user_s_aws_settings_and_proxies_are_hidden(tmp_path):
    environment = {
        "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine", "AWS_ENDPOINT_URL_S3": "mine",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "aws_ca_bundle": "mine",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "mine", "https_proxy": "mine", "ALL_PROXY": "mine",
        "SAGEMAKER_ROLE": "mine", "MLFLOW_TRACKING_URI": "mine", "HOME": "/home/me",
    }  # fmt: skip
    loopback.isolate(environment, "http://127.0.0.1:1", tmp_path, "us-east-1")
    assert "mine" not in environment.values()
    assert environment["HOME"] == "/home/me"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        assert Path(environment[name]).read_text() == ""


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), (None, True),
        ("0.0.0.0", False), ("192.0.2.1", False), ("localhost.example.org", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_machine(host, here):
    assert loopback.is_here(host) is here


def test_a_namespace_asked_for_but_not_to_be_had_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(stage, "mount_command", lambda: None)
    with pytest.raises(InputError, match="no mount namespace"):
        stage.Stage("http://127.0.0.1:1", tmp_path, True)
    assert stage.Stage("http://127.0.0.1:1", tmp_path, None).mount is None


def test_every_patch_is_listed_with_what_it_hides(monkeypatch):
    """A patch that nobody lists makes the rehearsal kinder than AWS unseen."""
    made, real = set(), mock.patch.object

    def noted(target, name, *arguments, **options):
        made.add((target.__name__.rsplit(".")[-1], name))
        return real(target, name, *arguments, **options)

    monkeypatch.setattr(mock.patch, "object", noted)
    with rehearse():
        pass
    listed = {
        (owner, name)
        for owner, names in re.findall(r"^    (\w+)\.([\w, ]+?)(?:  .*)?$", patches.__doc__, re.M)
        for name in names.split(", ")
    }
    assert listed == made


def test_on_windows_a_rehearsal_is_refused_in_one_line(monkeypatch):
    rehearsed = rehearse()
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(InputError, match="on Windows, use WSL"):
        rehearsed.__enter__()
