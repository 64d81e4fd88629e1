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
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mnist_utils.config import TrainConfig
from mnist_utils.data import Split, standardize_fractions

KNOTS = (5, 5)  # of an elastic distortion


def training_batches(
    split: Split, config: TrainConfig, epoch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The digits of `split`, in order: standardised floats `(B, 1, 28, 28)`, labels `(B,)`.

    The last batch is kept, however small. All that is random comes from `generator`.
    """
    if epoch > config.epochs - config.clean_epochs:
        config = replace(config, augmentation="none")
    path = _sample_path if config.augmentation == "albumentations" else _batch_path
    yield from path(split, config, generator)


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
    """Digits, each augmented anew and standardised `(1, 28, 28)`, with its label."""

    def __init__(self, split: Split, transform):
        self.images = split.images.numpy()
        self.labels = split.labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
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


def _sample_path(split, config, generator):
    transform = sample_transform(config, seed=int(generator.initial_seed() % 2**32))
    yield from DataLoader(
        AugmentedDigits(split, transform),
        batch_size=config.batch_size,
        num_workers=config.workers,
        worker_init_fn=seed_worker,
        generator=generator,  # of the workers' seeds
    )


# --- a batch at a time --------------------------------------------------------------------------


def _batch_path(split, config, generator):
    # Several batches are augmented at once: a batch of 32 is too small to keep torch busy.
    size = config.batch_size
    block = size * max(1, 1024 // size)
    for digits, labels in zip(split.images.split(block), split.labels.split(block), strict=True):
        images = digits.unsqueeze(1).float().div_(255)
        if config.augmentation == "batch":
            images = augment_batch(images, config, generator)
        images = standardize_fractions(images)
        yield from zip(images.split(size), labels.split(size), strict=True)


def augment_batch(images: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Warp and cut holes in floats `(N, 1, side, side)` in 0..1, each digit in its own way.

    Random numbers are drawn on the CPU whatever the device of `images`, so that one seed gives
    one augmentation everywhere.
    """
    n = len(images)
    chosen = _chance(n, config.affine_p, generator).nonzero().flatten()
    matrices = affine_matrices(len(chosen), config, generator).to(images.device)
    grid = affine_grid(matrices, config.canvas)
    if config.elastic > 0:
        shifts = torch.randn(len(chosen), *KNOTS, 2, generator=generator).to(images.device)
        grid = bend(grid, shifts * (config.elastic * 2 / config.canvas))
    if len(chosen) == n:
        images = resample(images, grid, config.fill)
    else:
        chosen = chosen.to(images.device)
        images[chosen] = resample(images[chosen], grid, config.fill)
    if config.holes_p > 0:
        pixels = hole_pixels(n, config, generator).to(images.device)
        images.view(-1).index_fill_(0, pixels, 0)
    return images


def affine_matrices(n: int, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Random maps `(n, 2, 3)` from output to input: rotation, scale, shear and shift."""
    angle = _uniform(n, config.rotation, generator) * (math.pi / 180)
    scale = 1 + _uniform((n, 2), config.scale, generator)
    shear = _uniform(n, config.shear, generator)
    shift = _uniform((n, 2), config.shift, generator) * (2 / config.canvas)
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


def affine_grid(matrices: Tensor, side: int = 28) -> Tensor:
    """Where each output pixel looks: `(N, side, side, 2)` of affine maps `(N, 2, 3)`.

    Coordinates are `F.grid_sample`'s: the image spans -1..1, corners included. The grid is the sum
    of a row and a column term, added as complex numbers, which are pairs (x, y); `F.affine_grid`
    takes several times as long.
    """
    axis = torch.linspace(1 / side - 1, 1 - 1 / side, side, device=matrices.device)
    across = torch.complex(*(matrices[:, :, 0, None] * axis + matrices[:, :, 2, None]).unbind(1))
    down = torch.complex(*(matrices[:, :, 1, None] * axis).unbind(1))  # (N, side)
    return torch.view_as_real(across[:, None, :] + down[:, :, None])


def bend(grid: Tensor, shifts: Tensor) -> Tensor:
    """Add to a grid `(N, side, side, 2)` displacements `(N, 5, 5, 2)`, bicubic between their knots.

    Elastic distortion (Simard et al. 2003), smooth by few knots in place of a Gaussian filter. What
    one knot moves is the same bump for every digit, so that all is one matrix product.
    """
    bumps = _bumps(grid.size(1), grid.device)
    return torch.addmm(grid.flatten(1), shifts.flatten(1), bumps).view(grid.shape)


@cache
def _bumps(side: int, device: torch.device) -> Tensor:
    """What a unit shift of each knot, in x and in y, adds to a grid: `(5² · 2, side² · 2)`."""
    knots = torch.eye(KNOTS[0] * KNOTS[1]).view(-1, 1, *KNOTS)
    bumps = F.interpolate(knots, size=(side, side), mode="bicubic").flatten(1)
    return torch.kron(bumps, torch.eye(2)).to(device)


def resample(images: Tensor, grid: Tensor, fill: float) -> Tensor:
    """Read `(N, 1, side, side)` bilinearly where `grid` looks; what lies outside is `fill`."""
    if fill == 0:
        return F.grid_sample(images, grid, align_corners=False)
    return F.grid_sample(images - fill, grid, align_corners=False).add_(fill)


def hole_pixels(n: int, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """CoarseDropout's holes as indices into `(n · side²,)`: 1 to `holes` a digit, wholly inside."""
    count = (
        _integers((n, 1), 1, config.holes, generator)
        * _chance(n, config.holes_p, generator)[:, None]
    )
    exists = torch.arange(config.holes) < count  # (n, holes)
    step, side = torch.arange(config.hole_max), config.canvas
    spans = []
    for _ in ("height", "width"):
        length = _integers((n, config.holes, 1), config.hole_min, config.hole_max, generator)
        room = side - length + 1
        start = (torch.rand(length.shape, generator=generator) * room).long()
        # A shorter hole names its last row or column again.
        spans.append((start + torch.minimum(step, length - 1))[exists])  # (all holes, hole_max)
    rows, columns = spans
    digit = exists.nonzero()[:, 0]
    return ((digit[:, None, None] * side + rows[:, :, None]) * side + columns[:, None, :]).flatten()


def _uniform(shape, limit: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * limit


def _chance(n: int, p: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) < p


def _integers(shape, low: int, high: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, shape, generator=generator)
