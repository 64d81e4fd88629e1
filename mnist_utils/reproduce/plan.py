"""All that is measured, and how often: the recipes, and the studies that explain them."""

from dataclasses import replace

from mnist_utils import models
from mnist_utils.config import TrainConfig
from mnist_utils.recipes import RECIPES


def _validated(settings: TrainConfig, **changes) -> TrainConfig:
    return replace(settings, validation=5_000, **changes)


_FAST, _COURSE, _SMALL = (_validated(RECIPES[name]) for name in ("fast", "course", "small"))

# What each ingredient is worth: recipe -> what is changed -> the recipe so changed.
ABLATIONS = {
    "fast": {
        "all digits drawn alike": replace(_FAST, loss_power=0.0),
        "loss to the power 1": replace(_FAST, loss_power=1.0),
        "all digits in every epoch": replace(_FAST, share=1.0),
        "no label smoothing": replace(_FAST, label_smoothing=0.0),
        "constant rate": replace(_FAST, schedule="constant", lr=0.002),
        "no augmentation": replace(_FAST, augmentation="none"),
        "reference augmentation": replace(
            _FAST,
            affine_p=0.5,
            rotation=7.0,
            shift=0.0,
            scale=0.0,
            shear=0.0,
            fill=1.0,
            holes_p=0.5,
        ),
        "no clean epoch": replace(_FAST, clean_epochs=0),
        "float32": replace(_FAST, precision="float32"),
    },
    "course": {
        "all digits drawn alike": replace(_COURSE, loss_power=0.0),
        "Adam alone": replace(_COURSE, muon=0.0),
        "no averaged weights": replace(_COURSE, ema=0.0),
        "no elastic distortion": replace(_COURSE, elastic=0.0),
        "no crop": replace(_COURSE, model="CourseNetWhole"),
    },
    "small": {
        "stem not mirrored": replace(_SMALL, model="SmallNetPlain"),
        "scale in BatchNorm": replace(_SMALL, model="SmallNetScaled"),
        "ReLU": replace(_SMALL, model="SmallNetReLU"),
    },
}

# Notebook 2b's two studies: the design ladder, and one budget with several receptive fields.
_STUDY = replace(_FAST, epochs=4, share=1.0, lr=0.005, warmup=0.25, precision="float32")
STUDIES = {
    f"ladder/{name}": replace(_STUDY, model=name)
    for name in ("Model1", "Model2", "Model3", *models.LADDER_CONTROLS)
} | {
    f"fields/{name}": replace(_STUDY, model=name)
    for name in (*models.FIELD_NETWORKS, *models.CONTROL_NETWORKS)
}

# Notebook 2a's: what each regularizer of the source's recipe does, also to the gap between the
# accuracy while training and on digits held out. Ten epochs: half of the source's.
_REFERENCE = _validated(RECIPES["reference_batch"], epochs=10, evaluate_every=0)
REGULARIZERS = {
    "all": _REFERENCE,
    "no BatchNorm": replace(_REFERENCE, model="Model3NoBatchNorm"),
    "no Dropout": replace(_REFERENCE, model="Model3NoDropout"),
    "no CoarseDropout": replace(_REFERENCE, holes_p=0.0),
    "only BatchNorm": replace(_REFERENCE, model="Model3NoDropout", augmentation="none"),
}
STUDIES |= {
    f"regularizers/{name.replace(' ', '_')}": settings for name, settings in REGULARIZERS.items()
}


def ablation(recipe: str, change: str = "") -> str:
    """Where a recipe's ablation lies in `results/`; without a change, the recipe it is held to."""
    return f"ablations/{recipe}" + (f"-{change.replace(' ', '_')}" if change else "")


# STUDY/NAME, as it lies in `results/` -> (configuration, how many seeds, from 0).
PLAN = (
    {
        f"recipes/{name}": (settings, {"reference": 1, "reference_batch": 3}.get(name, 10))
        for name, settings in RECIPES.items()
    }
    | {ablation(name): (_validated(RECIPES[name]), 5) for name in ABLATIONS}
    | {
        ablation(name, change): (settings, 5)
        for name, changes in ABLATIONS.items()
        for change, settings in changes.items()
    }
    | {name: (settings, 3) for name, settings in STUDIES.items()}
)

# Those whose weights of seed 0 are kept in `results/`.
KEEP_WEIGHTS = (*(f"recipes/{name}" for name in RECIPES), "ablations/fast")
