"""What a run saves, how it stops, and how it goes on."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mnist_utils import models
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.recipes import RECIPES
from mnist_utils.train import loop, machine, train
from mnist_utils.weights import load_network, load_tensors

QUICK = TrainConfig(epochs=3, subset=256, workers=0, validation=500)


@pytest.fixture
def quick(tmp_path):
    """Run a configuration in a folder; return (run, folder)."""

    def run(config=QUICK, name="run", **options):
        out = tmp_path / name
        return train(config, out, **options), out

    return run


def test_the_quick_look_impresses(quick):
    """`make train EPOCHS=1`, on the validation digits."""
    run, _ = quick(replace(RECIPES["course"], epochs=1, validation=5_000))
    row = run.history[0]
    assert row["held_out_accuracy"] > 0.985
    losses = [part["train_loss"] for part in row["within"]]
    assert len(losses) == 20
    assert losses[-1] < 0.1 < 1 < losses[0]
    assert sum(losses) / 20 == pytest.approx(row["train_loss"], rel=0.01)


def test_without_the_resource_module_as_on_windows_seconds_are_still_counted(monkeypatch):
    monkeypatch.setattr(machine, "resource", None)
    wall, cpu = machine.clock()
    assert wall > 0 < cpu


@pytest.mark.parametrize(
    "config",
    [
        replace(QUICK, augmentation="batch", shift=1.0, ema=0.9, schedule="onecycle", lr=0.01),
        replace(QUICK, workers=2),
        replace(RECIPES["course"], epochs=3, subset=512, validation=500, evaluate_every=1),
    ],
    ids=["batch-onecycle-ema", "reference-two-workers", "sampling-muon-elastic-bfloat16"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(quick, monkeypatch, config):
    _, whole = quick(config, "whole")
    real = loop.train_epoch

    def stop_in_epoch_3(run, split, epoch, after_step):
        if epoch == 3:
            raise KeyboardInterrupt
        return real(run, split, epoch, after_step)

    monkeypatch.setattr(loop, "train_epoch", stop_in_epoch_3)
    with pytest.raises(KeyboardInterrupt, match="epochs 1 to 2 of 3 are saved"):
        quick(config, "stopped")
    monkeypatch.undo()
    _, stopped = quick(config, "stopped", resume=True)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        one, about_one = load_tensors(whole / name)
        two, about_two = load_tensors(stopped / name)
        assert about_one["config"] == about_two["config"]
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    keep = ("train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy")
    histories = [json.loads((out / "history.json").read_text()) for out in (whole, stopped)]
    rows = [[[row[key] for key in keep] for row in history["epochs"]] for history in histories]
    assert rows[0] == rows[1]


def test_training_goes_on_from_given_weights(tmp_path):
    """At rate 0 they are what comes out."""
    given = models.build("Model3")
    kept = train(replace(QUICK, epochs=1, lr=0.0), tmp_path / "given", trained=given).model
    for (name, ours), theirs in zip(given.named_parameters(), kept.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_history_holds_what_the_weights_give_and_only_the_same_run_goes_on(quick, train_split):
    _, out = quick()
    history = json.loads((out / "history.json").read_text())
    result = evaluate(load_network(out / "model.safetensors"), train_split.take(slice(-500, None)))
    assert (history["held_out"], history["digits"]) == ("validation", 500)
    assert history["errors"] == result.n_errors
    assert history["held_out_loss"] == pytest.approx(result.loss)
    assert TrainConfig.from_dict(history["config"]) == QUICK
    assert len(history["epochs"]) == 3
    assert history["parameters"] == 6_016
    with pytest.raises(InputError, match=r"trained otherwise \(lr 0.001 → 0.01\)"):
        quick(replace(QUICK, lr=0.01), resume=True)
    (out / "checkpoint.safetensors").write_bytes(os.urandom(4_000))
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="checkpoint.safetensors is not a readable checkpoint"):
        quick(resume=True)
    assert (out / "model.safetensors").read_bytes() == before


def test_a_loss_that_explodes_is_refused_by_the_rate_that_did_it(quick):
    with pytest.raises(InputError, match=r"loss is (nan|inf).*--lr 10.0 is too high"):
        quick(replace(QUICK, lr=10.0, weight_decay=10.0, epochs=60, evaluate_every=0))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_and_keeps_what_is_done(tmp_path, number, status):
    arguments = ["--out", tmp_path, "--epochs", 500, "--subset", 64, "--validation", 100]
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_utils.train", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for _ in range(2):
        assert process.stdout.readline().startswith("epoch=")
    os.killpg(process.pid, number)  # as a terminal does: the loader's processes get it too
    _, err = process.communicate(timeout=300)
    assert process.returncode == status
    assert "Traceback" not in err
    assert re.search(r"stopped: epochs 1 to \d+ of 500 are saved in .*--resume goes on", err)
    tensors, about = load_tensors(tmp_path / "checkpoint.safetensors")
    assert tensors
    assert len(about["history"]) >= 2
    assert not list(tmp_path.glob(".*"))
