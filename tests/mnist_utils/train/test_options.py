"""The command line: what it reads, and what it refuses."""

import re
from dataclasses import fields

import pytest

from mnist_utils.config import TrainConfig, option_name
from mnist_utils.train import options
from mnist_utils.train.__main__ import main

SMALL = ("--epochs", 1, "--subset", 64, "--workers", 0, "--validation", 200)


def test_bad_options_cost_one_line_and_write_nothing(refused, tmp_path, monkeypatch):
    for given, words in (
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
    ):
        assert words in refused(main, "--out", tmp_path / "run", *SMALL, *given)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("mnist_utils.train.run.fit", lambda *_: pytest.fail("it trained"))
    assert "cannot write" in refused(main, "--out", tmp_path / "file", *SMALL)
    assert (tmp_path / "file").read_text() == "mine"


def test_every_number_has_its_bounds_but_for_what_may_be_as_large_as_one_likes():
    numbers = [item for item in fields(TrainConfig) if type(item.default) in (int, float)]
    assert all(item.metadata["low"] is not None for item in numbers)
    free = {item.name for item in numbers if item.metadata["high"] is None}
    assert free == {"epochs", "clean_epochs", "evaluate_every"}


def test_help_names_every_field_and_its_default(command):
    status, out, _ = command(main, "--recipe", "reference", "--help")
    assert status == 0
    for item in fields(TrainConfig):
        assert re.search(rf"{option_name(item)} .*?\(default:\s+{item.default}\)", out, re.DOTALL)


def test_a_dictionary_and_a_command_line_ask_for_the_same():
    asked = {"recipe": "fast", "batch_size": 64, "lr": 0.1}
    words = ["--recipe", "fast", "--batch-size", "64", "--lr", "0.1"]
    assert options.resolve(asked) == options.parse(words).settings
    assert options.resolve({}).model == "CourseNet"
