"""An exercise: a question's form, its known wrong answers, its hints; how one is checked."""

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classroom.checks.answers import Form, Numbers, Text, Unreadable, Words
from classroom.checks.recurrence import Layer, last_fields, table
from classroom.checks.table import Table
from classroom.checks.tried import Convolution, Pattern
from mnist_utils import chains
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT
from mnist_utils.receptive_field import Window

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


class Wrong(NamedTuple):
    """A known wrong answer: a pattern of its form, its name, and what to say to it."""

    pattern: object
    name: str
    says: str


@dataclass(frozen=True)
class Exercise:
    """A question, as `load` reads it."""

    name: str
    number: str  # in the notebook
    form: Form
    hints: tuple[str, str]  # the second is the way to the answer
    adds: str  # to a right answer
    wrong: tuple[Wrong, ...] = ()
    asks: str = ""  # what it tests, for teachers

    def mistakes_in(self, answer) -> list[Wrong]:
        """The known wrong answers that this one is: several beliefs may lead to one number."""
        matching = [wrong for wrong in self.wrong if self.form.matches(answer, wrong.pattern)]
        return list({wrong.name: wrong for wrong in reversed(matching)}.values())[::-1]


def load(path: Path) -> list[Exercise]:
    """The exercises of a TOML file, in its order.

    `key` is the right number, list of numbers, word of `of` or list of words; `within` a tolerance.
    `chain` in its place is a network (`chains.rows`): its last unit's field is the key, and the
    mistakes are the recurrence's. `form` names the rest: text (with a `model` answer), table,
    convolution, pattern. A line of `wrong` is a pattern (see `answers`), the mistake's name, which
    may be left out where it is the pattern, and what to say to it.
    """
    return [_exercise(name, **fields) for name, fields in tomllib.loads(path.read_text()).items()]


def _exercise(name: str, *, wrong=(), form="", chain="", key=None, of=(), model="", within=0.0,
              percent=False, **fields) -> Exercise:  # fmt: skip
    wrong = [Wrong(one[0], *one[-2:]) for one in wrong]
    if chain:
        layers = _layers(chain)
        key = table(layers)[-1].receptive_field
        beliefs = last_fields(layers).items()
        wrong = [Wrong(n, m.name, m.says) for n, mistakes in beliefs for m in mistakes] + wrong
    if form:
        forms = {"table": Table, "convolution": Convolution, "pattern": Pattern}
        read = Text(model) if form == "text" else forms[form]()
    elif of:
        read = Words(key if isinstance(key, str) else tuple(key), tuple(of))
    else:
        read = Numbers(tuple(key) if isinstance(key, list) else (key,), within, percent)
    return Exercise(name, form=read, wrong=tuple(wrong), **fields)


def _layers(notation: str) -> list[Layer]:
    """A chain in the notation of `chains.rows`, without its head, for the table on paper."""
    rows = [row for row in chains.rows(notation)[:-2] if "k" in row]
    numbers = [chains.KINDS[row["kind"]] | row for row in rows]
    return [
        Layer(
            Window(n["k"], n["s"], n["p"], n.get("d", 1)), "pool" if "pool" in n["kind"] else "conv"
        )
        for n in numbers
    ]


_wrong_so_far, _hints_so_far, _solved = Counter(), Counter(), set()


def check(exercise: Exercise, answer) -> None:
    """Say that an answer is right; else raise Unsolved, with the mistake's name where it is known.

    Raises
    ------
    Unsolved
        The answer is wrong, missing, or of the wrong form.
    """
    form = exercise.form
    try:
        read = form.read(answer)
    except Unreadable as error:
        raise Unsolved(f"{exercise.name}: {error}.") from None
    _show(form.picture(read))
    if not form.right(read) or (isinstance(form, Text) and exercise.mistakes_in(read)):
        raise Unsolved(*_what_is_wrong(exercise, read))
    _solved.add(exercise.name)
    if isinstance(form, Text):
        print(f"Yours:  {read}\nOurs:   {form.model}\n{exercise.adds} Only you can mark this one.")
        return
    print(f"✓ {exercise.name}: right. {exercise.adds}{form.adds(read)}")
    _show(form.reward())


def _what_is_wrong(exercise: Exercise, read) -> tuple[str, str | None]:
    _wrong_so_far[exercise.name] += 1
    known = exercise.mistakes_in(read)
    if known:
        mistake = " or ".join(one.name for one in known)
        looks = [f'this looks like "{one.name}". {one.says}' for one in known[:2]]
        text = "\nOr ".join(looks)
    else:
        mistake, text = exercise.form.says(read) or ("", "not yet, and no mistake that we know.")
    left = TRIES - _wrong_so_far[exercise.name]
    more = f"hint.{exercise.name}()" if left > 0 else f"solution.{exercise.name}()"
    return f"✗ {exercise.name}: {text}\nTry again, or ask {more}.", mistake or None


def _show(drawing) -> None:
    """A picture in the notebook; nothing where there is none."""
    if drawing is None:
        return
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
    """Print the solution and why, after two wrong answers or a right one.

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
                print(f"\nWhy: {exercise.hints[1]} {exercise.adds}")
                return
    raise InputError(f"no solution of {exercise.name!r} lies in {SOLUTIONS}")
