"""All that is measured, and how often: the recipes, and the studies that explain them."""

from dataclasses import replace

from torch import nn

from classroom.factorial import (
    CANVAS,
    DESIGNS,
    OBJECTS,
    SIDES,
    TOO_LARGE,
)
from mnist_utils import models, results
from mnist_utils.config import TrainConfig
from mnist_utils.pruning import slimmed
from mnist_utils.recipes import RECIPES

# From how many seeds a recipe's figures come, if not 10. Notebook 10's ensembles are three times
# five seeds of `course`.
SEEDS = {"reference": 1, "reference_batch": 3, "course": 15}


def _validated(settings: TrainConfig, **changes) -> TrainConfig:
    return replace(settings, validation=5_000, **changes)


_FAST, _COURSE, _SMALL, _MINI = (
    _validated(RECIPES[name]) for name in ("fast", "course", "small", "mini")
)

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
    "mini": {"1×1 head": replace(_MINI, model="MiniNetHead")},
}

# Notebook 2c's ladder of designs, and networks of one budget with several fields (notebook 8 draws
# them).
_STUDY = replace(_FAST, epochs=4, share=1.0, lr=0.005, warmup=0.25, precision="float32")
LADDER = {
    name: replace(_STUDY, model=name)
    for name in ("Model1", "Model2", "Model3", *models.LADDER_CONTROLS)
}
FIELDS = {
    name: replace(_STUDY, model=name) for name in (*models.FIELD_NETWORKS, *models.CONTROL_NETWORKS)
}

# The lab's sweep: what accuracy goes with which field at which size. A chain (`chains.rows`) with
# `*` for the channels of a convolution and `**` for twice as many -> `*` for about 1,250, 3,000,
# 7,500 and 19,000 parameters. The field before GAP stands last.
SWEEP = {
    "AP2-*C3-*C1": (26, 44, 76, 127),  # 6
    "*C3-MP2-*C3": (11, 17, 28, 45),  # 8
    "*C5s2-**C3": (7, 12, 19, 31),  # 9
    "*C5-MP2-**C3": (7, 12, 19, 31),  # 10
    "*C3-MP2-*C3-*C3": (8, 12, 20, 32),  # 12
    "*C5-MP2-*C3-*C3": (7, 12, 19, 31),  # 14
    "*C5-MP2-**C3-**C3-**C3": (3, 5, 9, 14),  # 18
    "*C5s2-*C3-MP2-**C3": (6, 10, 16, 26),  # 19
    "*C5-MP2-*C3-MP2-*C3": (7, 12, 19, 31),  # 20
    "*C5-MP2-*C3p1-*C3p1-*C3-*C3": (5, 8, 14, 22),  # 22
    "*C5-MP2-*C5-*C5": (5, 7, 12, 19),  # 22
    "*C3-*C3-MP2-*C3-*C3-MP2-*C3": (5, 9, 14, 23),  # 24
    "*C5-MP2-*C3p1-*C3p1-*C3p1-*C3-*C3": (5, 8, 12, 20),  # 26
    "*C5-MP2-**C3-MP2-**C3p1-**C3": (3, 5, 9, 14),  # 28
    "*C5-MP2-*C3-*C3-MP2-*C3p1-*C3p1": (5, 8, 14, 22),  # 32
    "*C5-MP2-*C5-MP2-*C5p2": (5, 7, 12, 19),  # 32
    "*C5-MP2-*C5-MP2-*C5p2-*C3p1": (4, 7, 11, 18),  # 40
}
SWEPT = {
    notation: replace(_STUDY, model=notation, share=0.25)
    for chain, widths in SWEEP.items()
    for width in widths
    for notation in [chain.replace("**", str(2 * width)).replace("*", str(width))]
}

# What the field is worth apart from depth, and depth apart from the field: by the sweep's recipe.
FACTORIAL = {d.notation: replace(_STUDY, model=d.notation, share=0.25) for d in DESIGNS}

# Does the field that is enough follow the object's size? The digits' shifts do.
SCALED = {
    f"{side} {notation}": replace(
        _STUDY, model=notation, share=0.25, side=side, canvas=CANVAS, shift=_STUDY.shift * side / 28
    )
    for notations in OBJECTS.values()
    for notation in notations
    for side in SIDES
}

# What do layers add whose field is larger than the digit, and what does it cost to cut them?
CUT = {notation: replace(_STUDY, model=notation, share=0.25) for notation in TOO_LARGE}

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

# Notebook 6's: what each part of the recipe `course`'s augmentation gives alone, and holes or a
# white fill beside all of it; two wider ranges.
_PARTS = ("rotation", "shift", "scale", "shear", "elastic")
_PLAIN = replace(_COURSE, **dict.fromkeys(_PARTS, 0.0))
AUGMENTATIONS = (
    {"none": _PLAIN}
    | {part: replace(_PLAIN, **{part: getattr(_COURSE, part)}) for part in _PARTS}
    | {
        "holes": replace(_PLAIN, holes_p=0.5),
        "all and holes": replace(_COURSE, holes_p=0.5),
        "all, white fill": replace(_COURSE, fill=1.0),
    }
)
WIDER = {
    "rotation 30": replace(_PLAIN, rotation=30.0),
    "shift 4": replace(_PLAIN, shift=4.0),
}

