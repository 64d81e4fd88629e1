import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mnist_utils import augment, data
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.recipes import RECIPES

REFERENCE = TrainConfig()
N = 4_000  # digits a distribution is judged on


def batches(split, config, number=1):
    generator = torch.Generator().manual_seed(augment.epoch_seed(config.seed, number))
    return augment.training_batches(split, config, number, generator)


def epoch(split, config, number=1):
    images, labels = zip(*batches(split, config, number), strict=True)
    return torch.cat(images), torch.cat(labels)


def raw(images):
    """Standardised images back to floats in 0..1, `(N, 28, 28)`."""
    return (images * data.STD + data.MEAN).squeeze(1)


@pytest.fixture(scope="module")
def few(train_split):
    return train_split.take(slice(0, 240))


# --- both paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["albumentations", "batch", "none"])
def test_digits_come_in_order_with_their_labels_and_the_last_batch_is_kept(few, path):
    config = replace(
        REFERENCE, augmentation=path, batch_size=32, affine_p=0.0, holes_p=0.0, workers=0
    )
    sizes = [len(labels) for _, labels in batches(few, config)]
    images, labels = epoch(few, config)
    assert sizes == [32] * 7 + [16]
    assert images.shape == (240, 1, 28, 28)
    assert torch.equal(labels, few.labels)
    assert torch.allclose(raw(images), few.images / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "workers"), [("albumentations", 0), ("albumentations", 2), ("batch", 0)]
)
def test_one_seed_gives_one_epoch_and_epochs_differ(few, path, workers):
    config = replace(REFERENCE, augmentation=path, workers=workers)
    first, _ = epoch(few, config, 1)
    assert torch.equal(first, epoch(few, config, 1)[0])
    for other in (epoch(few, config, 2), epoch(few, replace(config, seed=1), 1)):
        assert not torch.equal(first, other[0])


def test_clean_epochs_are_the_last_ones(few):
    config = replace(REFERENCE, augmentation="batch", affine_p=1.0, clean_epochs=1, epochs=3)
    plain = {round(image.sum().item() / 255, 2) for image in few.images}

    def untouched(number):
        return sum(round(i.sum().item(), 2) in plain for i in raw(epoch(few, config, number)[0]))

    assert untouched(2) < 24
    assert untouched(3) > 200


# --- the worker trap ----------------------------------------------------------------------------


def same_digit_many_times(split, n):
    return split.take(torch.zeros(n, dtype=torch.long))


def distinct(images):
    return len({image.numpy().tobytes() for image in images})


def test_workers_and_epochs_augment_differently_and_without_the_fix_they_do_not(few, monkeypatch):
    copies = same_digit_many_times(few, 48)
    config = replace(REFERENCE, workers=2, batch_size=8, affine_p=1.0, holes_p=1.0)
    one, two = epoch(copies, config, 1)[0], epoch(copies, config, 2)[0]
    assert distinct(torch.cat([one, two])) == 96
    monkeypatch.setattr(augment, "seed_worker", lambda _: None)
    assert distinct(epoch(copies, config, 1)[0]) == 24  # each worker repeats the other's


# --- what fill means ----------------------------------------------------------------------------


def corner_after_rotation(image):
    config = replace(REFERENCE, affine_p=1.0, holes_p=0.0, rotation=45.0)
    rotated = augment.sample_transform(config, seed=0)(image=image)["image"]
    return rotated[0, 0]


def test_fill_1_is_white_on_floats_and_black_on_uint8():
    black = np.zeros((28, 28), np.float32)
    assert corner_after_rotation(black) == 1.0
    assert corner_after_rotation(black.astype(np.uint8)) == 1  # of 255


# --- both paths draw from one distribution ------------------------------------------------------


def turned_by(path, config, n=N):
    """Angles in degrees, measured on a rotated ramp: the direction in which brightness grows."""
    ramp = np.tile(np.linspace(0.2, 0.8, 28, dtype=np.float32), (28, 1))
    images = transformed(path, np.tile(ramp, (n, 1, 1)), replace(config, affine_p=1.0, holes_p=0.0))
    middle = images[:, 10:18, 10:18]
    across = (middle[:, :, -1] - middle[:, :, 0]).mean(axis=1)
    down = (middle[:, -1, :] - middle[:, 0, :]).mean(axis=1)
    return np.degrees(np.arctan2(down, across))


