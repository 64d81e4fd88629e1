"""The exercises of notebook 6: equal steps, digits in place of augmentation, five seeds."""

import math
import statistics

from classroom.checks.exercise import Exercise, Number, Words, Wrong
from mnist_utils import results

SIZES = (1_000, 5_000, 20_000, 55_000)


def _errors(kind: str) -> list[float]:
    """Mean errors at each size, "plain" or "augmented"."""
    names = (f"data/{size}_{kind}" for size in SIZES)
    return [statistics.mean(run["errors"] for run in results.runs(name)) for name in names]


def _worth(scale=math.log, errors=math.log) -> float:
    """How many plain digits do as well as 5,000 augmented ones: lines between what is measured."""
    wanted, plain = errors(_errors("augmented")[1]), [errors(value) for value in _errors("plain")]
    for at in range(3):
        if plain[at + 1] <= wanted <= plain[at]:
            part = (plain[at] - wanted) / (plain[at] - plain[at + 1])
            low, high = scale(SIZES[at]), scale(SIZES[at + 1])
            found = low + part * (high - low)
            return math.exp(found) if scale is math.log else found
    raise ValueError("5,000 augmented digits do better than all plain ones")


def _of_holes() -> frozenset[str]:
    """What five seeds say of holes besides all else."""
    gap = results.difference("augmentation/all_and_holes", "ablations/course")
    verdict = "cannot be told" if gap.p >= 0.05 else "they help" if gap.mean > 0 else "they harm"
    return frozenset({verdict})


EXERCISES = (
    Exercise(
        "equal_steps",
        Number(0.3),
        lambda: 9 * math.ceil(55_000 / 128) / math.ceil(5_000 / 128),
        (
            Wrong(
                "equal epochs",
                9,
                "Nine epochs of 5,000 digits are 360 steps: a tenth of the training.",
            ),
            Wrong(
                "small batches forgotten",
                99,
                "An epoch of 5,000 digits takes 40 steps; the last is a smaller batch, and a step.",
            ),
        ),
        (
            "How many steps does an epoch of 55,000 digits take, and one of 5,000?",
            "430 and 40: nine times the one, by the other.",
        ),
        "Each digit is then seen eleven times as often, and each step learns from as many.",
    ),
    Exercise(
        "worth",
        Number(800),
        _worth,
        lambda: (
            Wrong(
                "as drawn on even axes",
                _worth(float, float),
                "Both axes of the picture are logarithmic: draw the line there.",
            ),
            Wrong(
                "no gain",
                5_000,
                "That is what they are. How many plain ones would do as well?",
            ),
        ),
        (
            "Between which two plain sizes do the errors of 5,000 augmented digits lie?",
            "np.interp on the logarithms: np.exp(np.interp(log errors, log errors of plain, log "
            "sizes)), with the errors ascending.",
        ),
        "Digits cost people's time; augmentation costs the processor's.",
    ),
    Exercise(
        "five_seeds",
        Words(("they help", "they harm", "cannot be told"), one=True),
        _of_holes,
        (
            Wrong(
                "the sign of a mean",
                frozenset({"they help"}),
                "How far do five runs scatter, and is 0 inside the interval of the difference?",
            ),
            Wrong(
                "the sign of a mean, the other way",
                frozenset({"they harm"}),
                "How far do five runs scatter, and is 0 inside the interval of the difference?",
            ),
        ),
        (
            "Two groups of five: how far apart are their means, and how far does each scatter?",
            "results.difference(one, other) has mean, low, high and p.",
        ),
        "Five seeds on 5,000 digits see differences of a tenth of a point, and no smaller ones.",
    ),
)