# Also notebook 6's: more digits in place of augmentation, at about 3,900 steps each.
DIGITS = {1_000: (484, 54), 5_000: (97, 11), 20_000: (25, 3), 55_000: (9, 1)}  # epochs, clean ones
DATA = {
    f"{digits} {name}": replace(
        settings, share=1.0, subset=digits, epochs=epochs, clean_epochs=clean
    )
    for digits, (epochs, clean) in DIGITS.items()
    for name, settings in {"plain": _PLAIN, "augmented": _COURSE}.items()
}

# Notebook 7's: each schedule on one grid of rates at each budget; averaged weights on the same
# grid; Adam alone on `course`, at half of the rate of Muon's companion; the source's recipe,
# annealed.
_RATES = replace(_FAST, share=1.0, clean_epochs=0)
GRID = (0.001, 0.003, 0.01, 0.03, 0.1)
BUDGETS = (2, 5, 10, 20)  # epochs
SCHEDULES = {
    f"{schedule} {epochs} epochs {lr}": replace(_RATES, schedule=schedule, epochs=epochs, lr=lr)
    for schedule in ("constant", "step", "onecycle")
    for epochs in BUDGETS
    for lr in GRID
}
# The rate at which seed 0 has the fewest errors, by budget: seeds 1 to 3 judge it.
BEST = {
    "constant": (0.003, 0.01, 0.01, 0.001),
    "step": (0.03, 0.03, 0.03, 0.03),
    "onecycle": (0.03, 0.1, 0.03, 0.01),
}
JUDGED = [
    f"{s} {b} epochs {lr}" for s, best in BEST.items() for b, lr in zip(BUDGETS, best, strict=True)
]
AVERAGED = {
    f"{schedule} averaged {lr}": replace(_RATES, schedule=schedule, epochs=5, lr=lr, ema=0.998)
    for schedule in ("constant", "onecycle")
    for lr in GRID
}
AVERAGED_JUDGED = ("constant averaged 0.01", "onecycle averaged 0.1")  # the best of five epochs
ADAM = {"Adam alone 0.01": replace(_COURSE, muon=0.0, lr=0.01)}
ANNEALED = {"source annealed": replace(_REFERENCE, schedule="onecycle", lr=0.004)}


def ablation(recipe: str, change: str = "") -> str:
    """Where a recipe's ablation lies in `results/`; without a change, the recipe it is held to."""
    return f"ablations/{recipe}" + (f"-{change.replace(' ', '_')}" if change else "")


# Notebook 10's: one network of an ensemble's parameters, trained twice as long as a member.
ENSEMBLES = {"WideNet": replace(RECIPES["course"], model="WideNet", epochs=40)}

# Notebook 8's: CourseNet, trained, then less half of its channels and trained on, against a
# network of those widths, and SmallNet, trained from scratch for as many epochs as the two
# together.
_NARROW = replace(_COURSE, model="NarrowNet")
PRUNING = {
    "pruned": _NARROW,
    "from scratch": replace(_NARROW, epochs=40),
}
SMALL_RIVAL = {"SmallNet": replace(_SMALL, epochs=40)}


def _pruned(seed: int) -> nn.Module:
    return slimmed(results.network(ablation("course"), seed=seed), 8, (16, 16, 16, 16))


# Configuration -> what gives the network whose weights a seed goes on from.
TRAINED = {"pruning/pruned": _pruned}


def study(kind: str, configurations: dict[str, TrainConfig], seeds: int) -> dict:
    """A study's part of the plan: where each configuration lies in `results/`, and its seeds."""
    return {
        f"{kind}/{name.replace(', ', '-').replace(' ', '_')}": (settings, seeds)
        for name, settings in configurations.items()
    }


# STUDY/NAME, as it lies in `results/` -> (configuration, how many seeds, from 0).
PLAN = (
    {f"recipes/{name}": (settings, SEEDS.get(name, 10)) for name, settings in RECIPES.items()}
    | {ablation(name): (_validated(RECIPES[name]), 5) for name in ABLATIONS}
    | {
        ablation(name, change): (settings, 5)
        for name, changes in ABLATIONS.items()
        for change, settings in changes.items()
    }
    | study("ladder", LADDER, 3)
    | study("fields", FIELDS, 3)
    | study("sweep", SWEPT, 3)
    | study("factorial", FACTORIAL, 3)
    | study("objects", SCALED, 3)
    | study("cut", CUT, 3)
    | study("regularizers", REGULARIZERS, 3)
    | study("augmentation", AUGMENTATIONS, 5)
    | study("augmentation", WIDER, 3)
    | study("data", DATA, 3)
    | study("schedules", SCHEDULES | AVERAGED, 1)
    | study("schedules", {name: AVERAGED[name] for name in AVERAGED_JUDGED}, 4)
    | study("schedules", {name: SCHEDULES[name] for name in JUDGED}, 4)
    | study("schedules", ADAM, 5)
    | study("schedules", ANNEALED, 3)
    | study("ensembles", ENSEMBLES, 3)
    | study("pruning", PRUNING, 5)
    | study("pruning", SMALL_RIVAL, 3)
)

# Configuration -> from how many seeds, from 0, the weights are kept in `results/`.
WEIGHTS = (
    {f"recipes/{name}": 1 for name in RECIPES}
    | {"recipes/course": SEEDS["course"], "ablations/fast": 1, "ablations/course": 5}
    | {
        f"augmentation/{name}": 3
        for name in ("none", "rotation", "rotation_30", "shift", "shift_4")
    }
    | {"ensembles/WideNet": 3, "ladder/Model1": 3, f"cut/{next(iter(CUT))}": 3}
)
