"""A run's options: every field of TrainConfig, from the words of a command line or a dictionary."""

import argparse
from dataclasses import fields

from mnist_utils import command, config, recipes
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError


def parse(words: list[str]) -> argparse.Namespace:
    """Read a command line: `settings` (TrainConfig), `recipe`, `data`, `out`, `resume`.

    Raises
    ------
    InputError
        An unknown option or recipe, or a value out of range.
    """
    first = command.Parser(add_help=False)
    first.add_argument("--recipe", default=recipes.DEFAULT)
    defaults = recipes.recipe(first.parse_known_args(words)[0].recipe)
    options = parser(defaults).parse_args(words)
    names = [item.name for item in fields(TrainConfig)]
    options.settings = TrainConfig(**{name: getattr(options, name) for name in names})
    return options


def resolve(hyperparameters: dict) -> TrainConfig:
    """The configuration that `{"recipe": "fast", "epochs": 2}` asks for; raises as `parse` does.

    Folders and resuming are not part of it: whoever runs it decides them.
    """
    for key in hyperparameters:
        if key.replace("-", "_") in ("data", "out", "resume"):
            raise InputError(f"hyperparameter {key!r} is the container's to set; leave it out")
    words = [f"--{key.replace('_', '-')}={value}" for key, value in hyperparameters.items()]
    return parse(words).settings


def parser(defaults: TrainConfig) -> argparse.ArgumentParser:
    """Every field of TrainConfig as an option, with its help and its default."""
    result = command.Parser(
        prog="python -m mnist_utils.train",
        description="Train a network on MNIST; leave weights, history and pictures. "
        "Options after --recipe change it; the defaults shown are the recipe's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    names = "|".join(recipes.RECIPES)
    result.add_argument(
        "--recipe", metavar=names, default=recipes.DEFAULT, help="where to start from"
    )
    for item in fields(TrainConfig):
        result.add_argument(
            config.option_name(item),
            type=_reader(item),
            default=getattr(defaults, item.name),
            metavar="|".join(item.metadata["choices"] or ()) or item.name.split("_")[-1].upper(),
            help=item.metadata["help"],
        )
    result.add_argument(
        "--data", metavar="DIR", help="folder of the MNIST files, if not the bundle"
    )
    result.add_argument(
        "--out", metavar="DIR", help="what the run leaves (runs/RECIPE if not given)"
    )
    result.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --out, if there is one"
    )
    return result


def _reader(item):
    """Text to a field's type, or the one line that says why not."""

    def read(text: str):
        try:
            value = type(item.default)(text)
        except ValueError:
            value = text
        config.check(item, value)
        return value

    return read
