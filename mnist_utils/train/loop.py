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
from mnist_utils.evaluate import evaluate
from mnist_utils.train import parallel
from mnist_utils.train.machine import clock


@dataclass
class Training:
    """A run in progress: what learns, and the history of the epochs it has finished."""

    config: TrainConfig
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    network: nn.Module  # `model` itself, or what shares its work among processes
    history: list[dict] = field(default_factory=list)

    @classmethod
    def start(cls, config: TrainConfig, device: str = "cpu") -> "Training":
        """Seeded weights, Adam, and the moving average if the configuration asks for one."""
        torch.manual_seed(config.seed)
        model = models.build(config.model).to(device, memory_format=torch.channels_last)
        network = parallel.share_work(model)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        average = AveragedModel(model, use_buffers=True) if config.ema else None
        return cls(config, model, optimizer, average, network)

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


def learning_rate(step: int, total: int, config: TrainConfig) -> float:
    """The rate of a step, counted from 0, of `total` steps."""
    if config.schedule == "constant":
        return config.lr
    warmup = config.warmup * total
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    return config.lr * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


def averaging_decay(total: int, config: TrainConfig) -> float:
    """The decay per step of the moving average, in a run of `total` steps.

    The average reaches back 1 / (1 − decay) steps. More than an eighth of the run would hold on to
    weights from before the network had learnt anything.
    """
    return max(0.0, min(config.ema, 1 - 8 / total))


def train_epoch(
    run: Training,
    split: Split,
    epoch: int,
    after_step: Callable[[int, int, Tensor, Tensor], None] = lambda *_: None,
) -> dict:
    """One pass over `split`; mean loss and accuracy as seen while training, augmentation and all.

    `after_step` sees the epoch, digits seen in it, the sum of their losses, hits so far.
    """
    settings, model = run.config, run.model.train()
    device = next(model.parameters()).device
    steps = math.ceil(len(split) / settings.batch_size)
    total = settings.epochs * steps
    if run.average is not None:
        run.average.multi_avg_fn = get_ema_multi_avg_fn(averaging_decay(total, settings))
    torch.manual_seed(augment.epoch_seed(settings.seed, epoch))  # dropout's; see training_batches
    seen, loss_sum, hits = 0, torch.zeros((), device=device), torch.zeros((), device=device)
    batches = augment.training_batches(split, settings, epoch, device)
    for step, (images, labels) in enumerate(batches, start=(epoch - 1) * steps):
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(step, total, settings)
        log_probabilities = run.network(images.contiguous(memory_format=torch.channels_last))
        loss = loss_function(log_probabilities, labels, settings.label_smoothing)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        if run.average is not None:
            run.average.update_parameters(model)
        seen += len(labels)
        loss_sum += loss.detach() * len(labels)
        hits += (log_probabilities.argmax(dim=1) == labels).sum()
        after_step(epoch, seen, loss_sum, hits)
    return {"train_loss": loss_sum.item() / seen, "train_accuracy": hits.item() / seen}


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
        wall, cpu = clock()
        row = {"epoch": epoch} | train_epoch(run, split, epoch, after_step)
        if not math.isfinite(row["train_loss"]):
            raise InputError(
                f"the loss is {row['train_loss']} in epoch {epoch}: --lr {settings.lr} is too "
                "high; choose a smaller one"
            )
        last = epoch == settings.epochs
        if last or (settings.evaluate_every and epoch % settings.evaluate_every == 0):
            result = evaluate(run.evaluated, held_out)
            row |= {"held_out": "validation" if settings.validation else "test"}
            row |= {"held_out_loss": result.loss, "held_out_accuracy": result.accuracy}
        now, used = clock()
        run.history.append(row | {"seconds": now - wall, "cpu_seconds": used - cpu})
        after_epoch(run.history[-1])
