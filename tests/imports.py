"""What a statement loads, in a process of its own."""

import json
import subprocess
import sys


def loaded_by(statement: str, names) -> set[str]:
    """Which of `names` are in `sys.modules` after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(names) & set(json.loads(done.stdout.splitlines()[-1]))
