"""The two augmentation paths: albumentations a sample at a time, torch a batch at a time.

Both draw from one distribution: a rotation, whose corners are filled with `fill`, then
CoarseDropout. Both work on floats in 0..1, where `fill=1` is white. On uint8 the same 1 would be
1/255: black to the eye, and to the network.
"""

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mnist_utils.config import TrainConfig
from mnist_utils.data import Split, standardize_fractions

SIDE = 28  # pixels


def training_batches(
    split: Split, config: TrainConfig, epoch: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: standardised floats `(B, 1, 28, 28)`, labels `(B,)`; the last batch is kept.

    Order and augmentation are a function of `(config.seed, epoch)` alone, so a resumed run sees
    what an uninterrupted one would have seen.
    """
    generator = torch.Generator().manual_seed(epoch_seed(config.seed, epoch))
    order = torch.randperm(len(split), generator=generator)
    if epoch > config.epochs - config.clean_epochs:
        config = replace(config, augmentation="none")
    if config.augmentation == "albumentations":
        yield from _sample_path(split, config, order, generator, device)
    else:
        yield from _batch_path(split, config, order, generator, device)


def epoch_seed(seed: int, epoch: int) -> int:
    """One 63-bit seed for the pair, well mixed (numpy's SeedSequence)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]) >> 1


# --- a sample at a time -------------------------------------------------------------------------


def sample_transform(config: TrainConfig, seed: int | None = None):
    """The albumentations pipeline for one float digit `(28, 28)` in 0..1."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network otherwise
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)  # a 28-pixel digit is not worth a thread, and torch wants the cores
    size = (config.hole_min, config.hole_max)
    return A.Compose(
        [
            A.Rotate(
                limit=(-config.rotation, config.rotation),
                border_mode=cv2.BORDER_CONSTANT,
                fill=config.fill,
                p=config.affine_p,
            ),
            A.CoarseDropout(
                num_holes_range=(1, config.holes),
                hole_height_range=size,
                hole_width_range=size,
                fill=0,
                p=config.holes_p,
            ),
        ],
        seed=seed,
    )


class AugmentedDigits(Dataset):
    """Digits in a given order, each augmented anew, standardised `(1, 28, 28)`, with its label."""

    def __init__(self, split: Split, order: Tensor, transform):
        self.images = split.images.numpy()
        self.labels = split.labels
        self.order = order
        self.transform = transform

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        index = self.order[position]
        image = self.images[index].astype(np.float32) / 255
        image = standardize_fractions(self.transform(image=image)["image"])
        return torch.from_numpy(image).unsqueeze(0), self.labels[index]


def seed_worker(worker_id: int) -> None:
    """Give each DataLoader worker its own augmentations.

    Every worker receives a copy of the transform, random state included, and `torch.manual_seed`
    does not reach it: without this, all workers and all epochs repeat the same augmentations.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # reach the whole group: the parent decides
        signal.signal(number, signal.SIG_IGN)
    dataset = torch.utils.data.get_worker_info().dataset
    dataset.transform.set_random_seed(torch.initial_seed() % 2**32)


def _sample_path(split, config, order, generator, device):
    transform = sample_transform(config, seed=int(generator.initial_seed() % 2**32))
    loader = DataLoader(
        AugmentedDigits(split, order, transform),
        batch_size=config.batch_size,
        num_workers=config.workers,
        worker_init_fn=seed_worker,
        generator=generator,  # of the workers' seeds
    )
    for images, labels in loader:
        yield images.to(device), labels.to(device)


# --- a batch at a time --------------------------------------------------------------------------


def _batch_path(split, config, order, generator, device):
    # Several batches are augmented at once: a batch of 32 is too small to keep torch busy.
    block = config.batch_size * max(1, 1024 // config.batch_size)
    for indices in order.split(block):
        images = split.images[indices].to(device).unsqueeze(1).float().div_(255)
        if config.augmentation == "batch":
            images = augment_batch(images, config, generator)
        images = standardize_fractions(images)
        labels = split.labels[indices].to(device)
        yield from zip(
            images.split(config.batch_size), labels.split(config.batch_size), strict=True
        )


def augment_batch(images: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Rotate and cut holes in floats `(N, 1, 28, 28)` in 0..1, each digit in its own way.

    Random numbers are drawn on the CPU whatever the device of `images`, so that one seed gives
    one augmentation everywhere.
    """
    n = len(images)
    chosen = _chance(n, config.affine_p, generator).nonzero().flatten()
    matrices = affine_matrices(len(chosen), config, generator).to(images.device)
    if len(chosen) == n:
        images = warp(images, matrices, config.fill)
    else:
        chosen = chosen.to(images.device)
        images[chosen] = warp(images[chosen], matrices, config.fill)
    if config.holes_p > 0:
        pixels = hole_pixels(n, config, generator).to(images.device)
        images.view(-1).index_fill_(0, pixels, 0)
    return images


def affine_matrices(n: int, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Random maps `(n, 2, 3)` from output to input: rotation, scale, shear and shift."""
    angle = _uniform(n, config.rotation, generator) * (math.pi / 180)
    scale = 1 + _uniform((n, 2), config.scale, generator)
    shear = _uniform(n, config.shear, generator)
    shift = _uniform((n, 2), config.shift, generator) * (2 / SIDE)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack(
        [
            cos / scale[:, 0],
            (cos * shear - sin) / scale[:, 1],
            shift[:, 0],
            sin / scale[:, 0],
            (sin * shear + cos) / scale[:, 1],
            shift[:, 1],
        ],
        dim=1,
    ).view(n, 2, 3)


def warp(images: Tensor, matrices: Tensor, fill: float) -> Tensor:
    """Resample `(N, 1, 28, 28)` bilinearly at affine maps `(N, 2, 3)` from output to input.

    Coordinates are `F.grid_sample`'s: the image spans -1..1, corners included. What lies outside
    is `fill`. The grid is the sum of a row and a column term, added as complex numbers, which are
    pairs (x, y); `F.affine_grid` takes several times as long.
    """
    axis = torch.linspace(1 / SIDE - 1, 1 - 1 / SIDE, SIDE, device=images.device)
    across = torch.complex(*(matrices[:, :, 0, None] * axis + matrices[:, :, 2, None]).unbind(1))
    down = torch.complex(*(matrices[:, :, 1, None] * axis).unbind(1))  # (N, 28)
    grid = torch.view_as_real(across[:, None, :] + down[:, :, None])  # (N, 28, 28, 2)
    if fill == 0:
        return F.grid_sample(images, grid, align_corners=False)
    return F.grid_sample(images - fill, grid, align_corners=False).add_(fill)


def hole_pixels(n: int, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """CoarseDropout's holes as indices into `(n · 784,)`: 1 to `holes` per digit, wholly inside."""
    count = (
        _integers((n, 1), 1, config.holes, generator)
        * _chance(n, config.holes_p, generator)[:, None]
    )
    exists = torch.arange(config.holes) < count  # (n, holes)
    step = torch.arange(config.hole_max)
    spans = []
    for _ in ("height", "width"):
        length = _integers((n, config.holes, 1), config.hole_min, config.hole_max, generator)
        room = SIDE - length + 1
        start = (torch.rand(length.shape, generator=generator) * room).long()
        # A shorter hole names its last row or column again.
        spans.append((start + torch.minimum(step, length - 1))[exists])  # (all holes, hole_max)
    rows, columns = spans
    digit = exists.nonzero()[:, 0]
    return ((digit[:, None, None] * SIDE + rows[:, :, None]) * SIDE + columns[:, None, :]).flatten()


def _uniform(shape, limit: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * limit


def _chance(n: int, p: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) < p


def _integers(shape, low: int, high: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, shape, generator=generator)
