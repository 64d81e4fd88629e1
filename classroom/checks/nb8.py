"""The exercises of notebook 8: what zeros weigh, and half of the channels."""

from classroom.checks.exercise import Exercise, Number, Wrong
from mnist_utils import models


def _parameters(name: str) -> int:
    return sum(p.numel() for p in models.build(name).parameters())


EXERCISES = (
    Exercise(
        "zeros",
        Number(),
        lambda: 4 * 20_480,
        (
            Wrong(
                "zeros weigh nothing",
                4 * 2_048,
                "A zero is a number of four bytes like any other.",
            ),
            Wrong(
                "a byte per weight",
                20_480,
                "float32 has 32 bits.",
            ),
            Wrong(
                "values and places",
                2_048 * 8,
                "So it would be, stored as a list of values and places. Here it is stored whole.",
            ),
        ),
        (
            "How many bytes has a number in float32?",
            "20,480 numbers, zero or not, of four bytes.",
        ),
        "A list of values and places would take 16 KB: a gain, if it can be computed with.",
    ),
    Exercise(
        "half_channels",
        Number(),
        lambda: _parameters("NarrowNet"),
        (
            Wrong(
                "half of the channels, half of the parameters",
                2_805,
                "A 1×1 convolution has channels in times channels out.",
            ),
            Wrong(
                "a quarter of all",
                1_402,
                "That is so of the 1×1 convolutions. The stem reads one channel, the depthwise "
                "kernels and BatchNorm have one set per channel, and the head still says ten.",
                lambda given: 1_400 <= given <= 1_405,
            ),
        ),
        (
            "Count layer by layer: which have channels² weights, which channels?",
            "Stem 25·8 + 16; blocks 9·in + in·out + 2·out; head 16·10 + 10.",
        ),
        "A third is left: between a half and a quarter.",
    ),
)
