"""A training container's folders and variables."""

import json

import pytest

from mnist_utils.files import DATA

QUICK = {"recipe": "fast", "subset": 256, "batch_size": 64, "epochs": 2, "evaluate_every": 1,
         "validation": 500}  # fmt: skip


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A container's folders and variables."""
    for variable, name in (("SM_MODEL_DIR", "model"), ("SM_OUTPUT_DIR", "output")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(DATA))
    monkeypatch.setenv("SM_HPS", json.dumps(QUICK))
    return tmp_path
