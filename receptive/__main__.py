"""The command line: `python -m receptive torchvision.models:resnet50 --input 3 224 224 --json`."""

import argparse
import importlib
import inspect
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from operator import attrgetter
from textwrap import fill

from receptive.errors import InputError, first_line


class Parser(argparse.ArgumentParser):
    """An argparse parser that tells of bad options as of every other bad input: in one line."""

    def error(self, message: str):
        raise InputError(f"{message}; --help lists the options")


def load(target: str):
    """Return the network that `module:name` says: a module, or what the name's call returns."""
    from torch import nn

    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{target!r} is not module:name; try torchvision.models:resnet50")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise InputError(f"{module_name!r} cannot be imported: {first_line(error)}") from error
    try:
        network = attrgetter(attribute)(module)
    except Exception as error:
        raise InputError(f"{module_name!r} has no {attribute!r}; is it spelt right?") from error
    if callable(network) and not isinstance(network, nn.Module):
        # torchvision would download a backbone's weights, and no count needs them.
        none = {"weights_backbone": None}
        try:
            asked = inspect.signature(network).parameters
            network = network(**{name: value for name, value in none.items() if name in asked})
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{target} cannot be built without arguments: {first_line(error)}"
            ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{target} is of type {type(network).__name__}; name an nn.Module or its builder"
        )
    return network


def parser() -> Parser:
    """The command line's options."""
    parser = Parser(
        "python -m receptive",
        allow_abbrev=False,
        description="Print a network layer by layer: what each unit sees, and what it costs.",
        epilog="receptive field: the pixels that one unit sees, along height and width. jump: the "
        "pixels between the fields of neighbouring units, also called effective stride. MACs: "
        "multiply-adds of one image. start (in --json): the centre of the first unit's field, "
        "the first pixel having its centre at 0. All of it in eval(). What cannot be read is "
        "marked ? and explained below the table; in --json it is null, its status unknown.",
    )
    parser.add_argument("target", help="module:name of a network, its class or its builder")
    parser.add_argument(
        "--input", nargs=3, type=int, metavar=("C", "H", "W"),
        help="one image's channels, height and width; 3 224 224 for a network whose first "
        "convolution takes three channels, else 1 28 28",
    )  # fmt: skip
    parser.add_argument(
        "--brief", action=argparse.BooleanOptionalAction,
        help="convolutions, pools and containers only, as deep as 40 lines allow; usual on a "
        "terminal for a network of more rows than that",
    )  # fmt: skip
    parser.add_argument(
        "--advice", action="store_true", help="say below the table what to look at, and one change"
    )
    parser.add_argument(
        "--object", type=int, metavar="PIXELS",
        help="the object's size, which advice goes by (default: the image's)",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    form.add_argument("--markdown", action="store_true", help="the table in Markdown")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 bad input (one line), 130 Ctrl-C."""
    status = 0
    try:
        _main(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader of our output has gone: `... | head`
        sys.stderr.close()
        status = 141
    sys.exit(status)


def _main(arguments: Sequence[str] | None) -> None:
    options = parser().parse_args(arguments)
    if options.object is not None and (options.object < 1 or not options.advice):
        raise InputError(f"--object {options.object} goes with --advice, and is 1 or more")
    if options.advice and options.json:
        raise InputError("--advice stands below a table, and --json prints none")
    from receptive import describe  # torch, which --help need not wait for
    from receptive.show import LONG

    sys.path.insert(0, "")  # networks in files of the current folder
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # what a network prints itself
        warnings.simplefilter("ignore")
        model = load(options.target)
        description = describe(model, options.input)
    long = sys.stdout.isatty() and len(description.rows) > LONG
    brief = long if options.brief is None else options.brief
    if options.json:
        print(description.to_json())
    else:
        print(description.to_markdown(brief) if options.markdown else description.to_text(brief))
        for sentence in description.advice(options.object) if options.advice else ():
            width = 10**6 if options.markdown else shutil.get_terminal_size().columns
            print(fill(f"- {sentence}", width, subsequent_indent="  "))


if __name__ == "__main__":
    main()
