"""Named configurations: a recipe is data, and every one of them runs through the same loop.

All were chosen on training digits held out, the last 5,000 or 10,000 (`--validation 5000`);
`results/README.md` tells which test digits were looked at on the way.
"""

from dataclasses import replace

from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

REFERENCE = TrainConfig()  # the source's recipe, untouched

# What the others share: one cycle of the learning rate (Smith 2018), larger batches, small affine
# changes of every digit in place of rotation and holes, the last epoch without them; after the
# first epoch mostly the digits that are still read badly.
_ONE_CYCLE = TrainConfig(
    batch_size=128,
    lr=0.02,
    schedule="onecycle",
    weight_decay=0.01,
    precision="bfloat16",
    augmentation="batch",
    affine_p=1.0,
    fill=0.0,
    holes_p=0.0,
    clean_epochs=1,
    evaluate_every=0,
    workers=0,
)

# Of those that train for 20 epochs: Muon, averaged weights, elastic distortion.
_LONG = replace(
    _ONE_CYCLE,
    model="CourseNet",
    share=0.4,
    muon=0.1,
    ema=0.998,
    rotation=12.0,
    shift=1.5,
    scale=0.12,
    shear=0.15,
    elastic=0.6,
)

# Smaller networks get smaller changes of the digits; how much smaller was not compared.
_SMALL = replace(
    _LONG, model="SmallNet", share=0.5, lr=0.04, weight_decay=0.005,
    rotation=10.0, shift=1.0, scale=0.1, shear=0.1, elastic=0.4,
)  # fmt: skip

RECIPES = {
    "reference": REFERENCE,
    "reference_batch": replace(REFERENCE, augmentation="batch", workers=0),  # same distribution
    "course": _LONG,
    "small": _SMALL,
    "mini": replace(_SMALL, model="MiniNet"),
    "tiny": replace(_SMALL, model="TinyNet"),
    "best": replace(_LONG, model="BestNet"),
    "fast": replace(
        _ONE_CYCLE,
        model="FastNet",
        epochs=6,
        share=0.25,
        warmup=0.15,
        label_smoothing=0.05,
        rotation=8.0,  # chosen smaller for few epochs, not compared
        shift=0.7,
        scale=0.08,
        shear=0.08,
    ),
}

DEFAULT = "course"  # of `make train` and of a job


def recipe(name: str) -> TrainConfig:
    """Return a recipe by its name. Raises InputError for an unknown one."""
    if name not in RECIPES:
        raise InputError(f"--recipe {name!r} is not one of {', '.join(RECIPES)}")
    return RECIPES[name]
