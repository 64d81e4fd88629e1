"""Data-parallel training: where `WORLD_SIZE` exceeds 1, each process takes its rows of a batch.

torch's DistributedDataParallel averages the gradients. Weights, order and augmentation are the
same function of the seed in every process and `batch_size` counts the digits of all, so that n
processes take the steps of one, up to rounding; only dropout is drawn by each for itself.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mnist_utils.errors import InputError


def size() -> int:
    """How many processes train; torchrun says so in `WORLD_SIZE`."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Which of them this is; 0 alone evaluates, prints and writes."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


@contextmanager
def group(device: str) -> Iterator[None]:
    """Context in which the processes can talk to each other; one alone has nobody to talk to."""
    if size() == 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def check(digits: int, batch_size: int) -> None:
    """Raise InputError if an epoch's last batch would leave a process without a digit."""
    smallest = min(batch_size, digits, digits % batch_size or batch_size)
    if smallest < size():
        raise InputError(
            f"the smallest batch has {smallest} digits for {size()} processes; choose another "
            "--batch-size"
        )


def synchronize(model: nn.Module) -> nn.Module:
    """BatchNorm over the whole batch, not over a process's rows; in place where one is alone."""
    if size() == 1:
        return model
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm2d
    return model


def replicate(model: nn.Module) -> nn.Module:
    """The network whose backward pass averages gradients over the processes."""
    if size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model)


def share(batch: Tensor) -> Tensor:
    """This process's rows."""
    return batch[rank() :: size()] if size() > 1 else batch


def weigh(loss: Tensor, n_share: int, n_batch: int) -> Tensor:
    """Scale the mean over a share so that the average over processes is the batch's mean."""
    return loss * (n_share * size() / n_batch) if size() > 1 else loss


def total(value: Tensor) -> Tensor:
    """The sum over all processes."""
    if size() > 1:
        dist.all_reduce(value)
    return value


class _Sum(torch.autograd.Function):
    """The sum over processes; each one's loss depends on all, so gradients are summed as well."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        return total(value.clone())

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return total(gradient.clone())


class WholeBatchNorm2d(nn.BatchNorm2d):
    """What SyncBatchNorm is on a GPU, for the CPU, where torch has none."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        channels = x.size(1)
        sums = _Sum.apply(torch.cat([x.sum((0, 2, 3)), x.new_full((1,), x.numel() / channels)]))
        n = sums[-1].detach()
        mean = sums[:-1] / n  # (channels,)
        centred = x - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / n
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]
