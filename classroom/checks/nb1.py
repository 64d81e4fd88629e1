"""The exercises of notebook 1: the data."""

from functools import cache

from classroom.checks.exercise import Exercise, Number, Words, Wrong
from mnist_utils import data


@cache
def _share_inside(side: int) -> float:
    """Per cent of the training digits that lie wholly in the central square of a side."""
    outside = data.load(train=True).images.clone()
    edge = (28 - side) // 2
    outside[:, edge : edge + side, edge : edge + side] = 0
    whole = outside.flatten(1).amax(1) == 0
    return 100 * whole.double().mean().item()


def _share_of_ones(train: bool) -> float:
    return 100 * (data.load(train=train).labels == 1).double().mean().item()


TURNS = ("rotation by 10", "rotation by 180", "mirror", "shift by 2", "shear by 0.1", "invert")

EXERCISES = (
    Exercise(
        "corner",
        Number(0.005),
        lambda: data.STD + data.MEAN,
        (
            Wrong(
                "read as if nothing were standardised",
                1.0,
                "The 1 was put in after Normalize: what does 1 stand for there?",
            ),
            Wrong(
                "taken for the background",
                0.0,
                "`fill` is what goes into the corner, and it was 1. The background is another "
                "number.",
                lambda given: given == 0,
            ),
            Wrong(
                "read as a byte",
                1 / 255,
                "The image holds no bytes any more: it was scaled to 0..1, then standardised.",
            ),
            Wrong(
                "divided by white",
                data.STD / (1 - data.MEAN),
                "Do not divide by white: undo what Normalize did, in the opposite order.",
            ),
        ),
        (
            "Normalize computes (x − mean) / deviation. Which x gives 1?",
            "Solve (x − 0.1307) / 0.3081 = 1 for x.",
        ),
        "Neither black nor white: mid-grey, in all four corners, and no error was raised.",
    ),
    Exercise(
        "black_fill",
        Number(0.005),
        lambda: -data.MEAN / data.STD,
        (
            Wrong(
                "zero is not black here",
                0.0,
                "After Normalize 0 is the mean grey, 0.13 of white: a bug that is easily "
                "overlooked.",
            ),
            Wrong(
                "the mean without its deviation",
                -data.MEAN,
                "Normalize subtracts the mean *and* divides by the deviation.",
            ),
        ),
        ("Which number does black become?", "Put x = 0 into (x − 0.1307) / 0.3081."),
        "Or augment first and standardise last; then 0 is black, and nobody has to remember.",
    ),
    Exercise(
        "window",
        Number(0.3, percent=True),
        lambda: _share_inside(22),
        lambda: (
            Wrong(
                "centred by their box",
                100.0,
                "A digit of 20 would fit if its box lay in the middle. MNIST's digits are centred "
                "by mass.",
            ),
            Wrong(
                "the answer for 20 pixels",
                _share_inside(20),
                "That is the share inside the central 20 × 20.",
            ),
            Wrong(
                "the answer for 24 pixels",
                _share_inside(24),
                "That is the share inside the central 24 × 24.",
            ),
        ),
        (
            "Compare the ink inside the square with all of the ink, digit by digit.",
            "The central 22 × 22 is images[:, 3:25, 3:25]; a digit is inside if the sums are "
            "equal.",
        ),
        "Two pixels of room are not enough for more than a quarter of the digits.",
    ),
    Exercise(
        "lazy",
        Number(0.006, percent=True),
        lambda: _share_of_ones(False),
        lambda: (
            Wrong("all classes alike", 10.0, "The classes are not equally frequent."),
            Wrong(
                "the training digits",
                _share_of_ones(True),
                "The right idea, and the wrong set: that is its share among the training digits.",
            ),
        ),
        ("It is right whenever the digit is a one.", "Count the ones among the test labels."),
        "On the zeros it is right in no case at all, and the accuracy does not show it.",
    ),
    Exercise(
        "label_keeping",
        Words(TURNS),
        "71e63085ad893b62",
        (
            Wrong(
                "a mirror is always safe",
                frozenset({*TURNS} - {"rotation by 180"}),
                "It is on photographs. A mirrored 2, 3 or 7 is no digit any more.",
                lambda chosen: "mirror" in chosen,
            ),
            Wrong(
                "upside down is the same digit",
                frozenset({*TURNS} - {"mirror"}),
                "Turned by 180°, a 6 is a 9.",
                lambda chosen: "rotation by 180" in chosen,
            ),
            Wrong(
                "the label and the distribution",
                frozenset(TURNS[:1] + TURNS[3:5]),
                "A black digit on white still has its label. It does not look like the test "
                "digits, which is another question.",
                lambda chosen: "invert" not in chosen,
            ),
        ),
        (
            "Ask of each: would you still read the same digit?",
            "A 6 and a 9 differ by half a turn; a colour tells you nothing about which digit it "
            "is.",
        ),
        "Whether an allowed change *helps* is a question for the validation digits.",
    ),
    Exercise(
        "repeats",
        Number(0.5, percent=True),
        lambda: 100 * 200 * (1 - (1 - 1 / 200) ** 4) / 4,
        (
            Wrong(
                "draws taken for images",
                25.0,
                "A quarter of the *draws* is new. An image is a draw on a digit, and the same "
                "pair seldom comes again.",
            ),
            Wrong(
                "no repeats at all",
                100.0,
                "Few are not none: now and then a digit meets a draw that it has had.",
            ),
        ),
        (
            "Both workers draw the same 200 changes in every epoch. Which digit gets which is "
            "chance.",
            "A digit gets one of 200 changes, four times. How many different ones, on average? "
            "200·(1 − (1 − 1/200)⁴).",
        ),
        "The trap bites where the order is fixed, or where few images are loaded often.",
    ),
)
