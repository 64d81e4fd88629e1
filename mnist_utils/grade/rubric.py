"""The rubric: a TOML file that a teacher reads and edits."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from mnist_utils.errors import InputError
from mnist_utils.recipes import RECIPES

DEFAULT = Path(__file__).with_name("rubric.toml")
POINTS = ("budget", "epochs", "accuracy", "honesty", "table", "steps")


@dataclass(frozen=True)
class Rubric:
    """What is asked, what it is worth, and what is left to the teacher."""

    parameters: int
    epochs: int
    half_epochs: int
    recipe: str
    seeds: int
    last_epochs: int
    accuracy: float
    half_accuracy: float
    minutes: float
    points: dict[str, float]
    teacher: dict[str, tuple[float, str]]


def read(path: Path = DEFAULT) -> Rubric:
    """A rubric from its file.

    Raises
    ------
    InputError
        No such file, no TOML, or a name or value that a rubric cannot have.
    """
    try:
        found = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"--rubric {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--rubric {path} is not TOML: {error}") from None
    asked, points = dict(found.get("assignment", {})), dict(found.get("points", {}))
    teacher = dict(found.get("teacher", {}))
    kinds = {
        item.name: item.type for item in fields(Rubric) if item.name not in ("points", "teacher")
    }
    _same_names(path, "assignment", asked, kinds)
    _same_names(path, "points", points, POINTS)
    for name, kind in kinds.items():
        value = float(asked[name]) if kind is float and type(asked[name]) is int else asked[name]
        if type(value) is not kind or (kind is not str and value <= 0):
            raise InputError(f"--rubric {path}: {name} = {asked[name]!r}; {kind.__name__} above 0")
        asked[name] = value
    if asked["recipe"] not in RECIPES:
        raise InputError(
            f"--rubric {path}: recipe {asked['recipe']!r} is not one of {', '.join(RECIPES)}"
        )
    for name, value in points.items():
        if type(value) not in (int, float) or value < 0:
            raise InputError(f"--rubric {path}: {name} = {value!r}; points are a number from 0 on")
    for name, value in teacher.items():
        if not (isinstance(value, list) and len(value) == 2 and type(value[1]) is str):
            raise InputError(f"--rubric {path}: {name} = {value!r}; [points, what to look for]")
    return Rubric(**asked, points=points, teacher={k: tuple(v) for k, v in teacher.items()})


def _same_names(path: Path, section: str, given, wanted) -> None:
    if odd := sorted(set(given) ^ set(wanted)):
        what = "is unknown" if odd[0] in given else "is missing"
        raise InputError(f"--rubric {path}: [{section}] {odd[0]} {what}; needs {', '.join(wanted)}")
