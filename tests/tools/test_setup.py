"""`make`: the first thing that a newcomer types, on machines where it can go wrong."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnist_utils.files import ROOT

# Not this machine's pip settings; not the `make` that runs the tests, to which ours would report.
OTHERS = ("PIP_", "MAKE", "MFLAGS", "PYTHONPATH")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
ENVIRONMENT["PIP_CONFIG_FILE"] = os.devnull
ENVIRONMENT["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"  # `discard`'s port: nobody answers


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose lock asks for nothing, so that no index is needed."""
    folder = tmp_path / "here"
    (folder / "tools").mkdir(parents=True)
    (folder / "mnist_utils").mkdir()
    (folder / "mnist_utils" / "__init__.py").touch()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "tools" / "setup.py", folder / "tools")
    (folder / "requirements.lock").touch()
    return folder


def make(folder, *words, **options):
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *words],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def said(*words, cwd=None):
    """What a command prints."""
    done = subprocess.run(words, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_moved_environment_mends_itself(checkout):
    assert make(checkout, "setup").returncode == 0
    moved = checkout.rename(checkout.with_name("there"))
    done = make(moved, "setup")
    assert f"moved here from {checkout}: .venv is mended" in done.stdout
    assert str(moved) in said(moved / ".venv/bin/pip", "--version")
    where = "import mnist_utils; print(mnist_utils.__file__)"
    found = said(moved / ".venv/bin/python", "-c", where, cwd=moved.parent)
    assert Path(found.strip()).resolve() == moved / "mnist_utils" / "__init__.py"
    assert "moved" not in make(moved, "setup").stdout


def test_without_an_index_one_line_says_what_to_do_and_the_next_run_heals(checkout):
    lock = checkout / "requirements.lock"
    lock.write_text("torchsummary==1.5.1\n")
    done = make(checkout, "setup")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert done.returncode == 2
    assert line.startswith("error: no package index answers: connect this machine, or set HTTPS")
    assert not (checkout / ".venv.tmp").exists()
    assert not (checkout / ".venv" / ".ready").exists()
    lock.write_text("")
    assert make(checkout, "setup").returncode == 0


def test_ctrl_c_in_set_up_costs_one_line(checkout):
    (checkout / "requirements.lock").write_text("torchsummary==1.5.1\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        with subprocess.Popen(
            [sys.executable, "tools/setup.py"], cwd=checkout, text=True, stderr=subprocess.PIPE,
            stdout=subprocess.PIPE, env=ENVIRONMENT | {"PIP_INDEX_URL": index},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
        ) as process:  # fmt: skip
            silent.settimeout(300)
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=300)
            connection.close()
    assert process.returncode == 130
    assert error.strip() == "stopped; run `make setup` again, it goes on from here"
    assert not (checkout / ".venv.tmp").exists()


def loaded(monkeypatch, *arguments):
    """tools/setup.py as a module, started with these arguments."""
    monkeypatch.setattr(sys, "argv", ["tools/setup.py", *arguments])
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / "tools" / "setup.py")
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    return setup


def test_on_a_full_disk_or_over_a_torch_too_old_nothing_is_built(monkeypatch, tmp_path):
    for arguments, remedy in (([], "clone to a larger disk"), (["--studio"], "more storage")):
        setup = loaded(monkeypatch, *arguments)
        setup.check()
        with monkeypatch.context() as full:
            full.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=6e8))
            with pytest.raises(setup.Refused, match=rf"0\.6 GB are free in .* to .*{remedy}"):
                setup.check()
    monkeypatch.setattr(setup, "version", {"torch": "2.1.2", "torchvision": "0.16"}.__getitem__)
    for place, remedy in (("none", "name one that has"), ("", "choose SageMaker Distribution 4.x")):
        monkeypatch.setattr(setup, "METADATA", tmp_path / place)  # there in Studio alone
        with pytest.raises(setup.Refused, match=rf"has torch 2\.1\.2, not 2\.8 or .*: {remedy}"):
            setup.check()


def test_a_whole_environment_lacks_nothing_by_its_own_pip(monkeypatch):
    """After `git pull` the installed pip reads the lock; the one of the first run was older."""
    setup = loaded(monkeypatch)
    words = [sys.executable, "-c", setup.MISSING, ROOT / "requirements.lock", ""]
    lacking = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert [pin for pin in lacking.splitlines() if not pin.startswith(setup.FROM_C)] == []


def test_over_a_torch_only_what_is_lacking_or_too_old_is_installed(checkout):
    """The lock asks for less than is there, for as much, for torch's own, and for nothing more."""
    lock = checkout / "tools/studio/requirements.lock"
    lock.parent.mkdir()
    lock.write_text("numpy==1.26.4\ntorchsummary==1.5.1\ntorch==99.0\nnvidia-x==1.0\n")
    done = make(checkout, "setup", "STUDIO=1", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert "taken from" in done.stdout
    assert "installed over it: 0 packages" in done.stdout
    where = "import torch, torchsummary; print(torch.__file__)"
    assert str(checkout) not in said(checkout / ".venv/bin/python", "-c", where)
    again = make(checkout, "setup", "--always-make")  # without STUDIO=1, and yet not 7 GB
    assert (again.returncode, "packages" in again.stdout) == (0, False), again.stderr


def test_what_make_passes_on_and_what_it_refuses(checkout):
    def last_line(*words):
        return make(checkout, "--dry-run", *words).stdout.splitlines()[-1]

    words = last_line("train", "EPOCHS=1", "RECIPE=fast", "RESUME=1", "ARGS=--lr 0.01").split()
    assert words[1:] == ["-m", "mnist_utils.train", "--recipe", "fast", "--epochs", "1", "--out",
                         "runs/quick", "--resume", "--lr", "0.01"]  # fmt: skip
    assert "--recipe course" in last_line("train")
    assert "--resume" not in last_line("train", "RESUME=0")
    assert last_line("lab", "LAB=--port 9000").endswith("--port 9000")
    assert ("--allow-root" in last_line("lab")) == (os.getuid() == 0)
    for slip in ("epochs=1", "EPOCH=1", "recipe=fast"):
        done = make(checkout, "train", slip)
        assert done.returncode == 2
        assert f"no variable {slip.split('=')[0]} here; there are PYTHON RECIPE" in done.stderr
