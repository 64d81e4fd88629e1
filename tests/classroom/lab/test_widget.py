"""The lab in JupyterLab: rows changed in the browser, numbers confirmed by describe."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from classroom.lab import Lab
from classroom.lab.design import numbers, rows_of
from mnist_utils import chains, models
from mnist_utils.files import ROOT
from receptive import describe


def test_the_kernel_answers_with_what_describe_says_and_a_network_brings_its_weights():
    lab = Lab("16C5-MP2-16C3")
    assert chains.build(lab.rows)
    lab.rows = [*lab.rows[:1], *lab.rows[2:]]
    assert lab.numbers == {"version": 0, "lines": numbers(lab.rows)}
    lab.version += 1
    assert lab.numbers == {"version": 1, "lines": numbers(lab.rows)}
    lab.rows = [{"kind": "conv", "k": 29}]
    lab.version += 1
    assert lab.numbers["problem"] == "row 1: a window of 29 does not fit a map of 28"
    network = models.build("Model2")
    last = Lab(network).about["trained"][-1]
    assert last["name"] == "your network"
    assert last["rows"] == rows_of(network)


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory):
    """JupyterLab on loopback with a token of its own: its address, the token, its folder."""
    home, root = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("root")
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = os.environ | folders | {"HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
    environment["PYTHONPATH"] = str(ROOT)
    (home / "CONFIG" / "labconfig").mkdir(parents=True)
    (home / "CONFIG" / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                assert server.poll() is None, (home / "log").read_text()
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=2)
                    break
                except OSError:
                    time.sleep(0.1)
            yield address, token, root
        finally:
            server.terminate()
            server.wait(30)


def test_in_jupyterlab_a_kernel_size_is_changed_and_describe_confirms(jupyterlab, visit, barriers):
    address, token, root = jupyterlab
    cells = [nbformat.v4.new_code_cell("from classroom.lab import Lab\nlab = Lab()\nlab")]
    python = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=python), root / "bench.ipynb")
    place = f"{address}/lab/tree/bench.ipynb?token={token}"
    with visit(place, harmless=["404"]) as page:
        page.set_default_timeout(600_000)
        page.get_by_text("| Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.get_by_text("Confirmed by describe, in the kernel.").wait_for()
        kernel = page.get_by_label("kernel size of row 1", exact=True)
        kernel.focus()
        page.keyboard.press("ArrowUp")
        six = describe(models.build("16C6-MP2-16C3"))
        total = f"{six.parameters:,} parameters, {six.macs:,} multiply-adds"
        page.locator(".totals").get_by_text(total).wait_for()
        page.get_by_text("Confirmed by describe, in the kernel.").wait_for()
        page.get_by_role("button", name="remove row 9").click()
        page.get_by_role("button", name="remove row 8").click()
        page.get_by_text("Confirmed by describe, in the kernel.").wait_for()
        assert barriers(page, "'.lab'") == []
