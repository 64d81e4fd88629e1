"""The exercises of notebook 2a: a convolution to write, two accuracies, a run that fails."""

import math

import torch
import torch.nn.functional as F

from classroom.checks.exercise import Exercise, Number, Numbers, Tried, Words, Wrong


def _fails(convolve) -> str | None:
    """On which image and kernel, the smallest first, a function does not do what conv2d does."""
    generator = torch.Generator().manual_seed(0)
    for side, kernel_size in [(3, 3), (4, 3), (5, 2), (6, 1), (7, 4), (9, 5), (28, 3), (28, 7)]:
        image = torch.randn(side, side + kernel_size % 2, generator=generator)
        kernel = torch.randn(kernel_size, kernel_size, generator=generator)
        where = f"of {side} × {side + kernel_size % 2} pixels under {kernel_size} × {kernel_size}"
        target = F.conv2d(image[None, None], kernel[None, None])[0, 0]
        try:
            if (yours := convolve(image, kernel)) is None:
                return "your function returns nothing yet."
            yours = torch.as_tensor(yours)
        except Exception as error:
            return f"on an image {where} it raises {type(error).__name__}: {error}"
        if yours.shape != target.shape:
            shapes = f"{tuple(yours.shape)}, the target is {tuple(target.shape)}"
            return f"on an image {where} your map is {shapes}."
        if not torch.allclose(yours.to(target.dtype), target, atol=1e-4):
            return f"on an image {where}\nyours:\n{yours}\ntarget:\n{target}"
    return None


def _sliding(image, kernel, padding=0, flipped=False, turned=False):
    """Units of a convolution, one place after another, with what people get wrong on request."""
    image = F.pad(image, [padding] * 4)
    kernel = kernel.flip(0, 1) if flipped else kernel
    side = kernel.shape[0]
    places = [range(length - side + 1) for length in image.shape]
    rows = [
        [(image[r : r + side, c : c + side] * kernel).sum() for c in places[1]] for r in places[0]
    ]
    units = torch.tensor(rows)
    return units.T if turned else units


def _does_as(wrong):
    """Whether a function does, on one image, what a wrong one does."""
    image, kernel = torch.arange(20.0).reshape(4, 5) ** 2, torch.arange(9.0).reshape(3, 3)

    def same(convolve) -> bool:
        try:
            yours, theirs = torch.as_tensor(convolve(image, kernel)), wrong(image, kernel)
        except Exception:
            return False
        return yours.shape == theirs.shape and torch.allclose(yours.float(), theirs)

    return same


def _padded(image, kernel):
    return _sliding(image, kernel, padding=1)


def _flipped(image, kernel):
    return _sliding(image, kernel, flipped=True)


def _turned(image, kernel):
    return _sliding(image, kernel, turned=True)


def _too_few(image, kernel):
    return _sliding(image, kernel)[:-1, :-1]


SEES_ALL = frozenset({"dropout", "augmentation", "batch statistics", "unfinished weights"})