def transformed(path, images, config):
    """Floats `(n, 28, 28)` in 0..1 through one of the two paths."""
    if path == "batch":
        generator = torch.Generator().manual_seed(1)
        batch = torch.from_numpy(images).unsqueeze(1).clone()
        return augment.augment_batch(batch, config, generator).squeeze(1).numpy()
    transform = augment.sample_transform(config, seed=1)
    return np.stack([transform(image=image)["image"] for image in images])


def hole_figures(path, config, n=N):
    """Of holes cut in white digits: share with any, areas, bounding rows and columns."""
    white = np.ones((n, 28, 28), np.float32)
    holes = transformed(path, white, replace(config, affine_p=0.0)) == 0
    area = holes.sum(axis=(1, 2))
    place = holes.mean(axis=0)
    single = np.isin(area, [16, 20, 25])
    return {
        "any": (area > 0).mean(),
        "area": area[area > 0],
        "place": place,
        "single": single.mean(),
    }


def close(a, b, spread, n=N):
    """Whether two means of `n` values differ by no more than four standard errors."""
    return abs(a - b) < 4 * spread * math.sqrt(2 / n)


def same_angles(one, two):
    a, b = turned_by("albumentations", one), turned_by("batch", two)
    return (
        close(a.mean(), b.mean(), a.std())
        and close(np.abs(a).mean(), np.abs(b).mean(), np.abs(a).std())
        and abs(np.abs(a).max() - np.abs(b).max()) < 0.15
    )


def same_holes(one, two):
    a, b = hole_figures("albumentations", one), hole_figures("batch", two)
    return (
        close(a["any"], b["any"], 0.5)
        and close(a["area"].mean(), b["area"].mean(), a["area"].std(), n=N / 2)
        and (a["area"].min(), a["area"].max()) == (b["area"].min(), b["area"].max())
        and close(a["single"], b["single"], 0.4)
        and np.abs(a["place"] - b["place"]).max() < 4.5 * math.sqrt(2 * 0.05 / N)
    )


def same_pixels(one, two, split):
    images = split.images[:N].float().numpy() / 255
    a, b = transformed("albumentations", images, one), transformed("batch", images, two)
    border = np.ones((28, 28), bool)
    border[2:-2, 2:-2] = False
    return all(
        close(f(a).mean(), f(b).mean(), f(a).std())
        for f in (
            lambda x: x.mean(axis=(1, 2)),
            lambda x: x[:, border].mean(axis=1),
            lambda x: x[:, 8:20, 8:20].mean(axis=(1, 2)),
        )
    )


def test_angles_agree_and_8_degrees_instead_of_7_is_seen():
    assert same_angles(REFERENCE, REFERENCE)
    assert not same_angles(REFERENCE, replace(REFERENCE, rotation=8.0))


def test_holes_agree_in_number_size_and_place_and_5_to_6_pixels_are_seen():
    assert same_holes(REFERENCE, REFERENCE)
    assert not same_holes(REFERENCE, replace(REFERENCE, hole_min=5, hole_max=6))
    assert not same_holes(REFERENCE, replace(REFERENCE, holes=2))


def test_holes_reach_every_border_and_end_there():
    generator = torch.Generator().manual_seed(0)
    pixels = augment.hole_pixels(2_000, replace(REFERENCE, holes_p=1.0), generator) % 784
    for places in (pixels // 28, pixels % 28):
        assert (places.min(), places.max()) == (0, 27)


def test_pixels_agree_and_fill_0_instead_of_1_is_seen(train_split):
    assert same_pixels(REFERENCE, REFERENCE, train_split)
    assert not same_pixels(REFERENCE, replace(REFERENCE, fill=0.0), train_split)


def warp(images, matrices, fill=0.0):
    return augment.resample(images, augment.affine_grid(matrices), fill)


def test_warp_by_the_identity_changes_nothing_and_by_90_degrees_is_a_quarter_turn(few):
    images = (few.images[:5].float() / 255).unsqueeze(1)
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]).expand(5, 2, 3)
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]]).expand(5, 2, 3)
    assert torch.allclose(warp(images, identity), images, atol=1e-5)
    turned = warp(images, quarter, 1.0)
    assert torch.allclose(turned, torch.rot90(images, 1, (2, 3)), atol=1e-4)


