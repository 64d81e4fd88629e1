"""What several test files share: digits, goldens, a browser, a command line in this process."""

import difflib
import os
import shutil
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch
from gates import gate

from mnist_utils import data
from mnist_utils.command import run as run_command

# One thread each: pytest runs as many processes as there are cores. Children inherit the variable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


# What starts jobs, servers, browsers, kernels or trainings: `make check` leaves it out.
SLOW = (
    "receptive/test_timm.py", "receptive/test_transformers.py", "classroom/grade/test_grading.py",
    "classroom/lab/test_page.py", "classroom/lab/test_widget.py", "cloud/jobs", "cloud/rehearsal",
    "cloud/serve/test_ray.py", "cloud/test_container.py", "mnist_utils/train/test_parallel.py",
    "mnist_utils/train/test_run.py", "test_wheel.py", "tools/test_bench.py",
    "tools/test_exercises.py", "tools/test_pairs.py", "tools/test_probes.py", "tools/test_setup.py",
    "tools/test_site.py",
)  # fmt: skip
load = data.load


@cache
def bundle(train: bool) -> data.Split:
    return load(train=train)


# Checksums and unzipping once for each process, not at each call.
data.load = lambda directory=None, *, train: (
    load(directory, train=train) if directory else bundle(train)
)


def pytest_addoption(parser):
    text = "store the goldens anew in tests/goldens/; `git diff` shows what changed"
    parser.addoption("--overwrite", action="store_true", help=text)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(here / place) for place in SLOW):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def train_split():
    return data.load(train=True)


@pytest.fixture(scope="session")
def test_split():
    return data.load(train=False)


@pytest.fixture
def golden(request):
    """Compare a text with the one stored under a name."""

    def compare(name, text):
        path = Path(__file__).parent / "goldens" / name
        if request.config.option.overwrite:
            path.write_text(text)
        stored = path.read_text() if path.exists() else ""
        lines = difflib.unified_diff(
            stored.splitlines(), text.splitlines(), "stored", "now", "", "", 1, ""
        )
        gate(
            lines, f"tests/goldens/{name}: if this is meant, run `pytest --overwrite` on this test"
        )

    return compare


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium; skipped where there is none (`apt install chromium`)."""
    from playwright.sync_api import sync_playwright

    found = [path for name in ("chromium", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open an address as a reader: any error on its console or request to elsewhere fails."""

    @contextmanager
    def open_(address, width=1280, scheme="light", harmless=()):
        window = {"viewport": {"width": width, "height": 1000}, "color_scheme": scheme}
        context, wrong = chromium.new_context(**window), []
        context.set_default_timeout(120_000)  # a busy machine is slow, and not wrong
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on(
            "request", lambda request: wrong.append(request.url) if _away(request.url) else None
        )
        page.goto(address)
        try:
            yield page
        finally:
            context.close()
        assert [what for what in wrong if not any(part in what for part in harmless)] == []

    return open_


def _away(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:", "ws://127.0.0.1:"))


AXE_OPTIONS = "{preload: false, resultTypes: ['violations']}"
AXE = Path(__file__).with_name("axe.min.js")  # of npm's axe-core; MPL-2.0


@pytest.fixture
def barriers():
    """What on a page shuts someone out, by axe-core's rules: what is wrong, and where."""

    def find(page, within="document"):
        page.evaluate(AXE.read_text())
        found = page.evaluate(f"axe.run({within}, {AXE_OPTIONS})")["violations"]
        return [(v["id"], [node["target"] for node in v["nodes"]][:3]) for v in found]

    return find


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a room's `main` as its command line does; return (exit status, stdout, stderr)."""

    def run(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_command(main)
        output = capsys.readouterr()
        return stop.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def refused(command):
    """Run a command line that must fail with exit 2 and one line; return that line."""

    def run(main, *arguments):
        status, _, err = command(main, *arguments)
        assert status == 2
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        return err

    return run
