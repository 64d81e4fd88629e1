"""The bar and the lines of a run."""

import re
import sys

import torch

from mnist_utils.train import progress

ROW = {"epoch": 2, "train_loss": 0.25, "train_accuracy": 0.5, "seconds": 1.25, "held_out": "test"}
ROW |= {"held_out_loss": 0.125, "held_out_accuracy": 0.75}


def test_the_bar_counts_digits_so_that_unequal_epochs_take_unequal_shares(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.Bar([100, 40, 40], 1, lambda: None) as bar:
        assert (bar.bar.total, bar.bar.initial) == (180, 100)
        bar.follow(2, 20, torch.tensor(1.0), torch.tensor(9))
        assert bar.bar.n == 120
        bar.follow(3, 40, torch.tensor(1.0), torch.tensor(9))
        assert bar.bar.n == 180


def test_a_part_of_an_epoch_has_the_means_of_its_own_digits():
    with progress.Bar([100], 0, lambda: None) as bar:
        bar.follow(1, 50, torch.tensor(100.0), torch.tensor(20))
        bar.follow(1, 100, torch.tensor(125.0), torch.tensor(60))
        first, second = bar.parts()
    assert first == {"epoch": 0.5, "train_loss": 2.0, "train_accuracy": 0.4}
    assert second == {"epoch": 1.0, "train_loss": 0.5, "train_accuracy": 0.8}


def test_every_figure_of_a_line_is_found_again_by_its_pattern():
    line = progress.line(ROW)
    found = {name: re.findall(pattern, line) for name, pattern in progress.PATTERNS.items()}
    assert found["train:loss"] == ["0.2500"]
    assert found["test:accuracy"] == ["0.7500"]
    assert found["validation:loss"] == []