EXERCISES = (
    Exercise(
        "convolution",
        Tried("a function", callable, _fails),
        _sliding,
        (
            Wrong(
                "padded",
                _padded,
                "Your map is larger than the target: the kernel must lie inside the image.",
                _does_as(_padded),
            ),
            Wrong(
                "the kernel was flipped",
                _flipped,
                "That is what mathematicians call a convolution; networks lay the kernel on as it "
                "is.",
                _does_as(_flipped),
            ),
            Wrong(
                "rows and columns changed places",
                _turned,
                "Your map is the target's transpose.",
                _does_as(_turned),
            ),
            Wrong(
                "the last place was left out",
                _too_few,
                "A kernel of k fits on n pixels in n − k + 1 places.",
                _does_as(_too_few),
            ),
        ),
        (
            "For each place: cut the patch under the kernel out, multiply, add up.",
            "Rows r from 0 to height − k; the patch is image[r : r + k, c : c + k].",
        ),
        "`torch.nn.functional.conv2d` does the same for all channels and digits at once.",
    ),
    Exercise(
        "gap",
        Words(
            (
                "better generalisation",
                "dropout",
                "augmentation",
                "batch statistics",
                "unfinished weights",
                "an easier test set",
            )
        ),
        "3b1a36da6f1e9dc8",
        (
            Wrong(
                "it generalises well",
                SEES_ALL | {"better generalisation"},
                "Asked alike, the network reads training digits better than test digits.",
                lambda chosen: "better generalisation" in chosen,
            ),
            Wrong(
                "the test set is easier",
                SEES_ALL | {"an easier test set"},
                "Its two halves differ more than that; and clean training digits are read better "
                "than it.",
                lambda chosen: "an easier test set" in chosen,
            ),
            Wrong(
                "BatchNorm is harmless",
                SEES_ALL - {"batch statistics"},
                "While training, BatchNorm standardises by the 32 digits of a batch: that costs "
                "as much as the other two.",
                lambda chosen: "batch statistics" not in chosen,
            ),
        ),
        (
            "What is different while training, apart from the digits?",
            "Go through the modules of a block: which of them behave otherwise in train()?",
        ),
        "So measure both in eval(), on digits as they are, before you compare them.",
    ),
    Exercise(
        "first_loss",
        Number(0.006),
        lambda: math.log(26),
        lambda: (
            Wrong("ten classes", math.log(10), "Ten digits; letters are 26."),
            Wrong("bits", math.log2(26), "The loss takes the natural logarithm."),
            Wrong("the logarithm to base 10", math.log10(26), "The loss takes the natural one."),
            Wrong(
                "the probability", 1 / 26, "That is what each class gets; the loss is −ln of it."
            ),
        ),
        (
            "Which probability does the true class get, if nothing is known?",
            "A 26th; and the loss is minus its natural logarithm.",
        ),
        "If yours begins far above, look at the inputs' size before you look at anything else.",
    ),
    Exercise(
        "moved",
        Numbers(3),
        [4, 2, 0],
        (
            Wrong(
                "the strides forgotten",
                [8, 8, 0],
                "After a pool of stride 2 a unit is two pixels wide: the map moves by half.",
                lambda given: given[0] == 8,
            ),
            Wrong(
                "multiplied by the stride",
                [16, 32, 0],
                "Fields lie further apart after a pool, so that fewer units fit into 8 pixels.",
                lambda given: given[0] == 16,
            ),
            Wrong(
                "one pool of two",
                [4, 4, 0],
                "There is a second pool before the second map.",
                lambda given: given[1] == 4,
            ),
            Wrong(
                "a convolution takes its border",
                [3, 1, 0],
                "A kernel makes the map smaller; what is on it moves as far as before.",
                lambda given: given[0] in (3, 7),
            ),
            Wrong(
                "the mean moves along",
                [4, 2, 2],
                "A mean over all places does not ask where anything is.",
                lambda given: given[2] != 0,
            ),
        ),
        (
            "How many pixels lie between two neighbours of the first pool's map? Of the second's?",
            "2 and 4 pixels; and a mean of the same numbers in other places is the same.",
        ),
        "The map is equivariant, its mean invariant; between the two lies what is thrown away.",
    ),
    Exercise(
        "broken",
        Words(
            (
                "too few epochs",
                "pixels not standardised",
                "rate too high",
                "labels mixed up",
                "too few channels",
            ),
            one=True,
        ),
        "1d1d31bf73a0f982",
        tuple(
            Wrong(name, frozenset({name}), says)
            for name, says in (
                ("too few epochs", "After one epoch this network has read nine digits in ten."),
                ("pixels not standardised", "Then the first loss would be far above ln 10."),
                ("rate too high", "At the same rate it learnt one batch by heart."),
                (
                    "too few channels",
                    "A smaller network reads worse, but not as if it guessed.",
                ),
            )
        ),
        (
            "Ask in order: which of the five would the first loss have shown? Which the one batch?",
            "What can be learnt by heart for 64 digits, and not understood for 6,000?",
        ),
        "Look at ten digits beside their labels, just before they enter the network.",
    ),
)
