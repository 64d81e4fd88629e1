"""The rubric: a TOML file that a teacher reads and edits."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from mnist_utils.errors import InputError
from mnist_utils.recipes import RECIPES

DEFAULT = Path(__file__).with_name("rubric.toml")
POINTS = ("budget", "epochs", "accuracy", "honesty", "table", "steps")
Count = Annotated[int, Field(gt=0, strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Points = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]


class Rubric(BaseModel, extra="forbid", frozen=True):
    """What is asked, what it is worth, and what is left to the teacher."""

    parameters: Count
    epochs: Count
    half_epochs: Count
    recipe: Literal[tuple(RECIPES)]
    seeds: Count
    last_epochs: Count
    accuracy: Positive
    half_accuracy: Positive
    minutes: Positive
    points: dict[Literal[POINTS], Points]
    teacher: dict[str, tuple[Points, str]]

    @field_validator("points")
    @classmethod
    def _all(cls, points: dict) -> dict:
        if missing := [name for name in POINTS if name not in points]:
            raise ValueError(f"{missing[0]} is missing")
        return points


def fault(error: ValidationError) -> str:
    """Where data from outside are not what they must be, and why."""
    first = error.errors()[0]
    value = f" = {str(first['input'])[:40]!r}" if first["type"] != "missing" else ""
    return f"{'.'.join(map(str, first['loc']))}{value}: {first['msg']}"


def read(path: Path = DEFAULT) -> Rubric:
    """A rubric from its file.

    Raises
    ------
    InputError
        No such file, no TOML, or a name or value that a rubric cannot have.
    """
    try:
        rubric = tomllib.loads(path.read_text())
        return Rubric.model_validate(rubric.pop("assignment", {}) | rubric)
    except OSError as error:
        raise InputError(f"--rubric {path}: {error.strerror}") from None
    except ValidationError as error:
        raise InputError(f"--rubric {path}: {fault(error)}") from None
    except ValueError as error:
        raise InputError(f"--rubric {path} is not TOML: {error}") from None
