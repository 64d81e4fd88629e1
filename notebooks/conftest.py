"""What nbval lets through, closed.

- Pictures: nbval skips them. Here two pictures agree if they have the same size and no place in
  them differs much (`tools.pictures`); a picture that is missing on either side is red.
- Figures that differ from machine to machine (`sanitize.cfg`) are shown, and not compared.
- A cell that was never run, or a notebook stripped of its outputs, is red.
- A kernel that dies is red at once, and slow output is waited for.
- A notebook that git does not know, a student's or a trial, is left alone.
- A kernel computes in one thread: pytest runs as many kernels at once as there are cores.
- With `--disturbed`, a kernel plays another machine first (`tools.disturb`).
"""

import base64
import os
import time
from functools import cache
from pathlib import Path
from queue import Empty

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from mnist_utils.files import ROOT
from tools.pairs import FOLDER, tracked
from tools.pictures import DIFFERENT, largest_difference

DISTURB = ROOT / "tools" / "disturb.py"
compare_without_pictures = IPyNbCell.compare_outputs
run_without_check = IPyNbCell.runtest
await_reply_blindly = RunningKernel.await_reply
start_kernel = IPyNbFile.setup


def pytest_addoption(parser):
    text = "run the notebooks with pixels and weights disturbed a little: see tools/disturb.py"
    parser.addoption(
        "--disturbed", type=int, choices=(1, 2, 3), metavar="DRAW", help=text
    )


def pytest_configure(config):
    IPyNbFile.setup = setup
    IPyNbCell.compare_outputs = compare_outputs
    IPyNbCell.runtest = runtest
    RunningKernel.await_reply = await_reply
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))


def setup(self):
    start_kernel(self)
    if draw := self.config.option.disturbed:
        code = f"__import__('runpy').run_path({str(DISTURB)!r})['disturb']({draw})"
        reply = self.kernel.kc.execute_interactive(
            code, store_history=False, timeout=300
        )
        assert reply["content"]["status"] == "ok", reply["content"]


def pytest_ignore_collect(collection_path):
    ours = collection_path.suffix == ".ipynb" and collection_path.is_relative_to(FOLDER)
    return True if ours and collection_path not in known() else None


@cache
def known() -> set[Path]:
    return set(tracked())


def pictures(outputs) -> list[str]:
    return [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]


def compare_outputs(self, test, ref, skip_compare=None):
    if not compare_without_pictures(self, test, ref, skip_compare):
        return False
    ours, theirs = pictures(test), pictures(ref)
    if len(ours) != len(theirs):
        self.comparison_traceback = [
            f"{len(theirs)} pictures are stored, {len(ours)} were drawn"
        ]
        return False
    for number, (one, two) in enumerate(zip(ours, theirs, strict=True), start=1):
        difference = largest_difference(base64.b64decode(one), base64.b64decode(two))
        if difference > DIFFERENT:
            text = f"picture {number} differs from the stored one, by {difference:.0f} grey levels"
            self.comparison_traceback = [text]
            return False
    return True


def runtest(self):
    self.output_timeout = 60
    if self.cell.execution_count is None and self.cell.source.strip():
        self.raise_cell_error("This cell was never run; run `make notebooks`")
    run_without_check(self)


def await_reply(self, msg_id, timeout=None):
    """Wait in short turns, and look in between whether the kernel still lives."""
    end = time.monotonic() + (timeout or 3_600)
    while True:
        try:
            return await_reply_blindly(self, msg_id, timeout=2)
        except Empty:
            if not self.is_alive():
                raise RuntimeError("the kernel died") from None
            if time.monotonic() > end:
                raise
