from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

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


def test_digits_come_in_order_with_their_labels_and_the_last_batch_is_kept(few):
    still = replace(REFERENCE, batch_size=32, affine_p=0.0, holes_p=0.0, workers=0)
    for path in ("albumentations", "batch", "none"):
        config = replace(still, augmentation=path)
        assert [len(labels) for _, labels in batches(few, config)] == [32] * 7 + [16]
        images, labels = epoch(few, config)
        assert images.shape == (240, 1, 28, 28)
        assert torch.equal(labels, few.labels)
        assert torch.allclose(raw(images), few.images / 255, atol=1e-6)


def test_one_seed_gives_one_epoch_and_epochs_differ(few):
    for path, workers in (("albumentations", 0), ("albumentations", 2), ("batch", 0)):
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


def test_workers_and_epochs_augment_differently_and_without_the_fix_they_do_not(few, monkeypatch):
    def distinct(images):
        return len({image.numpy().tobytes() for image in images})

    copies = few.take(torch.zeros(48, dtype=torch.long))
    config = replace(REFERENCE, workers=2, batch_size=8, affine_p=1.0, holes_p=1.0)
    one, two = epoch(copies, config, 1)[0], epoch(copies, config, 2)[0]
    assert distinct(torch.cat([one, two])) == 96
    monkeypatch.setattr(augment, "seed_worker", lambda _: None)
    assert distinct(epoch(copies, config, 1)[0]) == 24  # each worker repeats the other's


def test_fill_1_is_white_on_floats_and_black_on_uint8():
    config = replace(REFERENCE, affine_p=1.0, holes_p=0.0, rotation=45.0)
    for kind, corner in ((np.float32, 1.0), (np.uint8, 1)):  # of 255
        image = np.zeros((28, 28), kind)
        rotated = augment.sample_transform(config, seed=0)(image=image)["image"]
        assert rotated[0, 0] == corner


def looks(path, config, split):
    """What digits on one of the paths look like: a value for each of them, by name."""

    def through(images, **changes):
        changed = replace(config, **changes)
        if path == "batch":
            generator = torch.Generator().manual_seed(1)
            batch = torch.from_numpy(images).unsqueeze(1).clone()
            return augment.augment_batch(batch, changed, generator).squeeze(1).numpy()
        transform = augment.sample_transform(changed, seed=1)
        return np.stack([transform(image=image)["image"] for image in images])

    # An angle is the direction in which a ramp grows brighter.
    ramp = np.tile(np.linspace(0.2, 0.8, 28, dtype=np.float32), (N, 28, 1))
    middle = through(ramp, affine_p=1.0, holes_p=0.0)[:, 10:18, 10:18]
    across, down = ((middle.take(7, axis) - middle.take(0, axis)).mean(1) for axis in (2, 1))
    holes = through(np.ones((N, 28, 28), np.float32), affine_p=0.0) == 0
    area = holes.sum((1, 2))
    rows, columns = ((holes.sum(axis) @ np.arange(28))[area > 0] for axis in (2, 1))
    digits = through(split.images[:N].float().numpy() / 255)
    whole, inside = digits.mean((1, 2)), digits[:, 2:-2, 2:-2].mean((1, 2))
    return {
        "angle": np.arctan2(down, across),
        "area": area,
        "row": rows / area[area > 0],
        "column": columns / area[area > 0],
        "brightness": whole,
        "middle": digits[:, 8:20, 8:20].mean((1, 2)),
        "border": (whole * 28**2 - inside * 24**2) / (28**2 - 24**2),
    }


def test_both_paths_draw_from_one_distribution_and_a_small_difference_is_seen(train_split):
    """8 degrees for 7, holes larger by a pixel or fewer by one, and a border filled with 0."""
    theirs = looks("albumentations", REFERENCE, train_split)

    def differing(**changes):
        ours = looks("batch", replace(REFERENCE, **changes), train_split)
        return {name for name in ours if ks_2samp(ours[name], theirs[name]).pvalue < 1e-4}

    assert differing() == set()
    assert "angle" in differing(rotation=8.0)
    assert {"area"} <= differing(hole_min=5, hole_max=6) & differing(holes=2)
    assert {"border", "brightness"} <= differing(fill=0.0)


def test_a_warp_by_torch_s_own_grid_changes_nothing_or_is_a_quarter_turn(few):
    images = (few.images[:5].float() / 255).unsqueeze(1)
    for matrix, expected in (
        ([[1.0, 0, 0], [0, 1, 0]], images),
        ([[0.0, -1, 0], [1, 0, 0]], torch.rot90(images, 1, (2, 3))),
    ):
        grid = augment.affine_grid(torch.tensor([matrix]).expand(5, 2, 3))
        assert torch.allclose(augment.resample(images, grid, 0.0), expected, atol=1e-4)
    config = replace(REFERENCE, augmentation="batch", shift=2.0, scale=0.2, shear=0.2)
    matrices = augment.affine_matrices(8, config, torch.Generator().manual_seed(0))
    for side in (28, 40):
        size = (8, 1, side, side)
        theirs = torch.nn.functional.affine_grid(matrices, size, align_corners=False)
        assert torch.allclose(augment.affine_grid(matrices, side), theirs, atol=1e-5)


def test_on_any_canvas_a_shift_is_of_as_many_pixels_and_holes_reach_every_border():
    for side in (28, 40):
        config = replace(RECIPES["fast"], rotation=0.0, scale=0.0, shear=0.0, shift=2.0)
        config = replace(config, canvas=side, holes_p=1.0, hole_min=4, hole_max=5, holes=3)
        draw = torch.Generator().manual_seed(0)
        shifts = augment.affine_matrices(N, config, draw)[:, :, 2] * side / 2
        assert 1.99 < shifts.abs().max() <= 2.0
        pixels = augment.hole_pixels(2_000, config, draw) % side**2
        for places in (pixels // side, pixels % side):
            assert (places.min(), places.max()) == (0, side - 1)
        images = augment.augment_batch(torch.ones(9, 1, side, side), config, draw)
        assert images.shape == (9, 1, side, side)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="--side 40 exceeds --canvas 28"):
        replace(REFERENCE, side=40)
    with pytest.raises(InputError, match="--elastic need --augmentation batch"):
        replace(REFERENCE, elastic=0.5)


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
    uniform = [most / 3**0.5] * drawn.size(1)
    assert drawn.std(0).tolist() == pytest.approx(uniform, rel=0.05)
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
