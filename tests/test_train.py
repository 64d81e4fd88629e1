import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

import pytest
import torch

from mnist_utils import augment, checkpoint, evaluate, models, recipes, report, train
from mnist_utils.config import TrainConfig, option_name
from mnist_utils.errors import InputError

QUICK = TrainConfig(epochs=3, subset=256, workers=0, validation=500)


@pytest.fixture
def quick(tmp_path):
    """Run a configuration in a folder; return (run, folder)."""

    def run(config=QUICK, name="run", **options):
        out = tmp_path / name
        return train.train(config, None, out, **options), out

    return run


# --- the loop -----------------------------------------------------------------------------------


def test_loss_falls_on_one_batch(train_split):
    run = train.Training.start(replace(QUICK, epochs=40, lr=0.01, augmentation="none"))
    batch = train_split.take(slice(0, 32))
    rows = [train.train_epoch(run, batch, epoch, lambda *_: None) for epoch in range(1, 41)]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]


def test_one_step_equals_plain_pytorch(train_split):
    """Two routes to the first step: our loop, and the four lines of every tutorial."""
    config = replace(QUICK, epochs=1, augmentation="none", batch_size=32)
    batch = train_split.take(slice(0, 32))
    ours = train.Training.start(config)
    train.train_epoch(ours, batch, 1, lambda *_: None)

    torch.manual_seed(config.seed)
    model = models.build(config.model).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    torch.manual_seed(augment.epoch_seed(config.seed, 1))
    images, labels = next(augment.training_batches(batch, config, 1))
    loss = torch.nn.NLLLoss()(model(images.contiguous(memory_format=torch.channels_last)), labels)
    loss.backward()
    optimizer.step()
    for a, b in zip(ours.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_label_smoothing_equals_pytorch_s():
    logits, labels = torch.randn(16, 10), torch.arange(16) % 10
    for smoothing in (0.0, 0.1):
        ours = train.loss_function(logits.log_softmax(1), labels, smoothing)
        theirs = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert torch.allclose(ours, theirs)


def test_onecycle_rises_to_the_peak_and_falls_to_nothing():
    config = replace(QUICK, schedule="onecycle", lr=0.02, warmup=0.25)
    rates = [train.learning_rate(step, 100, config) for step in range(100)]
    assert rates.index(max(rates)) == 25
    assert max(rates) == pytest.approx(0.02)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] < 1e-4


def test_moving_average_equals_its_definition(train_split):
    config = replace(QUICK, ema=0.9, augmentation="none", batch_size=8, epochs=20)
    run, seen = train.Training.start(config), []
    run.optimizer.register_step_post_hook(
        lambda *_: seen.append(run.model.head.weight.detach().clone())
    )
    train.train_epoch(run, train_split.take(slice(0, 40)), 1, lambda *_: None)
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.9 * expected + 0.1 * weights
    assert torch.allclose(run.evaluated.head.weight, expected, atol=1e-6)


def test_a_short_run_averages_over_an_eighth_of_its_steps_at_most():
    config = replace(QUICK, ema=0.999)
    assert train.averaging_decay(9380, config) == 0.999  # twenty epochs of `course`
    assert train.averaging_decay(400, config) == pytest.approx(1 - 1 / 50)
    assert train.averaging_decay(4, config) == 0


def test_the_quick_look_impresses(quick):
    """`make train EPOCHS=1`, on the validation digits."""
    run, _ = quick(replace(recipes.RECIPES["course"], epochs=1, validation=5_000))
    row = run.history[0]
    assert row["test_accuracy"] > 0.985
    losses = [part["train_loss"] for part in row["within"]]
    assert len(losses) == 20
    assert losses[-1] < 0.1 < 1 < losses[0]
    assert sum(losses) / 20 == pytest.approx(row["train_loss"], rel=0.01)


def test_without_the_resource_module_as_on_windows_seconds_are_still_counted(monkeypatch):
    monkeypatch.setattr(train, "resource", None)
    wall, cpu = train._clock()
    assert wall > 0 < cpu


# --- save, stop, resume -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        QUICK,
        replace(QUICK, augmentation="batch", shift=1.0, ema=0.9, schedule="onecycle", lr=0.01),
        replace(QUICK, workers=2),
    ],
    ids=["reference", "batch-onecycle-ema", "two-workers"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(quick, monkeypatch, config):
    _, whole = quick(config, "whole")
    real = train.train_epoch

    def stop_in_epoch_3(run, split, epoch, progress):
        if epoch == 3:
            raise KeyboardInterrupt
        return real(run, split, epoch, progress)

    monkeypatch.setattr(train, "train_epoch", stop_in_epoch_3)
    with pytest.raises(KeyboardInterrupt, match="epochs 1 to 2 of 3 are saved"):
        quick(config, "stopped")
    monkeypatch.undo()
    _, stopped = quick(config, "stopped", resume=True)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        one, about_one = checkpoint.load_tensors(whole / name)
        two, about_two = checkpoint.load_tensors(stopped / name)
        assert about_one["config"] == about_two["config"]
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    keep = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    stories = [json.loads((out / "history.json").read_text()) for out in (whole, stopped)]
    rows = [[[row[key] for key in keep] for row in story["epochs"]] for story in stories]
    assert rows[0] == rows[1]


def test_another_seed_gives_other_weights(quick):
    (one, _), (two, _) = quick(name="a"), quick(replace(QUICK, seed=1), name="b")
    assert not torch.equal(one.model.head.weight, two.model.head.weight)


def test_resuming_with_other_options_or_a_damaged_checkpoint_is_refused(quick):
    config = replace(QUICK, epochs=1)
    _, out = quick(config)
    with pytest.raises(InputError, match=r"trained otherwise \(lr 0.001 → 0.01\)"):
        quick(replace(config, lr=0.01), resume=True)
    (out / "checkpoint.safetensors").write_bytes(os.urandom(4_000))
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="checkpoint.safetensors is not a readable checkpoint"):
        quick(config, resume=True)
    assert (out / "model.safetensors").read_bytes() == before


