"""Training, on a page: a step, an epoch, a run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mnist_utils import augment, models
from mnist_utils.config import TrainConfig
from mnist_utils.data import Split
from mnist_utils.errors import InputError
from mnist_utils.evaluate import Evaluation, evaluate
from mnist_utils.train import machine, parallel, sampling
from mnist_utils.train.optimizers import choose_optimizers, schedule


@dataclass
class Training:
    """A run in progress: what learns, and the history of the epochs it has finished."""

    config: TrainConfig
    model: nn.Module
    optimizers: list[torch.optim.Optimizer]
    average: AveragedModel | None
    network: nn.Module  # `model` itself, or what shares its work among processes
    precision: str  # what the layers compute in
    losses: Tensor  # of each digit, when it was last trained on
    history: list[dict] = field(default_factory=list)
    evaluation: Evaluation | None = None  # the last

    @classmethod
    def start(
        cls, config: TrainConfig, digits: int, device: str = "cpu", trained: nn.Module | None = None
    ) -> "Training":
        """Seeded weights, or those of `trained`; optimizers; the moving average if asked for."""
        torch.manual_seed(config.seed)
        model = models.build(config.model)
        if trained is not None:
            model.load_state_dict(trained.state_dict())
        model = model.to(device, memory_format=torch.channels_last)
        average = AveragedModel(model, use_buffers=True) if config.ema else None
        network = parallel.share_work(model)
        precision = config.precision if machine.has_bfloat16(device) else "float32"
        losses = torch.zeros(digits, device=device)
        optimizers = choose_optimizers(model, config)
        return cls(config, model, optimizers, average, network, precision, losses)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is tested and kept."""
        return self.average.module if self.average is not None else self.model


def loss_function(log_probabilities: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Negative log likelihood, mean over the batch, of smoothed targets (Szegedy et al. 2016)."""
    loss = F.nll_loss(log_probabilities, labels)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_probabilities.mean()
    return loss


def averaging_decay(step: int, config: TrainConfig) -> float:
    """The decay of the moving average at a step, counted from 0.

    It begins small, so that what the network was before it had learnt anything is soon forgotten.
    """
    return min(config.ema, (1 + step) / (10 + step))


def train_step(run: Training, images: Tensor, labels: Tensor, step: int, total: int) -> Tensor:
    """Forward, backward, and a step of every optimizer; returns log-probabilities `(B, 10)`."""
    settings = run.config
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, run.precision == "bfloat16"):
        log_probabilities = run.network(images).float()
    loss = loss_function(log_probabilities, labels, settings.label_smoothing)
    rate = schedule(step, total, settings)
    for optimizer in run.optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in run.optimizers:
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["peak"] * rate
        optimizer.step()
    if run.average is not None:
        run.average.multi_avg_fn = get_ema_multi_avg_fn(averaging_decay(step, settings))
        run.average.update_parameters(run.model)
    return log_probabilities.detach()


def train_epoch(
    run: Training,
    split: Split,
    epoch: int,
    after_step: Callable[[int, int, Tensor, Tensor], None] = lambda *_: None,
) -> dict:
    """One epoch; mean loss and accuracy as seen while training, augmentation and all.

    `after_step` sees the epoch, digits seen in it, the sum of their losses, hits so far.
    """
    settings, device = run.config, run.losses.device
    run.model.train()
    sizes = sampling.epoch_sizes(len(split), settings)
    steps = [math.ceil(size / settings.batch_size) for size in sizes]
    seed = augment.epoch_seed(settings.seed, epoch)
    torch.manual_seed(seed)  # dropout's
    generator = torch.Generator().manual_seed(seed)  # of order and augmentation
    order = sampling.draw(run.losses, sizes[epoch - 1], settings.loss_power, generator)
    digits = split.take(order.to(split.labels.device))
    batches = augment.training_batches(digits, settings, epoch, generator)
    loss_sum, hits = torch.zeros((), device=device), torch.zeros((), device=device)
    seen, step = 0, sum(steps[: epoch - 1])
    for indices, (images, labels) in zip(order.split(settings.batch_size), batches, strict=True):
        images, labels = images.to(device), labels.to(device)
        log_probabilities = train_step(run, images, labels, step, sum(steps))
        run.losses[indices] = losses = F.nll_loss(log_probabilities, labels, reduction="none")
        loss_sum += losses.sum()
        hits += (log_probabilities.argmax(dim=1) == labels).sum()
        seen, step = seen + len(labels), step + 1
        after_step(epoch, seen, loss_sum, hits)
    means = {"train_loss": loss_sum.item() / seen, "train_accuracy": hits.item() / seen}
    return {"digits": seen} | means


def fit(
    run: Training,
    split: Split,
    held_out: Split,
    after_step: Callable[[int, int, Tensor, Tensor], None] = lambda *_: None,
    after_epoch: Callable[[dict], None] = lambda row: None,
) -> None:
    """Train from the epoch after `run.history` to the last; `after_epoch` sees each new row."""
    settings = run.config
    for epoch in range(len(run.history) + 1, settings.epochs + 1):
        wall, cpu = machine.clock()
        row = {"epoch": epoch} | train_epoch(run, split, epoch, after_step)
        if not math.isfinite(row["train_loss"]):
            raise InputError(
                f"the loss is {row['train_loss']} in epoch {epoch}: --lr {settings.lr} is too "
                "high; choose a smaller one"
            )
        last = epoch == settings.epochs
        if last or (settings.evaluate_every and epoch % settings.evaluate_every == 0):
            run.evaluation = result = evaluate(run.evaluated, held_out)
            row["held_out"] = "validation" if settings.validation else "test"
            row |= {"held_out_loss": result.loss, "held_out_accuracy": result.accuracy}
        now, used = machine.clock()
        run.history.append(row | {"seconds": now - wall, "cpu_seconds": used - cpu})
        after_epoch(run.history[-1])
    if run.evaluation is None:  # resumed after its last epoch
        run.evaluation = evaluate(run.evaluated, held_out)
