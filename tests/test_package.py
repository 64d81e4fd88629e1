import subprocess
import sys

HEAVY = ("sagemaker", "albumentations", "matplotlib")


def loaded_by(statement: str) -> list[str]:
    code = f"import sys; {statement}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return eval(done.stdout)


def test_importing_the_package_loads_nothing_heavy():
    rooms = "checkpoint, config, data, augment, models, evaluate, train"
    assert loaded_by(f"import mnist_utils; from mnist_utils import {rooms}") == []
    assert loaded_by("import matplotlib") == ["matplotlib"]  # the check itself can fail
