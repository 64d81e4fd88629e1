"""The exercises of notebook 3: parameters, multiply-adds, and seconds."""

import json
from itertools import pairwise

from classroom.checks.exercise import Exercise, Number, Numbers, Wrong
from mnist_utils.files import RESULTS
from mnist_utils.parameters import conv2d_macs, conv2d_parameters

MODEL3 = (1, 10, 10, 10, 10, 10, 10, 12)  # channels, from the image to the last convolution


def model3(width: int = 10) -> int:
    """Parameters of Model3 with so many channels in place of its ten."""
    channels = [width if c == 10 else c for c in MODEL3]
    pairs = list(pairwise(channels))
    convolutions = sum(conv2d_parameters(before, after, 3) for before, after in pairs)
    return convolutions + sum(2 * after for _, after in pairs) + conv2d_parameters(12, 10, 1)


def model3_macs(side: int = 28) -> int:
    """Multiply-adds of Model3 on a square image."""
    total = 0
    for number, (before, after) in enumerate(pairwise(MODEL3), start=1):
        side -= 2
        total += conv2d_macs(before, after, 3, side, side)
        side = side // 2 if number == 3 else side
    return total + conv2d_macs(12, 10, 1, 1, 1)


def widest(below: int) -> int:
    """The largest width with fewer parameters."""
    return max(width for width in range(1, 100) if model3(width) < below)


def _times_slower() -> float:
    """Images a second, Model3 over Model1, as they were timed."""
    speeds = json.loads((RESULTS / "bench.json").read_text())["images_per_cpu_second"]
    return speeds["Model3"] / speeds["Model1"]


DENSE, SEPARABLE = conv2d_parameters(32, 32, 3, False), 32 * 9 + 32 * 32

EXERCISES = (
    Exercise(
        "two_threes",
        Numbers(2),
        lambda: [conv2d_parameters(10, 10, 5), 2 * conv2d_parameters(10, 10, 3)],
        (
            Wrong(
                "one input channel",
                [260, 200],
                "Each filter reads all ten channels.",
                lambda given: given[0] == 260 or given[1] in (200, 100),
            ),
            Wrong(
                "the biases",
                [2_500, 1_800],
                "Each filter has a bias, too.",
                lambda given: given[0] == 2_500 or given[1] == 1_800,
            ),
            Wrong(
                "one layer of two",
                [2_510, 910],
                "It takes two 3×3 to see 5 pixels.",
                lambda given: given[1] == 910,
            ),
        ),
        ("out·in·k·k weights, and out biases.", "10·10·5·5 + 10; and twice 10·10·3·3 + 10."),
        "Both see 5 pixels; two layers have a ReLU between them besides.",
    ),
    Exercise(
        "poster",
        Numbers(2),
        lambda: [model3(), model3_macs(56)],
        (
            Wrong(
                "parameters grow with the image",
                [4 * 6_016, model3_macs(56)],
                "A kernel has as many weights on a poster as on a stamp.",
                lambda given: given[0] == 4 * 6_016,
            ),
            Wrong(
                "exactly four times",
                [6_016, 4 * model3_macs(28)],
                "Each valid convolution loses two rows of the map, and of a larger map that is a "
                "smaller part.",
                lambda given: given[1] == 4 * model3_macs(28),
            ),
        ),
        (
            "Which of the two knows how large the image is?",
            "The maps are 54, 52, 50, then 25 after the pool, 23, 21, 19, 17.",
        ),
        "5.5 times the work on 4 times the pixels.",
    ),
    Exercise(
        "bias",
        Number(),
        lambda: 0,
        (
            Wrong(
                "the order was not read",
                72,
                "BatchNorm removes what is constant in its input. What stands between the "
                "convolution and BatchNorm here?",
            ),
            Wrong(
                "the head's biases, too",
                82,
                "Nothing follows the head; and between the others and BatchNorm stands something.",
            ),
        ),
        (
            "BatchNorm subtracts the mean, so that a constant before it is lost. Is it directly "
            "before it?",
            "conv, ReLU, BatchNorm: where ReLU bends depends on the bias.",
        ),
        "In the usual order, conv, BatchNorm, ReLU, it would be 72: those layers say bias=False.",
    ),
    Exercise(
        "separable",
        Numbers(4, 0.06),
        lambda: [DENSE, SEPARABLE, DENSE / SEPARABLE, 3],
        (
            Wrong(
                "a smaller field",
                [DENSE, SEPARABLE, DENSE / SEPARABLE, 1],
                "The 1×1 reads one unit, and that unit has read 3 pixels.",
                lambda given: given[3] < 3,
            ),
            Wrong(
                "kernels added",
                [DENSE, SEPARABLE, DENSE / SEPARABLE, 4],
                "A kernel of k adds k − 1 times the jump: the 1×1 adds nothing.",
                lambda given: given[3] > 3,
            ),
            Wrong(
                "the 1×1 forgotten",
                [DENSE, 288, 32, 3],
                "Channels that are read one by one have to be mixed: the 1×1 convolution has "
                "32·32 weights.",
                lambda given: given[1] == 288,
            ),
            Wrong(
                "the depthwise part forgotten",
                [DENSE, 1_024, 9, 3],
                "The 3×3 kernels, one per channel, have weights as well.",
                lambda given: given[1] == 1_024,
            ),
            Wrong(
                "nine times",
                [DENSE, SEPARABLE, 9, 3],
                "Nine would be right if the depthwise kernels cost nothing: it is 1/(1/9 + 1/32).",
                lambda given: given[2] == 9,
            ),
        ),
        (
            "Depthwise: one 3×3 kernel per channel. Pointwise: 1×1, every channel to every "
            "channel.",
            "32·32·9 against 32·9 + 32·32.",
        ),
        "And a unit sees as much as before: the field asks for kernels, not for channels.",
    ),
    Exercise(
        "seconds",
        Number(0.1),
        _times_slower,
        (
            Wrong(
                "multiply-adds for seconds",
                2.0,
                "So it would be if multiplying were all that takes time.",
                lambda given: 1.8 <= given <= 2.2,
            ),
            Wrong(
                "parameters for seconds",
                6.1,
                "Most of Model1's parameters sit in its head, and each of those is used once.",
                lambda given: 5.5 <= given <= 6.5,
            ),
            Wrong(
                "the other way round",
                0.84,
                "That is Model1 over Model3; how many times as long does Model1 take?",
                lambda given: 0.8 <= given <= 0.9,
            ),
        ),
        (
            "Look at the table of speeds at the end of notebook 3.",
            "Images a second, Model3 divided by Model1.",
        ),
        "Twice the multiply-adds, and nearly as fast: fewer and larger steps suit a processor.",
    ),
    Exercise(
        "budget",
        Number(),
        lambda: widest(8_000),
        (
            Wrong(
                "scaled like a line",
                13,
                "A layer has width times width kernels: parameters grow with the square.",
            ),
            Wrong("one too many", 12, "Count again: it must stay *below* 8,000."),
        ),
        (
            "Only the first and the last layer grow with the width; the five between with its "
            "square.",
            "10w, then five times 9w² + w, then 108w + 12, BatchNorm 12w + 24, and the head's 130.",
        ),
        "Twice as wide is four times as dear.",
    ),
)