def test_history_holds_what_the_weights_give(quick, train_split):
    _, out = quick()
    story = json.loads((out / "history.json").read_text())
    model, _ = evaluate.load_weights(out / "model.safetensors")
    result = evaluate.evaluate(model, train_split.take(slice(-500, None)))
    assert story["evaluated_on"] == "validation"
    assert (story["errors"], story["test_loss"]) == (result.errors, pytest.approx(result.loss))
    assert TrainConfig.from_dict(story["config"]) == QUICK
    assert len(story["epochs"]) == 3
    assert story["parameters"] == 6_016


def test_a_loss_that_explodes_is_refused_by_the_rate_that_did_it(quick):
    with pytest.raises(InputError, match=r"loss is (nan|inf).*--lr 10.0 is too high"):
        quick(replace(QUICK, lr=10.0, weight_decay=10.0, epochs=60, evaluate_every=0))


# --- command line -------------------------------------------------------------------------------

SMALL = ("--epochs", 1, "--subset", 64, "--workers", 0, "--validation", 200)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--lr", "fast"), "--lr 'fast' is not a number"),
        (("--lr", "nan"), "--lr nan must be between"),
        (("--epochs", "0"), "--epochs 0 must be at least 1"),
        (("--epochs", "2.5"), "--epochs '2.5' is not a whole number"),
        (("--data", "/nowhere"), "'/nowhere' does not exist"),
        (("--batch-size", "-3"), "--batch-size -3 must be between 1 and"),
        (("--model", "Model9"), "'Model9' is unknown"),
        (("--hole-min", "9"), "--hole-min 9 exceeds --hole-max 5"),
        (("--recipe", "reference", "--shift", "1"), "need --augmentation batch"),
        (("--augmentation", "magic"), "'magic' is not one of"),
        (("--colour", "red"), "unrecognized arguments: --colour red"),
    ],
)
def test_bad_options_cost_one_line_and_write_nothing(refused, tmp_path, options, words):
    assert words in refused(train.main, "--out", tmp_path / "run", *SMALL, *options)
    assert list(tmp_path.iterdir()) == []


def test_an_out_that_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "cannot write" in refused(train.main, "--out", tmp_path / "file", *SMALL)
    assert (tmp_path / "file").read_text() == "mine"


def test_help_names_every_field_and_its_default(command):
    status, out, _ = command(train.main, "--recipe", "reference", "--help")
    assert status == 0
    for item in fields(TrainConfig):
        assert re.search(rf"{option_name(item)} .*?\(default:\s+{item.default}\)", out, re.DOTALL)


def test_a_run_leaves_weights_history_pictures_and_the_table(command, tmp_path):
    status, out, _ = command(train.main, "--out", tmp_path, *SMALL)
    assert status == 0
    assert re.search(r"^epoch=1 train_loss=\d\.\d+ .* validation_accuracy=0\.\d{4}", out, re.M)
    assert re.search(r"validation accuracy +99.40%", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.safetensors", "confusion.png", "curves.png", "history.json",
        "misclassified.png", "model.safetensors",
    ]  # fmt: skip


def test_the_table_says_where_a_run_differs_from_the_claims():
    row = {"train_accuracy": 0.98, "train_loss": 0.06, "test_accuracy": 0.99, "test_loss": 0.03}
    table = report.comparison(row).splitlines()
    assert table[3].split() == ["test", "accuracy", "99.40%", "99.00%", "-0.40", "points"]
    assert table[4].split() == ["test", "loss", "0.0187", "0.0300", "+0.0113"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_and_keeps_what_is_done(tmp_path, number, status):
    arguments = ["--out", tmp_path, "--epochs", 500, "--subset", 64, "--validation", 100]
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_utils.train", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for _ in range(2):
        assert process.stdout.readline().startswith("epoch=")
    time.sleep(0.3)
    os.killpg(process.pid, number)  # as a terminal does: the loader's processes get it too
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert re.search(r"stopped: epochs 1 to \d+ of 500 are saved in .*--resume goes on", err)
    tensors, about = checkpoint.load_tensors(tmp_path / "checkpoint.safetensors")
    assert tensors
    assert len(about["history"]) >= 2
    assert not list(tmp_path.glob(".*"))
