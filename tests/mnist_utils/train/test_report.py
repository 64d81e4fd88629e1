"""What a run tells: its bar, its lines, and its figures beside the source's claims."""

import re
import sys
from types import SimpleNamespace

import torch

from mnist_utils.config import TrainConfig
from mnist_utils.evaluate import Evaluation
from mnist_utils.train import progress, report

ROW = {"epoch": 2, "train_loss": 0.25, "train_accuracy": 0.98, "seconds": 1.25, "held_out": "test"}
ROW |= {"held_out_loss": 0.125, "held_out_accuracy": 0.75}


def test_a_line_and_a_table_and_beside_validation_digits_stands_no_claim(golden):
    rows = [ROW, ROW | {"held_out": "validation"}]
    texts = [f(row) for row in rows for f in (progress.line, report.comparison)]
    golden("train_report.txt", "\n\n".join(texts) + "\n")
    values = {name: re.findall(regex, texts[0]) for name, regex in progress.PATTERNS.items()}
    assert values["train:loss"] == ["0.2500"]
    assert values["test:accuracy"] == ["0.7500"]
    assert values["validation:loss"] == []


def test_the_report_tells_the_last_epoch_not_the_best(test_split, tmp_path):
    answers = torch.nn.functional.one_hot(test_split.labels, 10).roll(1, 0).double().log_softmax(1)
    history = [ROW | {"epoch": n, "held_out_accuracy": a} for n, a in ((1, 0.99), (2, 0.98))]
    run = SimpleNamespace(
        config=TrainConfig(), history=history, evaluation=Evaluation(answers, test_split.labels)
    )
    told = report.leave_report(run, None, tmp_path).splitlines()
    assert next(line for line in told if line.startswith("test accuracy")).count("98.00%") == 1
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_bar_counts_digits_and_a_part_has_the_means_of_its_own(monkeypatch):
    """Unequal epochs take unequal shares of the bar."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.Bar([100, 40, 40], 1, lambda: None) as bar:
        assert (bar.bar.total, bar.bar.initial) == (180, 100)
        bar.follow(2, 20, torch.tensor(1.0), torch.tensor(9))
        assert bar.bar.n == 120
        bar.follow(3, 40, torch.tensor(1.0), torch.tensor(9))
        assert bar.bar.n == 180
    with progress.Bar([100], 0, lambda: None) as bar:
        bar.follow(1, 50, torch.tensor(100.0), torch.tensor(20))
        bar.follow(1, 100, torch.tensor(125.0), torch.tensor(60))
    first, second = bar.parts()
    assert first == {"epoch": 0.5, "train_loss": 2.0, "train_accuracy": 0.4}
    assert second == {"epoch": 1.0, "train_loss": 0.5, "train_accuracy": 0.8}