def test_the_grid_equals_torch_s_own():
    config = replace(REFERENCE, augmentation="batch", shift=2.0, scale=0.2, shear=0.2)
    matrices = augment.affine_matrices(8, config, torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.affine_grid(matrices, (8, 1, 28, 28), align_corners=False)
    assert torch.allclose(augment.affine_grid(matrices), theirs, atol=1e-5)
    theirs = torch.nn.functional.affine_grid(matrices, (8, 1, 40, 40), align_corners=False)
    assert torch.allclose(augment.affine_grid(matrices, 40), theirs, atol=1e-5)


def test_on_a_larger_canvas_a_shift_is_of_as_many_pixels_and_holes_reach_every_border():
    config = replace(RECIPES["fast"], rotation=0.0, scale=0.0, shear=0.0, shift=2.0, canvas=40)
    shifts = augment.affine_matrices(N, config, torch.Generator().manual_seed(0))[:, :, 2] * 20
    assert 1.99 < shifts.abs().max() <= 2.0
    holes = replace(config, holes_p=1.0)
    pixels = augment.hole_pixels(2_000, holes, torch.Generator().manual_seed(0)) % 1600
    for places in (pixels // 40, pixels % 40):
        assert (places.min(), places.max()) == (0, 39)
    images = augment.augment_batch(torch.ones(9, 1, 40, 40), holes, torch.Generator())
    assert images.shape == (9, 1, 40, 40)


def test_a_digit_larger_than_its_canvas_is_refused():
    with pytest.raises(InputError, match="--side 40 exceeds --canvas 28"):
        replace(REFERENCE, side=40)


@pytest.mark.parametrize(
    ("part", "most", "entries"),
    [
        ("shift", 2.0, lambda m: m[:, :, 2] * 14),
        ("scale", 0.2, lambda m: 1 / m[:, [0, 1], [0, 1]] - 1),
        ("shear", 0.3, lambda m: m[:, :1, 1]),
        ("rotation", 20.0, lambda m: torch.atan2(m[:, 1], m[:, 0])[:, :1].rad2deg()),
    ],
)
def test_an_affine_part_fills_its_range_both_ways_and_each_axis_for_itself(part, most, entries):
    only = dict.fromkeys(("rotation", "shift", "scale", "shear"), 0.0) | {part: most}
    config = replace(RECIPES["course"], **only)
    matrices = augment.affine_matrices(N, config, torch.Generator().manual_seed(0))
    drawn = entries(matrices)
    assert (drawn.abs() <= most + 1e-4).all()
    assert (drawn.amax(0) > 0.99 * most).all()
    assert (drawn.amin(0) < -0.99 * most).all()
    assert drawn.std(0).tolist() == pytest.approx(
        [most / 3**0.5] * drawn.size(1), rel=0.05
    )  # of a uniform distribution
    if drawn.size(1) == 2:
        assert abs(drawn.T.corrcoef()[0, 1]) < 0.1
    rest = matrices[:, :, :2] if part == "shift" else matrices[:, :, 2]
    assert torch.equal(rest, rest[:1].expand_as(rest))


def test_elastic_shifts_are_bicubic_between_their_knots_and_of_the_size_that_is_asked_for(few):
    shifts = torch.randn(6, *augment.KNOTS, 2)
    bent = augment.bend(torch.zeros(6, 28, 28, 2), shifts)
    smooth = torch.nn.functional.interpolate(shifts.permute(0, 3, 1, 2), 28, mode="bicubic")
    assert torch.allclose(bent, smooth.permute(0, 2, 3, 1), atol=1e-5)
    still = replace(REFERENCE, augmentation="batch", affine_p=1.0, rotation=0.0, holes_p=0.0)
    config = replace(still, elastic=1.0)
    ramp = torch.linspace(0, 1, 28).expand(4_000, 1, 28, 28).clone()  # brightness tells x
    moved = augment.augment_batch(ramp, config, torch.Generator().manual_seed(0))[:, 0] - ramp[:, 0]
    pixels = 27 * moved[:, 12:16, 12:16].std().item()
    assert 0.8 < pixels < 1.0  # smoothing between the knots takes a little away
    assert torch.equal(epoch(few, still)[0], epoch(few, replace(config, elastic=0.0))[0])


def test_elastic_needs_the_batch_path():
    with pytest.raises(InputError, match="--elastic need --augmentation batch"):
        replace(REFERENCE, elastic=0.5)
