"""An exercise: how an answer is read, compared, and told what went wrong with it."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from classroom.checks.recurrence import COLUMNS, Layer, Row, diagnose
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT

SOLUTIONS = ROOT / "notebooks" / "solutions"
TRIES = 2  # wrong answers before a solution is shown


class Unsolved(Exception):
    """An answer that is not right yet: stops a notebook with a message in place of a traceback.

    `mistake` is the name of what went wrong, if it is known.
    """

    def __init__(self, says: str, mistake: str | None = None):
        super().__init__(says)
        self.mistake = mistake

    def _render_traceback_(self) -> list[str]:  # what Jupyter shows
        return str(self).splitlines()


class Unreadable(Exception):
    """An answer of the wrong form; the message says which form is wanted."""


def numbers(answer) -> list[float]:
    """All numbers of a number, list, tuple, tensor, array or data frame, row by row."""
    if answer is None or answer is ...:
        raise Unreadable("there is no answer yet; put yours in the place of the dots")
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu()
    if hasattr(answer, "to_numpy"):
        answer = answer.to_numpy()
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, (list, tuple, range)):
        return [value for part in answer for value in numbers(part)]
    if isinstance(answer, str):
        raise Unreadable(f"{answer!r} is text; a number is wanted, without quotes")
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        raise Unreadable(f"{_a(answer)} is not a number")
    if not math.isfinite(answer):
        raise Unreadable(f"{answer} is no finite number; something was divided by zero before")
    return [answer]


def _a(answer) -> str:
    """An answer's kind, with its article."""
    kind = type(answer).__name__
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"


@dataclass(frozen=True)
class Number:
    """One number, right to within `tolerance`; a share may be given as a fraction, too."""

    tolerance: float = 0.0
    percent: bool = False

    def read(self, answer) -> float:
        found = numbers(answer)
        if len(found) != 1:
            raise Unreadable(f"one number is wanted, these are {len(found)}")
        return found[0]

    def same(self, answer: float, other: float) -> bool:
        near = abs(answer - other) <= self.tolerance + 1e-9
        return near or (self.percent and abs(100 * answer - other) <= self.tolerance + 1e-9)


@dataclass(frozen=True)
class Numbers:
    """Several numbers in order, each right to within `tolerance`."""

    count: int
    tolerance: float = 0.0

    def read(self, answer) -> list[float]:
        found = numbers(answer)
        if len(found) != self.count:
            raise Unreadable(f"{self.count} numbers are wanted, these are {len(found)}")
        return found

    def same(self, answer: Sequence[float], other: Sequence[float]) -> bool:
        pairs = zip(answer, other, strict=True)
        return all(abs(one - two) <= self.tolerance + 1e-9 for one, two in pairs)


@dataclass(frozen=True)
class Table:
    """Rows of `size, receptive_field, jump, start`; a data frame or dict may order its columns.

    Starts may be counted from the corner of the first pixel, and a lone unit has no jump.
    """

    layers: tuple[Layer, ...]

    def read(self, answer) -> list[Row]:
        given = getattr(answer, "columns", answer if isinstance(answer, dict) else ())
        if any(name in given for name in COLUMNS):
            if missing := [name for name in COLUMNS if name not in given]:
                raise Unreadable(f"the table has no column {missing[0]!r}; it needs {COLUMNS}")
            columns = [numbers(answer[name]) for name in COLUMNS]
            if len({len(column) for column in columns}) > 1:
                raise Unreadable("the columns are not equally long")
            flat = [value for row in zip(*columns, strict=True) for value in row]
        else:
            flat = numbers(answer)
        rows = len(self.layers)
        parts = answer.tolist() if hasattr(answer, "tolist") else answer
        sequences = (list, tuple)
        if (
            isinstance(parts, sequences)
            and [len(part) for part in parts if isinstance(part, sequences)] == [rows] * 4
        ):
            raise Unreadable(f"these are columns; {rows} rows of 4 numbers are wanted")
        if len(flat) != 4 * rows:
            raise Unreadable(f"{rows} rows of 4 numbers are wanted, these are {len(flat)} numbers")
        return [Row(*flat[at : at + 4]) for at in range(0, len(flat), 4)]

    def same(self, answer: list[Row], other: list[Row]) -> bool:
        return not diagnose(answer, self.layers)


