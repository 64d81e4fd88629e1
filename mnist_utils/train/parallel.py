"""Data-parallel training: where `WORLD_SIZE` exceeds 1, each process takes its rows of a batch.

The loop knows nothing of it: `share_work` makes a network that is given the whole batch, runs its
own rows, and returns the outputs of all. Weights, order and augmentation are the same function of
the seed in every process, and `batch_size` counts the digits of all, so that n processes take the
steps of one, up to rounding; only dropout is drawn by each for itself.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mnist_utils.errors import InputError


def processes() -> int:
    """How many processes train; torchrun says so in `WORLD_SIZE`."""
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or int(text) == 0:
        raise InputError(f"WORLD_SIZE={text!r} is not a number of processes; unset it")
    return int(text)


def rank() -> int:
    """Which of them this is."""
    return int(os.environ.get("RANK", 0)) if processes() > 1 else 0


def is_first_process() -> bool:
    """The first process alone prints and writes."""
    return rank() == 0


@contextmanager
def group(device: str) -> Iterator[None]:
    """Context in which the processes can talk to each other; one alone has nobody to talk to."""
    if processes() == 1:
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
    """Refuse a run whose last batch would leave a process without a digit."""
    smallest = min(batch_size, digits, digits % batch_size or batch_size)
    if smallest < processes():
        raise InputError(
            f"the smallest batch has {smallest} digits for {processes()} processes; choose another "
            "--batch-size"
        )


def share_work(model: nn.Module) -> nn.Module:
    """The network whose `forward` and `backward` are shared among all processes.

    In training its BatchNorm sees the whole batch. One process alone gets `model` back.
    """
    if processes() == 1:
        return model
    if next(model.parameters()).is_cuda:
        return _Shared(nn.SyncBatchNorm.convert_sync_batchnorm(model))
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm2d
    return _Shared(model)


class _Shared(nn.Module):
    """Runs this process's rows of a batch; returns the outputs of all rows, in their order."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.replica = nn.parallel.DistributedDataParallel(model)

    def forward(self, batch: Tensor) -> Tensor:
        return _Gather.apply(self.replica(batch[rank() :: processes()]), len(batch))


class _Gather(torch.autograd.Function):
    """Rows of all processes, interleaved again as they were dealt.

    Every process computes the same loss of the whole batch, but only its own rows' gradients reach
    its weights. DistributedDataParallel takes the mean over processes where the sum is meant.
    """

    @staticmethod
    def forward(ctx, mine: Tensor, n: int) -> Tensor:
        most = -(-n // processes())
        padded = mine.new_zeros(most, *mine.shape[1:])
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in range(processes())]
        dist.all_gather(parts, padded)
        return torch.stack(parts, dim=1).flatten(0, 1)[:n]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[rank() :: processes()] * processes(), None


class _Sum(torch.autograd.Function):
    """The sum over processes; each one's loss depends on all, so gradients are summed as well."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        return _sum_over_processes(value)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _sum_over_processes(gradient)


def _sum_over_processes(value: Tensor) -> Tensor:
    value = value.clone()
    dist.all_reduce(value)
    return value


class WholeBatchNorm2d(nn.BatchNorm2d):
    """What SyncBatchNorm is on a GPU, for the CPU, where torch has none."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        x = images.to(self.running_mean.dtype)
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
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(images.dtype)
