"""The loop against plain PyTorch, and its parts against their definitions."""

from dataclasses import replace

import pytest
import torch

from mnist_utils import augment, models
from mnist_utils.config import TrainConfig
from mnist_utils.train.loop import (
    Training,
    averaging_decay,
    learning_rate,
    loss_function,
    train_epoch,
)

QUICK = TrainConfig(epochs=3, subset=256, workers=0, validation=500)


def test_loss_falls_on_one_batch(train_split):
    run = Training.start(replace(QUICK, epochs=40, lr=0.01, augmentation="none"))
    batch = train_split.take(slice(0, 32))
    rows = [train_epoch(run, batch, epoch) for epoch in range(1, 41)]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]


def test_one_step_equals_plain_pytorch(train_split):
    """Two routes to the first step: our loop, and the four lines of every tutorial."""
    config = replace(QUICK, epochs=1, augmentation="none", batch_size=32)
    batch = train_split.take(slice(0, 32))
    ours = Training.start(config)
    train_epoch(ours, batch, 1)

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
        ours = loss_function(logits.log_softmax(1), labels, smoothing)
        theirs = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert torch.allclose(ours, theirs)


def test_onecycle_rises_to_the_peak_and_falls_to_nothing():
    config = replace(QUICK, schedule="onecycle", lr=0.02, warmup=0.25)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates.index(max(rates)) == 25
    assert max(rates) == pytest.approx(0.02)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] < 1e-4


def test_moving_average_equals_its_definition(train_split):
    config = replace(QUICK, ema=0.9, augmentation="none", batch_size=8, epochs=20)
    run, seen = Training.start(config), []
    run.optimizer.register_step_post_hook(
        lambda *_: seen.append(run.model.head.weight.detach().clone())
    )
    train_epoch(run, train_split.take(slice(0, 40)), 1)
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.9 * expected + 0.1 * weights
    assert torch.allclose(run.evaluated.head.weight, expected, atol=1e-6)


def test_a_short_run_averages_over_an_eighth_of_its_steps_at_most():
    config = replace(QUICK, ema=0.999)
    assert averaging_decay(9380, config) == 0.999  # twenty epochs of `course`
    assert averaging_decay(400, config) == pytest.approx(1 - 1 / 50)
    assert averaging_decay(4, config) == 0
