"""All that is measured, and how often: the recipes, and the studies that explain them."""

from dataclasses import replace

from mnist_utils import models
from mnist_utils.config import TrainConfig
from mnist_utils.recipes import RECIPES


def _validated(settings: TrainConfig, **changes) -> TrainConfig:
    return replace(settings, validation=5_000, **changes)


_FAST = RECIPES["fast"]

# What each ingredient of `fast` is worth: the recipe without it.
ABLATIONS = {
    "fast": _validated(_FAST),
    "no_label_smoothing": _validated(_FAST, label_smoothing=0.0),
    "constant_rate": _validated(_FAST, schedule="constant", lr=0.002),
    "no_augmentation": _validated(_FAST, augmentation="none"),
    "reference_augmentation": _validated(
        _FAST, affine_p=0.5, rotation=7.0, shift=0.0, scale=0.0, shear=0.0, fill=1.0, holes_p=0.5
    ),
    "no_clean_epoch": _validated(_FAST, clean_epochs=0),
}

# Notebook 2's two studies: the design ladder, and one budget with several receptive fields.
_STUDY = _validated(_FAST, epochs=4, lr=0.005, warmup=0.25)
STUDIES = {
    f"ladder/{name}": replace(_STUDY, model=name) for name in ("Model1", "Model2", "Model3")
} | {
    f"fields/{name}": replace(_STUDY, model=name)
    for name in (*models.FIELD_NETWORKS, *models.CONTROL_NETWORKS)
}

# STUDY/NAME, as it lies in `results/` -> (configuration, how many seeds, from 0).
PLAN = (
    {
        "recipes/reference": (RECIPES["reference"], 1),
        "recipes/reference_batch": (RECIPES["reference_batch"], 3),
        "recipes/course": (RECIPES["course"], 5),
        "recipes/small": (RECIPES["small"], 5),
        "recipes/fast": (RECIPES["fast"], 10),
    }
    | {f"ablations/{name}": (settings, 3) for name, settings in ABLATIONS.items()}
    | {name: (settings, 3) for name, settings in STUDIES.items()}
)

# Those whose weights of seed 0 are kept in `results/`.
KEEP_WEIGHTS = (*(f"recipes/{name}" for name in RECIPES), "ablations/fast")
