"""lab.js outside a browser: run by the node that playwright brings, on JSON in and out."""

import json
import subprocess

import pytest
from playwright._impl._driver import compute_driver_executable

from mnist_utils.files import ROOT

CALL = """
import * as lab from %s;
let text = "";
for await (const part of process.stdin) text += part;
const answer = JSON.parse(text).map((given) => (%s)(given, lab));
process.stdout.write(JSON.stringify(answer));
"""


def run_javascript(function: str, given: list) -> list:
    """What a JavaScript function of (an item, lab.js) returns for each item."""
    node, _ = compute_driver_executable()
    source = CALL % (json.dumps((ROOT / "classroom/lab/lab.js").as_uri()), function)
    done = subprocess.run(
        [node, "--input-type=module", "-e", source],
        input=json.dumps(given), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def javascript():
    node, _ = compute_driver_executable()
    started = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    if started.returncode:  # a bare Debian has no libatomic1
        pytest.skip(f"playwright's node does not start here: {started.stderr.strip()}")
    return run_javascript
