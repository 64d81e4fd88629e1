"""Answers: how one is read, whether it is right, and what a wrong one looks like.

A form reads an answer (`read`, or `Unreadable`), compares it (`right`), and holds it against a
pattern of the exercises' files (`matches`). Of a wrong answer that no pattern describes it says
what it can: a name and a sentence (`says`).
"""

import math
import re
from dataclasses import dataclass

FACTORS = (1000, 100, 10, 8)  # of units mistaken for others: per cent, kilobytes, bits


class Unreadable(Exception):
    """An answer of the wrong form; the message says which form is wanted."""


class Form:
    """What all forms have; most have no picture and nothing more to say."""

    def matches(self, answer, pattern) -> bool:
        """Whether a known mistake's pattern describes this answer."""
        return False

    def says(self, answer) -> tuple[str, str] | None:
        """Name and description of what is wrong, where no pattern matches."""
        return None

    def adds(self, answer) -> str:
        """A word more to a right answer."""
        return ""

    def picture(self, answer):
        """A drawing of an answer, right or wrong."""

    def reward(self):
        """A drawing after a right answer."""


def required(answer, what: str = "yours") -> None:
    """Raise Unreadable if there is no answer yet: the dots are still there."""
    if answer is None or answer is ... or (isinstance(answer, str) and not answer):
        raise Unreadable(f"there is no answer yet; put {what} in the place of the dots")


def numbers(answer) -> list[float]:
    """All numbers of a number, list, tuple, tensor, array or data frame, row by row."""
    required(answer)
    for name in ("detach", "cpu", "to_numpy", "tolist"):
        if hasattr(answer, name):
            answer = getattr(answer, name)()
    if isinstance(answer, (list, tuple, range)):
        return [value for part in answer for value in numbers(part)]
    if isinstance(answer, str):
        raise Unreadable(f"{answer!r} is text; a number is wanted, without quotes")
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        raise Unreadable(f"{a(answer)} is not a number")
    if not math.isfinite(answer):
        raise Unreadable(f"{answer} is not a finite number; something was divided by zero before")
    return [answer]


def a(answer) -> str:
    """An answer's kind, with its article."""
    kind = type(answer).__name__
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"


@dataclass(frozen=True)
class Numbers(Form):
    """Numbers in order, each right to within `within`; with `percent`, a share may be a fraction.

    A pattern has a place for each: a number, a range "0.8..0.9", some of these in a list, or "_".
    """

    key: tuple[float, ...]
    within: float = 0.0
    percent: bool = False

    def read(self, answer) -> tuple[float, ...]:
        read_numbers, count = tuple(numbers(answer)), len(self.key)
        if len(read_numbers) != count:
            wanted = "one number is" if count == 1 else f"{count} numbers are"
            raise Unreadable(f"{wanted} wanted, these are {len(read_numbers)}")
        return read_numbers

    def right(self, answer) -> bool:
        return self.matches(answer, self.key)

    def matches(self, answer, pattern) -> bool:
        places = pattern if isinstance(pattern, (list, tuple)) else [pattern]
        return all(map(self._fits, answer, places))

    def _fits(self, value: float, place) -> bool:
        if isinstance(place, list):
            return any(self._fits(value, one) for one in place)
        if isinstance(place, str):
            low, _, high = place.partition("..")
            return place == "_" or float(low) <= value <= float(high)
        scales = (1, 100) if self.percent else (1,)
        return any(abs(scale * value - place) <= self.within + 1e-9 for scale in scales)

    def says(self, answer) -> tuple[str, str] | None:
        fits = [self._fits(value, place) for value, place in zip(answer, self.key, strict=True)]
        if len(answer) > 1 and all(any(self._fits(v, k) for v in answer) for k in self.key):
            return "another order", "These are the right numbers, in another order."
        pairs = [*zip(answer, self.key, fits, strict=True)]
        for places in range(6):
            if all(fine or 0 != value == round(key, places) for value, key, fine in pairs):
                return "rounded too far", "Right, as far as it goes: give more decimals."
        if any(fits):
            wrong = ", ".join(str(at) for at, fine in enumerate(fits, 1) if not fine)
            return f"number {wrong}", f"Of your {len(fits)} numbers look again at number {wrong}."
        for factor in FACTORS:
            for times, word in ((factor, "large"), (1 / factor, "small")):
                if 0 not in answer and self.right([value / times for value in answer]):
                    return f"a factor of {factor}", f"{factor} times too {word}: in which unit?"
        return None


@dataclass(frozen=True)
class Words(Form):
    """Some of several words in any order, or a single one.

    A pattern is a word or a list of them; "+word" is an answer with it, "-word" one without.
    """

    key: str | tuple[str, ...]
    of: tuple[str, ...]

    def read(self, answer) -> frozenset[str]:
        required(answer)
        one, choices = isinstance(self.key, str), ", ".join(self.of)
        try:
            words = [answer] if isinstance(answer, str) else list(answer)
            if any(word is ... for word in words):
                raise Unreadable("dots are left in your list; put words in their place")
            words = frozenset(word.strip().lower() for word in words)
        except (TypeError, AttributeError):
            what = "one of these is" if one else "some of these are"
            raise Unreadable(f"{what} wanted, in quotes: {choices}") from None
        if unknown := sorted(words - set(self.of)):
            raise Unreadable(f"{unknown[0]!r} is not one of: {choices}")
        if not words:
            raise Unreadable(f"the list is empty; name some of: {choices}")
        if one and len(words) != 1:
            raise Unreadable(f"one word is wanted, of: {choices}")
        return words

    def right(self, answer) -> bool:
        return self.matches(answer, self.key)

    def matches(self, answer, pattern) -> bool:
        if isinstance(pattern, str) and pattern[0] in "+-":
            return (pattern[1:] in answer) == (pattern[0] == "+")
        return answer == frozenset([pattern] if isinstance(pattern, str) else pattern)

    def says(self, answer) -> tuple[str, str] | None:
        key = frozenset([self.key] if isinstance(self.key, str) else self.key)
        if len(key) == 1:
            return None
        wrong, left = len(answer - key), len(key - answer)
        return "not all of them", f"Of yours {wrong} do not belong here, and {left} are missing."


@dataclass(frozen=True)
class Text(Form):
    """A few sentences, which only their author can mark, beside a `model` answer.

    A pattern is a list of regular expressions: each must be found, or, after a `!`, must not.
    """

    model: str
    words: int = 8

    def read(self, answer) -> str:
        required(answer)
        if not isinstance(answer, str):
            raise Unreadable(f"a sentence in quotes is wanted, this is {a(answer)}")
        if len(answer.split()) < self.words:
            raise Unreadable(f"say it in a sentence or two, of {self.words} words or more")
        return " ".join(answer.split())

    def right(self, answer) -> bool:
        return True

    def matches(self, answer, pattern) -> bool:
        return all(bool(re.search(p.lstrip("!"), answer, re.I)) != (p[0] == "!") for p in pattern)
