"""Answers that are tried: a function against `conv2d`, a pattern against lines of a log."""

import re

import torch
import torch.nn.functional as F

from classroom.checks.answers import Form, Unreadable, a, required

LINES = (
    "epoch=1 train_loss=0.4321 train_accuracy=0.8765 validation_loss=0.0987 "
    "validation_accuracy=0.9712 seconds=3.2",
    "epoch=12 train_loss=0.0321 train_accuracy=0.9901 validation_loss=0.0287 "
    "validation_accuracy=0.9934 seconds=3.1",
)
WANTED = ("0.9712", "0.9934")


def sliding(image, kernel, padding=0, flipped=False, turned=False):
    """Units of a convolution, one place after another, with what people get wrong on request."""
    image = F.pad(image, [padding] * 4)
    kernel = kernel.flip(0, 1) if flipped else kernel
    side = kernel.shape[0]
    rows, columns = (range(length - side + 1) for length in image.shape)
    units = torch.tensor([
        [(image[r : r + side, c : c + side] * kernel).sum() for c in columns] for r in rows
    ])  # fmt: skip
    return units.T if turned else units


WRONG = {
    "padded": lambda image, kernel: sliding(image, kernel, padding=1),
    "the kernel was flipped": lambda image, kernel: sliding(image, kernel, flipped=True),
    "rows and columns changed places": lambda image, kernel: sliding(image, kernel, turned=True),
    "the last place was left out": lambda image, kernel: sliding(image, kernel)[:-1, :-1],
}


class Convolution(Form):
    """A function of image and kernel; a pattern is the name of one in `WRONG`."""

    def read(self, answer):
        required(answer, "a function")
        if not callable(answer):
            raise Unreadable(f"a function is wanted, this is {a(answer)}")
        return answer

    def right(self, convolve) -> bool:
        return self.says(convolve) is None

    def matches(self, convolve, pattern) -> bool:
        image, kernel = torch.arange(20.0).reshape(4, 5) ** 2, torch.arange(9.0).reshape(3, 3)
        try:
            yours, theirs = torch.as_tensor(convolve(image, kernel)), WRONG[pattern](image, kernel)
        except Exception:
            return False
        return yours.shape == theirs.shape and torch.allclose(yours.float(), theirs)

    def says(self, convolve) -> tuple[str, str] | None:
        """On which image and kernel, the smallest first, it does not do what conv2d does."""
        generator = torch.Generator().manual_seed(0)
        for side, kernel_size in [(3, 3), (4, 3), (5, 2), (6, 1), (7, 4), (9, 5), (28, 3), (28, 7)]:
            shape = side, side + kernel_size % 2
            image = torch.randn(shape, generator=generator)
            kernel = torch.randn(kernel_size, kernel_size, generator=generator)
            where = f"on an image of {side} × {shape[1]} pixels under {kernel_size} × {kernel_size}"
            target = F.conv2d(image[None, None], kernel[None, None])[0, 0]
            try:
                if (yours := convolve(image, kernel)) is None:
                    return "", "your function returns nothing yet."
                yours = torch.as_tensor(yours)
            except Exception as error:
                return "", f"{where} it raises {type(error).__name__}: {error}"
            if yours.shape != target.shape:
                shapes = f"{tuple(yours.shape)}, the target is {tuple(target.shape)}"
                return "", f"{where} your map is {shapes}."
            if not torch.allclose(yours.to(target.dtype), target, atol=1e-4):
                return "", f"{where}\nyours:\n{yours}\ntarget:\n{target}"
        return None


class Pattern(Form):
    """A regular expression, as a job's metric has it; a pattern is what it takes from `LINES`."""

    def read(self, answer) -> str:
        required(answer, "a regular expression in quotes")
        if not isinstance(answer, str):
            raise Unreadable(f"a regular expression in quotes is wanted, this is {a(answer)}")
        return answer

    def right(self, answer) -> bool:
        return self.says(answer) is None

    def matches(self, answer, pattern) -> bool:
        try:
            return _taken(answer) == pattern
        except (re.error, IndexError):
            return False

    def says(self, answer) -> tuple[str, str] | None:
        try:
            if not re.compile(answer).groups:
                return "", f"{answer!r} has no group: SageMaker takes what stands in the first (…)."
        except re.error as error:
            return "", f"{answer!r} is not a regular expression: {error}."
        for line, taken, wanted in zip(LINES, _taken(answer), WANTED, strict=True):
            if taken != wanted:
                return "", f"in the line\n{line}\n{answer!r} finds {taken}, and not {wanted}."
        return None


def _taken(pattern: str) -> list[str | None]:
    """What SageMaker would take from each line: the first group of the first match."""
    matches = [re.search(pattern, line) for line in LINES]
    return [match.group(1) if match else None for match in matches]
