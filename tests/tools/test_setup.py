"""`make`: the first thing that a newcomer types, on machines where it can go wrong."""

import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnist_utils.files import ROOT
from tools import lock

# Not this machine's pip settings; not the `make` that runs the tests, to which ours would report.
OTHERS = ("PIP_", "MAKE", "MFLAGS", "PYTHONPATH")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
ENVIRONMENT["PIP_CONFIG_FILE"] = os.devnull
ENVIRONMENT["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"  # `discard`'s port: nobody answers


NOTHING = "uv==0.13.9\n    # none\n"  # a lock that asks for nothing
SOMETHING = NOTHING + "torchsummary==1.5.1\n    # train\n"


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose lock asks for nothing, so that no index is needed."""
    folder = tmp_path / "here"
    (folder / "mnist_utils").mkdir(parents=True)
    (folder / "mnist_utils" / "__init__.py").touch()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / "tools" / "jupyter", folder / "tools" / "jupyter")
    shutil.copy(ROOT / "tools" / "setup.py", folder / "tools")
    (folder / "requirements.lock").write_text(NOTHING)
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


def test_a_moved_environment_mends_itself_and_then_costs_nothing(checkout):
    assert make(checkout, "setup").returncode == 0
    for name in ("there", "over there, 100% – ü"):
        moved = checkout.rename(checkout.with_name(name))
        done = make(moved, "setup")
        assert f"moved here from {checkout}: .venv is mended" in done.stdout, done.stderr
        assert str(moved) in said(moved / ".venv/bin/pip", "--version")
        where = "import mnist_utils; print(mnist_utils.__file__)"
        found = said(moved / ".venv/bin/python", "-c", where, cwd=moved.parent)
        assert Path(found.strip()).resolve() == moved / "mnist_utils" / "__init__.py"
        assert make(moved, "setup").stdout == ""
        checkout = moved


def test_an_environment_stopped_at_any_moment_is_made_whole_by_the_same_command(checkout):
    assert make(checkout, "setup").returncode == 0
    ready, pip = checkout / ".venv/.ready", checkout / ".venv/bin/pip"
    before = pip.read_bytes()
    ready.write_text("")  # a disk that was full
    done = make(checkout, "setup")
    assert (done.returncode, pip.read_bytes()) == (0, before), done.stderr
    ready.write_text(ready.read_text().replace('"lock": "', '"lock": null, "was": "'))
    shutil.rmtree(next((checkout / ".venv/lib").glob("python*/site-packages/pip")))  # amid `venv`
    assert make(checkout, "setup").returncode == 0
    assert said(checkout / ".venv/bin/pip", "--version")


def test_another_torch_than_the_one_that_is_there_is_refused_and_not_claimed(checkout):
    assert make(checkout, "setup").returncode == 0
    line = one_line(make(checkout, "setup", "CPU=1"))
    assert line.endswith("holds another PyTorch: delete it, then the same command again")
    assert make(checkout, "setup").stdout == ""


def one_line(done):
    """What a set-up that failed says, `make` apart."""
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert done.returncode == 2
    return line


def test_without_an_index_one_line_says_what_to_do_and_the_next_run_heals(checkout):
    lock = checkout / "requirements.lock"
    lock.write_text(SOMETHING)
    line = one_line(make(checkout, "setup"))
    assert line.startswith("error: packages could not be fetched: connect this machine, or set")
    assert "It says: ERROR: No matching distribution found for uv" in line
    assert json.loads((checkout / ".venv/.ready").read_text())["groups"] == []
    lock.write_text(NOTHING)
    assert make(checkout, "setup").returncode == 0
    assert not (checkout / ".venv.tmp").exists()


def test_ctrl_c_in_set_up_costs_one_line(checkout):
    (checkout / "requirements.lock").write_text(SOMETHING)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        with subprocess.Popen(
            [sys.executable, "tools/setup.py", "train"], cwd=checkout, text=True,
            stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            env=ENVIRONMENT | {"PIP_INDEX_URL": index},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
        ) as process:  # fmt: skip
            silent.settimeout(300)
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=300)
            connection.close()
    assert process.returncode == 130
    assert error.strip() == "stopped; the same command goes on from here"
    (checkout / "requirements.lock").write_text(NOTHING)
    assert make(checkout, "setup").returncode == 0


def test_somebody_else_s_venv_and_a_folder_that_cannot_be_written_are_left_alone(checkout):
    theirs = checkout / ".venv" / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    line = one_line(make(checkout, "train"))
    assert line == f"error: {checkout}/.venv is not the course's: move it away, or delete it"
    assert theirs.read_text() == "theirs"
    shutil.rmtree(checkout / ".venv")
    (checkout / ".venv.lock").mkdir()  # as in a checkout that is read-only, also for root
    assert "Is a directory; choose another folder or disk" in one_line(make(checkout, "setup"))


def test_of_two_set_ups_at_once_the_second_waits(checkout):
    with open(checkout / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = ["make", f"PYTHON={sys.executable}", "setup"]
        with subprocess.Popen(words, cwd=checkout, env=ENVIRONMENT, stdout=subprocess.PIPE,
                              text=True) as second:  # fmt: skip
            assert second.stdout.readline() == "another set-up is at work here; waiting for it\n"
            assert not (checkout / ".venv").exists()
            fcntl.flock(lock, fcntl.LOCK_UN)
            second.communicate(timeout=300)
    assert second.returncode == 0


def loaded(monkeypatch, *arguments):
    """tools/setup.py as a module, started with these arguments."""
    monkeypatch.setattr(sys, "argv", ["tools/setup.py", *arguments])
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / "tools" / "setup.py")
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    return setup


def test_on_a_full_disk_an_odd_python_or_over_a_torch_too_old_nothing_is_built(
    monkeypatch, tmp_path
):
    setup = loaded(monkeypatch)

    def refuses(match, over=False, groups=("train",), cpu=None):
        with pytest.raises(setup.Refused, match=match):
            setup.check(over, groups, cpu)

    for over, remedy in ((False, "clone to a larger disk"), (True, "more storage")):
        setup.check(over, ["train"], None)
        with monkeypatch.context() as full:
            full.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=6e8))
            refuses(rf"0\.6 GB are free in .* to .*{remedy}", over)
    with monkeypatch.context() as small:
        small.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=3e9))
        setup.check(False, ["train"], "cpu")
        refuses(r"takes up to 6\.6", groups=("train", "cloud", "test"))
    for python, known in (((3, 10, 2), "is too old"), ((3, 15, 0), "is so new that")):
        with monkeypatch.context() as other:
            other.setattr(setup.sys, "version_info", python)
            refuses(f"Python 3.{python[1]} .* {known}.* install one from 3.11 to 3.14")
    monkeypatch.setattr(setup, "version", {"torch": "2.1.2", "torchvision": "0.16"}.__getitem__)
    for place, remedy in (("none", "name one that has"), ("", "choose SageMaker Distribution 4.x")):
        monkeypatch.setattr(setup, "METADATA", tmp_path / place)  # there in Studio alone
        refuses(rf"has torch 2\.1\.2, not 2\.8 or .*: {remedy}", over=True)


def test_the_lock_pins_each_group_with_hashes_and_the_lists_are_those_of_requirements_txt(
    monkeypatch,
):
    setup, groups = loaded(monkeypatch), lock.groups()
    some = {name: {*block.rpartition("# ")[2].split()} for block in setup.pins(setup.LOCK)
            for name in lock.names(block) if "--hash=sha256:" in block}  # fmt: skip
    for group, requirements in groups.items():
        for requirement in requirements:
            (name,) = lock.names(requirement)
            assert group in some[name], (group, name)
            assert name in some
    assert "jupyterlab" not in {name for name, needs in some.items() if "train" in needs}
    makefile = (ROOT / "Makefile").read_text()
    assert {*groups} == {*re.findall(r"\b(?:" + "|".join(groups) + r")\b", makefile)}
    assert lock.lists(groups) in (ROOT / "pyproject.toml").read_text(), "run `make lock`"


def test_without_cuda_torch_comes_from_its_own_index_and_no_gpu_needs_no_compiler(
    monkeypatch, tmp_path
):
    setup, calls = loaded(monkeypatch), []
    monkeypatch.setattr(setup, "TEMPORARY", tmp_path)
    monkeypatch.setattr(setup, "run", lambda words, *pins: calls.append((words, "".join(pins))))
    monkeypatch.setattr(setup, "site_packages", lambda: tmp_path)
    for cpu, where in ((None, None), ("cpu", ["--torch-backend", "cpu"]),
                       ("https://m/cpu", ["--index-url", "https://m/cpu"])):  # fmt: skip
        calls.clear()
        setup.install(False, {"train"}, cpu)
        (_, uv), (_, most), *torch = calls
        assert uv.startswith("uv==")
        assert "\nscipy==" in most
        assert ("\ntorch==" in most, "\nnvidia-" in most) == (not cpu, not cpu)
        has_gpu = Path("/proc/driver/nvidia/version").exists()
        assert ("\ntriton==" in most) == (has_gpu and not cpu)
        if cpu:
            ((words, pins),) = torch
            assert words[-2:] == where
            assert re.fullmatch(r"torch==\S+\ntorchvision==\S+\n", pins)


def test_over_a_torch_only_what_is_lacking_or_too_old_is_installed(checkout):
    """The lock asks for less than is there, for as much, for torch's own, and for nothing more."""
    overlay = checkout / "tools/studio/requirements.lock"
    overlay.parent.mkdir()
    overlay.write_text("numpy==1.26.4\ntorchsummary==1.5.1\ntorch==99.0\nnvidia-x==1.0\n")
    done = make(checkout, "setup", "STUDIO=1", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert "taken from" in done.stdout
    assert "installed over it: 0 packages" in done.stdout
    where = "import torch, torchsummary; print(torch.__file__)"
    assert str(checkout) not in said(checkout / ".venv/bin/python", "-c", where)
    again = make(checkout, "setup")  # without STUDIO=1, and yet not all
    assert (again.returncode, again.stdout) == (0, ""), again.stderr


def test_what_make_passes_on_and_what_it_refuses(checkout, monkeypatch):
    def last_line(*words):
        return make(checkout, "--dry-run", *words).stdout.splitlines()[-1]

    words = last_line("train", "EPOCHS=1", "RECIPE=fast", "RESUME=1", "ARGS=--lr 0.01").split()
    assert words[1:] == ["-m", "mnist_utils.train", "--recipe", "fast", "--epochs", "1", "--out",
                         "runs/quick", "--resume", "--lr", "0.01"]  # fmt: skip
    assert "--recipe course" in last_line("train")
    assert "--resume" not in last_line("train", "RESUME=0")
    assert "--cpu" not in make(checkout, "--dry-run", "setup", "CPU=0").stdout
    assert "--cpu=" in make(checkout, "--dry-run", "setup", "CPU=1").stdout
    monkeypatch.setitem(ENVIRONMENT, "CPU", "x86_64")  # as some shells export it
    assert "--cpu" not in make(checkout, "--dry-run", "setup").stdout
    assert last_line("lab", "LAB=--port 9000").endswith("--port 9000")
    assert ("--allow-root" in last_line("lab")) == (os.getuid() == 0)
    for slip in ("epochs=1", "EPOCH=1", "recipe=fast"):
        done = make(checkout, "train", slip)
        assert done.returncode == 2
        assert f"no variable {slip.split('=')[0]} here; there are PYTHON RECIPE" in done.stderr
