"""Named configurations: a recipe is data, and every one of them runs through the same loop.

All were chosen on the last 5,000 training digits (`--validation 5000`) and frozen before the
test digits were looked at.
"""

from dataclasses import replace

from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

REFERENCE = TrainConfig()  # the source's recipe, untouched

# What the other three share: one cycle of the learning rate (Smith 2018), larger batches, small
# affine changes of every digit in place of rotation and holes, the last epoch without them.
_ONE_CYCLE = TrainConfig(
    model="CourseNet",
    batch_size=128,
    lr=0.02,
    schedule="onecycle",
    weight_decay=0.01,
    augmentation="batch",
    affine_p=1.0,
    rotation=8.0,
    shift=1.0,
    scale=0.08,
    shear=0.08,
    fill=0.0,
    holes_p=0.0,
    clean_epochs=1,
    evaluate_every=0,
    workers=0,
)

RECIPES = {
    "reference": REFERENCE,
    "reference_batch": replace(REFERENCE, augmentation="batch", workers=0),  # same distribution
    "course": replace(_ONE_CYCLE, ema=0.999),
    "small": replace(_ONE_CYCLE, model="SmallNet", ema=0.999),
    "fast": replace(_ONE_CYCLE, model="FastNet", epochs=4, lr=0.015, shift=0.7),
}


def _validated(**changes) -> TrainConfig:
    return replace(RECIPES["course"], validation=5_000, **changes)


# What each means of `course` is worth: the recipe less that means, on validation digits.
ABLATIONS = {
    "course": _validated(),
    "no_moving_average": _validated(ema=0.0),
    "constant_rate": _validated(schedule="constant", lr=0.002),
    "batch_32": _validated(batch_size=32, lr=0.01),
    "no_augmentation": _validated(augmentation="none"),
    "reference_augmentation": _validated(
        affine_p=0.5, rotation=7.0, shift=0.0, scale=0.0, shear=0.0, fill=1.0, holes_p=0.5
    ),
    "no_clean_epoch": _validated(clean_epochs=0),
    "model3": _validated(model="Model3"),
}

# All that `reproduce` can measure: name -> (configuration, how many seeds, from 0).
PLAN = {
    "reference": (RECIPES["reference"], 1),
    "reference_batch": (RECIPES["reference_batch"], 3),
    "course": (RECIPES["course"], 5),
    "small": (RECIPES["small"], 5),
    "fast": (RECIPES["fast"], 10),
} | {f"ablations/{name}": (settings, 2) for name, settings in ABLATIONS.items()}


def recipe(name: str) -> TrainConfig:
    """Return a recipe by its name. Raises InputError for an unknown one."""
    if name not in RECIPES:
        raise InputError(f"--recipe {name!r} is not one of {', '.join(RECIPES)}")
    return RECIPES[name]
