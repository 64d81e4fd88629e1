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

ROOT = Path(__file__).resolve().parents[2]
# Not this machine's pip settings; not the `make` that runs the tests, to which ours would report.
ENVIRONMENT = {
    k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS"))
} | {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # the port of `discard`: nobody answers
}


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


def test_a_moved_environment_mends_itself(checkout):
    assert make(checkout, "setup").returncode == 0
    moved = checkout.rename(checkout.with_name("there"))
    done = make(moved, "setup")
    assert f"moved here from {checkout}: .venv is mended" in done.stdout
    pip = subprocess.run([moved / ".venv/bin/pip", "--version"], capture_output=True, text=True,
                         check=True)  # fmt: skip
    assert str(moved) in pip.stdout
    elsewhere = subprocess.run(
        [moved / ".venv/bin/python", "-c", "import mnist_utils; print(mnist_utils.__file__)"],
        cwd=moved.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(elsewhere.stdout.strip()).resolve() == moved / "mnist_utils" / "__init__.py"
    assert "moved" not in make(moved, "setup").stdout


def test_without_an_index_one_line_says_what_to_do_and_the_next_run_heals(checkout):
    lock = checkout / "requirements.lock"
    lock.write_text("torchsummary==1.5.1\n")
    done = make(checkout, "setup")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert done.returncode == 2
    assert len(said) == 1, done.stderr
    assert said[0].startswith("error: no package index answers: connect this machine, or set HTTPS")
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
            _, said = process.communicate(timeout=300)
            connection.close()
    assert process.returncode == 130
    assert said.strip() == "stopped; run `make setup` again, it goes on from here"
    assert not (checkout / ".venv.tmp").exists()


def loaded(monkeypatch, *arguments):
    """tools/setup.py as a module, started with these arguments."""
    monkeypatch.setattr(sys, "argv", ["tools/setup.py", *arguments])
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / "tools" / "setup.py")
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    return setup


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [([], "clone to a larger disk"), (["--studio"], "give it more storage")],
)
def test_a_full_disk_is_said_before_anything_is_written(monkeypatch, arguments, remedy):
    setup = loaded(monkeypatch, *arguments)
    setup.check()
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=6e8))
    with pytest.raises(setup.Refused, match=rf"0\.6 GB are free in .* takes up to .*{remedy}"):
        setup.check()


@pytest.mark.parametrize(
    ("here", "remedy"), [(False, "name one that has"), (True, "choose SageMaker Distribution 4.x")]
)
def test_over_a_torch_too_old_nothing_is_built(monkeypatch, tmp_path, here, remedy):
    setup = loaded(monkeypatch, "--studio")
    monkeypatch.setattr(setup, "METADATA", tmp_path if here else tmp_path / "none")
    monkeypatch.setattr(setup, "version", {"torch": "2.1.2", "torchvision": "0.16"}.__getitem__)
    with pytest.raises(setup.Refused, match=rf"has torch 2\.1\.2, not 2\.8 or newer: {remedy}"):
        setup.check()


def test_over_a_torch_only_what_is_lacking_or_too_old_is_installed(checkout):
    """The lock asks for less than is there, for as much, for torch's own, and for nothing more."""
    lock = checkout / "tools/studio/requirements.lock"
    lock.parent.mkdir()
    lock.write_text("numpy==1.26.4\ntorchsummary==1.5.1\ntorch==99.0\nnvidia-x==1.0\n")
    done = make(checkout, "setup", "STUDIO=1", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert "taken from" in done.stdout
    assert "installed over it: 0 packages" in done.stdout
    python = checkout / ".venv/bin/python"
    found = subprocess.run(
        [python, "-c", "import torch, torchsummary; print(torch.__file__)"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert str(checkout) not in found
    again = make(checkout, "setup", "--always-make")  # without STUDIO=1, and yet not 7 GB
    assert (again.returncode, "packages" in again.stdout) == (0, False), again.stderr


@pytest.mark.parametrize("slip", ["epochs=1", "EPOCH=1", "recipe=fast"])
def test_an_unknown_variable_is_named(checkout, slip):
    done = make(checkout, "train", slip)
    assert done.returncode == 2
    name = slip.split("=")[0]
    assert (
        f"no variable {name} here; there are PYTHON RECIPE EPOCHS RESUME ARGS LAB STUDIO"
        in done.stderr
    )


def test_what_make_passes_on(checkout):
    def last_line(*words):
        return make(checkout, "--dry-run", *words).stdout.splitlines()[-1]

    words = last_line("train", "EPOCHS=1", "RECIPE=fast", "RESUME=1", "ARGS=--lr 0.01").split()
    assert words[1:] == ["-m", "mnist_utils.train", "--recipe", "fast", "--epochs", "1", "--out",
                         "runs/quick", "--resume", "--lr", "0.01"]  # fmt: skip
    assert "--recipe course" in last_line("train")
    assert last_line("lab", "LAB=--port 9000").endswith("--port 9000")
    assert ("--allow-root" in last_line("lab")) == (os.getuid() == 0)
