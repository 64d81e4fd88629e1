"""The loop against plain PyTorch, and its parts against their definitions."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mnist_utils import augment, data, models
from mnist_utils.config import TrainConfig
from mnist_utils.recipes import RECIPES
from mnist_utils.train import machine
from mnist_utils.train.loop import (
    Training,
    averaging_decay,
    loss_function,
    train_epoch,
)
from mnist_utils.train.optimizers import Muon, orthogonal, schedule

QUICK = TrainConfig(epochs=3, subset=256, workers=0, validation=500)


def test_one_step_equals_plain_pytorch(train_split):
    """Two routes to the first step: our loop, and the four lines of every tutorial."""
    config = replace(QUICK, epochs=1, augmentation="none", batch_size=32)
    batch = train_split.take(slice(0, 32))
    ours = Training.start(config, 32)
    train_epoch(ours, batch, 1)

    torch.manual_seed(config.seed)
    model = models.build(config.model).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    torch.manual_seed(augment.epoch_seed(config.seed, 1))
    generator = torch.Generator().manual_seed(augment.epoch_seed(config.seed, 1))
    batch = batch.take(torch.randperm(32, generator=generator))
    images, labels = next(augment.training_batches(batch, config, 1, generator))
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


def test_rates_by_hand():
    config = replace(QUICK, schedule="onecycle", lr=0.02, warmup=0.25)
    rates = [schedule(step, 100, config) for step in range(100)]
    up = [(step + 1) / 26 for step in range(26)]  # and then a cosine of 75 that never quite ends
    down = [(1 + math.cos(math.pi * step / 75)) / 2 for step in range(1, 75)]
    assert rates == pytest.approx(up + down)
    rates = [schedule(step, 40, replace(QUICK, schedule="step")) for step in range(40)]
    assert rates == pytest.approx([1] * 20 + [0.1] * 10 + [0.01] * 10)


def test_the_moving_average_of_weights_and_of_batchnorm_s_statistics(train_split):
    config = replace(QUICK, ema=0.3, augmentation="none", batch_size=8, epochs=20)
    run, seen = Training.start(config, 40), []

    def watched(model):
        return torch.cat([model.head.weight.flatten(), model.block3[2].running_mean]).detach()

    run.optimizers[0].register_step_post_hook(lambda *_: seen.append(watched(run.model)))
    train_epoch(run, train_split.take(slice(0, 40)), 1)
    decays = [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3]  # at rest from the fourth step on
    expected = seen[0]
    for values, decay in zip(seen[1:], decays[1:], strict=True):
        expected = decay * expected + (1 - decay) * values
    assert torch.allclose(watched(run.evaluated), expected, atol=1e-6)
    assert [averaging_decay(step, config) for step in range(5)] == pytest.approx(decays)


def test_an_epoch_s_figures_are_a_count_and_every_digit_s_last_loss_is_kept(train_split):
    """At rate 0 without augmentation the network of an epoch is one network: count by hand."""
    config = replace(QUICK, augmentation="none", batch_size=48, lr=0.0, epochs=2, share=0.5)
    config = replace(config, model="Model2")  # without dropout or BatchNorm: loss is loss
    split = train_split.take(slice(0, 128))  # three batches, the last of 32
    run = Training.start(config, 128)
    row = train_epoch(run, split, 1)
    with torch.no_grad():
        said = run.model(data.standardize(split.images))
    losses = F.nll_loss(said, split.labels, reduction="none")
    assert row["train_accuracy"] == (said.argmax(1) == split.labels).sum().item() / 128
    assert row["train_loss"] == pytest.approx(losses.mean().item(), abs=1e-5)
    assert torch.allclose(run.losses, losses, atol=1e-5)
    steps = []
    row = train_epoch(run, split, 2, lambda *step: steps.append(step))
    *_, hits = steps[-1]
    assert row["digits"] == 64
    assert row["train_accuracy"] == hits.item() / 64
    assert row["train_loss"] > losses.mean()  # the harder half


def test_the_precision_is_the_one_asked_for_where_the_machine_has_it(monkeypatch, train_split):
    dtypes = []
    for native in (True, False):
        monkeypatch.setattr(machine, "has_bfloat16", lambda device, native=native: native)
        run = Training.start(replace(QUICK, precision="bfloat16", batch_size=8), 8)
        run.model.pool.register_forward_hook(lambda *seen: dtypes.append(seen[-1].dtype))
        train_epoch(run, train_split.take(slice(0, 8)), 1)
        assert run.precision == ("bfloat16" if native else "float32")
        assert all(p.dtype == torch.float32 for p in run.model.parameters())
    assert dtypes == [torch.bfloat16, torch.float32]


def test_muon_trains_filters_that_mix_channels_and_adam_the_others():
    model = models.build("CourseNet")
    adam, muon = Training.start(RECIPES["course"], 1).optimizers
    shapes = [tuple(p.shape) for p in muon.param_groups[0]["params"]]
    assert shapes == [(16, 1, 5, 5), (32, 16, 1, 1), *[(32, 32, 1, 1)] * 3]
    counts = [sum(p.numel() for p in o.param_groups[0]["params"]) for o in (adam, muon)]
    assert sum(counts) == sum(p.numel() for p in model.parameters())


def test_orthogonal_keeps_directions_and_evens_out_their_lengths():
    matrices = torch.randn(3, 16, 25, generator=torch.Generator().manual_seed(0))
    for given in (matrices, matrices.mT):
        result = orthogonal(given)
        values = torch.linalg.svdvals(result)
        assert 0.6 < values.min() <= values.max() < 1.3
        u, _, v = torch.linalg.svd(given, full_matrices=False)
        inside = u.mT @ result @ v.mT
        assert (inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.8, Studio's, has none")
@pytest.mark.parametrize("shape", [(16, 8), (8, 16)])  # tall ones go further
def test_muon_equals_torch_s_own_on_matrices(shape):
    """Two routes: theirs orthogonalises in bfloat16, hence the tolerance."""
    torch.manual_seed(0)
    first = torch.randn(shape)
    ours, theirs = (torch.nn.Parameter(first.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.1)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0, momentum=0.9)
    for _ in range(3):
        gradient = torch.randn(shape)
        ours.grad, theirs.grad = gradient, gradient.clone()
        mine.step()
        reference.step()
    assert torch.allclose(ours, theirs, atol=0.02)
    assert (ours - first).abs().max() > 0.05
