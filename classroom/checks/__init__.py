"""Exercises that check an answer at once, and name the mistake.

To use it: `from classroom.checks import check, hint, solution`, then `check.pool(8)`.
To understand it read `recurrence`, the receptive-field table right and wrong, then `exercise`. The
exercises are data: `nb1` to `nb10`, by notebook.
"""

from functools import cache, partial

from classroom.checks import exercise
from classroom.checks.exercise import Exercise, Unsolved

__all__ = ["Unsolved", "check", "exercises", "hint", "solution"]


@cache
def exercises() -> dict[str, Exercise]:
    """All exercises by name, in the order of the course."""
    from classroom.checks import nb1, nb2a, nb2b, nb2c, nb3, nb4, nb5, nb6, nb7, nb8, nb9, nb10

    lessons = (nb1, nb2a, nb2b, nb2c, nb3, nb4, nb5, nb6, nb7, nb8, nb9, nb10)
    return {one.name: one for lesson in lessons for one in lesson.EXERCISES}


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
