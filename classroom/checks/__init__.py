"""Exercises that check an answer at once, and name the mistake.

To use it: `from classroom.checks import check, hint, solution`, then `check.pool(8)`. The exercises
are data, `exercises/*.toml`, a file a notebook. To understand it read `answers`, how an answer is
compared, then `exercise`; `recurrence` is the receptive-field table, right and wrong.
"""

from functools import cache, partial
from pathlib import Path

from classroom.checks import exercise
from classroom.checks.exercise import Exercise, Unsolved

__all__ = ["Unsolved", "check", "exercises", "hint", "solution"]


@cache
def exercises() -> dict[str, Exercise]:
    """All exercises by name, in the order of the course."""
    files = sorted(Path(__file__).with_name("exercises").glob("*.toml"))
    return {one.name: one for path in files for one in exercise.load(path)}


class Verb:
    """What can be done with an exercise, by its name: `check.pool(answer)`."""

    def __init__(self, does, doc: str):
        self._does, self.__doc__ = does, doc

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in exercises():
            raise AttributeError(f"no exercise {name!r}; there are {', '.join(exercises())}")
        return partial(self._does, exercises()[name])

    def __dir__(self):
        return list(exercises())


check = Verb(exercise.check, "check.NAME(answer): whether it is right; if not, what went wrong.")
hint = Verb(exercise.hint, "hint.NAME(): the first hint; asked again, the second.")
solution = Verb(exercise.solution, "solution.NAME(): the solution, after two wrong answers.")
