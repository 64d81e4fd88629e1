from types import SimpleNamespace

import torch

from mnist_utils.config import TrainConfig
from mnist_utils.evaluate import Evaluation
from mnist_utils.train import progress, report


def test_the_report_tells_the_last_epoch_not_the_best(test_split, tmp_path):
    answers = torch.nn.functional.one_hot(test_split.labels, 10).roll(1, 0).double().log_softmax(1)
    row = {"held_out": "test", "train_loss": 0.1, "held_out_loss": 0.1, "train_accuracy": 0.9}
    history = [row | {"epoch": n, "held_out_accuracy": a} for n, a in ((1, 0.99), (2, 0.98))]
    run = SimpleNamespace(
        config=TrainConfig(), history=history, evaluation=Evaluation(answers, test_split.labels)
    )
    told = report.leave_report(run, None, tmp_path).splitlines()
    assert next(line for line in told if line.startswith("test accuracy")).count("98.00%") == 1
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_table_says_where_a_run_differs_from_the_claims():
    row = {"train_accuracy": 0.98, "train_loss": 0.06}
    row |= {"held_out": "test", "held_out_accuracy": 0.99, "held_out_loss": 0.03}
    lines = {line[:22].strip(): line[22:].split() for line in report.comparison(row).splitlines()}
    assert lines["test accuracy"] == ["99.40%", "99.00%", "-0.40", "points"]
    assert lines["test loss"] == ["0.0187", "0.0300", "+0.0113"]


def test_beside_validation_digits_stands_no_claim():
    row = {"train_accuracy": 0.98, "train_loss": 0.06}
    row |= {"held_out": "validation", "held_out_accuracy": 0.99, "held_out_loss": 0.03}
    table = report.comparison(row)
    assert "99.40%" not in table
    assert "0.0187" not in table
    assert table.splitlines()[4].split() == ["validation", "accuracy", "99.00%"]


def test_the_log_line_calls_a_figure_what_it_is():
    row = {"epoch": 2, "train_loss": 0.5, "train_accuracy": 0.9, "seconds": 1.0}
    row |= {"held_out": "validation", "held_out_loss": 0.25, "held_out_accuracy": 0.95}
    assert progress.line(row) == (
        "epoch=2 train_loss=0.5000 train_accuracy=0.9000 validation_loss=0.2500 "
        "validation_accuracy=0.9500 seconds=1.0"
    )