@dataclass(frozen=True)
class Words:
    """Some of several words, in any order; compared by a salted hash, so that no key is in sight.

    With `one`, a single word.
    """

    of: tuple[str, ...]
    one: bool = False

    def read(self, answer) -> frozenset[str]:
        if answer is None or answer is ...:
            raise Unreadable("there is no answer yet; put yours in the place of the dots")
        try:
            words = [answer] if isinstance(answer, str) else list(answer)
            if any(word is ... for word in words):
                raise Unreadable("dots are left in your list; put words in their place")
            words = frozenset(word.strip().lower() for word in words)
        except (TypeError, AttributeError):
            what = "one of these is" if self.one else "some of these are"
            raise Unreadable(f"{what} wanted, in quotes: {', '.join(self.of)}") from None
        if unknown := sorted(words - set(self.of)):
            raise Unreadable(f"{unknown[0]!r} is not one of: {', '.join(self.of)}")
        if not words:
            raise Unreadable(f"the list is empty; name some of: {', '.join(self.of)}")
        if self.one and len(words) != 1:
            raise Unreadable(f"one word is wanted, of: {', '.join(self.of)}")
        return words

    def same(self, answer: frozenset[str], other: str | frozenset[str]) -> bool:
        return other in (answer, self.sealed(answer))

    def sealed(self, words: frozenset[str]) -> str:
        """The hash under which a right answer is kept."""
        salted = "|".join([*self.of, *sorted(words)])
        return hashlib.sha256(salted.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Text:
    """A few sentences, which only their author can mark: beside them stands a model answer."""

    words: int = 8

    def read(self, answer) -> str:
        if answer is None or answer is ...:
            raise Unreadable("there is no answer yet; put yours in the place of the dots")
        if not isinstance(answer, str):
            raise Unreadable(f"a sentence in quotes is wanted, this is {_a(answer)}")
        if len(answer.split()) < self.words:
            raise Unreadable(f"say it in a sentence or two, of {self.words} words or more")
        return " ".join(answer.split())

    def same(self, answer: str, other: str) -> bool:
        return True


@dataclass(frozen=True)
class Tried:
    """Something that the student writes, a function say; `fails` tries it, and says on what."""

    wanted: str
    fits: Callable[[object], bool]
    fails: Callable[[object], str | None]

    def read(self, answer):
        if answer is None or answer is ... or (isinstance(answer, str) and not answer):
            raise Unreadable(f"there is no answer yet; put {self.wanted} in the place of the dots")
        if not self.fits(answer):
            raise Unreadable(f"{self.wanted} is wanted, this is {_a(answer)}")
        return answer

    def same(self, answer, other) -> bool:
        return answer is other or self.fails(answer) is None


@dataclass(frozen=True)
class Wrong:
    """A known wrong answer: its name, an example or what computes one, and what to say to it.

    `when` recognises it in an answer; without it, an answer is held against the example.
    """

    name: str
    example: object
    says: str
    when: Callable[[object], bool] | None = None

    def value(self):
        """The example."""
        return self.example() if callable(self.example) and not self.when else self.example


@dataclass(frozen=True)
class Exercise:
    """A question: its form, its key, the known wrong answers, two hints, and a word at the end.

    `key` computes the right answer, or is a hash of it (`Words`), or a model answer (`Text`).
    """

    name: str
    form: object
    key: object
    wrong: Callable[[], Sequence[Wrong]] | Sequence[Wrong]
    hints: tuple[str, str]
    adds: str | Callable[[object], str]  # said after a right answer, perhaps about the answer
    picture: Callable[[object], object] | None = None  # of the answer as read, right or wrong
    tells: Callable[[object], str] | None = None  # more of a wrong answer than one name
    reward: Callable[[], object] | None = None  # a picture after a right answer

    @property
    def mistakes(self) -> Sequence[Wrong]:
        """The known wrong answers."""
        return self.wrong() if callable(self.wrong) else self.wrong

    def right(self):
        """The right answer, as the form reads it, or its hash."""
        return self.key() if callable(self.key) and not isinstance(self.form, Tried) else self.key

    def mistakes_in(self, answer) -> list[Wrong]:
        """The known wrong answers that this one is: several beliefs may lead to one number."""
        found = {}
        for wrong in self.mistakes:
            if wrong.when(answer) if wrong.when else self.form.same(answer, wrong.value()):
                found.setdefault(wrong.name, wrong)
        return list(found.values())


_wrong_so_far, _hints_so_far, _solved = Counter(), Counter(), set()


def check(exercise: Exercise, answer) -> None:
    """Say that an answer is right; else raise Unsolved, with the mistake's name where it is known.

    Raises
    ------
    Unsolved
        The answer is wrong, missing, or of the wrong form.
    """
    try:
        read = exercise.form.read(answer)
    except Unreadable as error:
        raise Unsolved(f"{exercise.name}: {error}.") from None
    if exercise.picture is not None:
        _show(exercise.picture(read))
    right = exercise.right()
    if isinstance(exercise.form, Text):
        _compare(exercise, read, right)
        return
    if not exercise.form.same(read, right):
        raise Unsolved(*_what_is_wrong(exercise, read))
    _solved.add(exercise.name)
    adds = exercise.adds(read) if callable(exercise.adds) else exercise.adds
    print(f"✓ {exercise.name}: right. {adds}")
    if exercise.reward is not None:
        _show(exercise.reward())


def _what_is_wrong(exercise: Exercise, read) -> tuple[str, str | None]:
    _wrong_so_far[exercise.name] += 1
    wrong = exercise.mistakes_in(read)
    if exercise.tells:
        text = f"✗ {exercise.name}: {exercise.tells(read)}"
    elif wrong:
        text = _named(exercise, wrong)
    elif isinstance(exercise.form, Tried):
        text = f"✗ {exercise.name}: {exercise.form.fails(read)}"
    else:
        text = f"✗ {exercise.name}: not yet, and no mistake that we know."
    left = TRIES - _wrong_so_far[exercise.name]
    more = f"hint.{exercise.name}()" if left > 0 else f"solution.{exercise.name}()"
    return f"{text}\nTry again, or ask {more}.", " or ".join(one.name for one in wrong) or None


def _named(exercise: Exercise, wrong: list[Wrong]) -> str:
    """What an answer looks like, and what to say to that."""
    looks = [f'this looks like "{one.name}". {one.says}' for one in wrong[:2]]
    return f"✗ {exercise.name}: " + "\nOr ".join(looks)


def _compare(exercise: Exercise, read: str, model: str) -> None:
    """A text beside the model answer; a known misunderstanding is named."""
    if wrong := exercise.mistakes_in(read):
        _wrong_so_far[exercise.name] += 1
        says = _named(exercise, wrong[:1])
        raise Unsolved(f"{says}\nTry again, or ask hint.{exercise.name}().", wrong[0].name)
    _solved.add(exercise.name)
    print(f"Yours:  {read}\nOurs:   {model}\n{exercise.adds} Only you can mark this one.")


def _show(drawing) -> None:
    """A picture in the notebook; nothing where there is none."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        display(drawing)


def hint(exercise: Exercise) -> None:
    """Print the first hint; asked again, the second, too."""
    _hints_so_far[exercise.name] += 1
    for number, text in enumerate(exercise.hints[: _hints_so_far[exercise.name]], start=1):
        print(f"{number}. {text}")


def solution(exercise: Exercise) -> None:
    """Print the solution, after two wrong answers or a right one.

    Raises
    ------
    Unsolved
        Fewer answers were given.
    InputError
        The solutions are not in this checkout.
    """
    left = TRIES - _wrong_so_far[exercise.name]
    if left > 0 and exercise.name not in _solved:
        tries = "one more try" if left == 1 else f"{left} tries"
        raise Unsolved(f"{exercise.name}: {tries} first; hint.{exercise.name}() helps.")
    for path in sorted(SOLUTIONS.glob("*.py")):
        for cell in re.split(r"^# %%.*\n", path.read_text(), flags=re.MULTILINE):
            if f"check.{exercise.name}(" in cell:
                print(cell.replace("  # solution", "").strip())
                return
    raise InputError(f"no solution of {exercise.name!r} lies in {SOLUTIONS}")
