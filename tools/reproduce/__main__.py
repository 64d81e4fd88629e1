"""Measure again: every seed of a configuration, resumable, into `results/STUDY.json`.

Command line: `python -m tools.reproduce course fast ladder/Model1`. A seed that is stored is
not trained again; delete its line to measure anew. Weights and history of a recipe's seed 0 are
kept beside it.
"""

from pathlib import Path

from mnist_utils import command
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS
from tools.reproduce.measure import measure, one_line
from tools.reproduce.plan import PLAN


def main() -> None:
    parser = command.Parser(prog="python -m tools.reproduce", description=__doc__)
    parser.add_argument(
        "name", nargs="*", help="which (default: all but recipes/reference, which takes longest): "
        + ", ".join(PLAN) + "; a name without a study is a recipe's",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1, if not the plan's")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="JSON goes here"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/reproduce"), metavar="DIR", help="checkpoints"
    )
    arguments = parser.parse_args()
    for name in arguments.name or [name for name in PLAN if name != "recipes/reference"]:
        name = name if "/" in name else f"recipes/{name}"
        if name not in PLAN:
            raise InputError(f"{name!r} is not one of {', '.join(PLAN)}")
        settings, seeds = PLAN[name]
        seeds = seeds if arguments.seeds is None else arguments.seeds
        measure(name, settings, seeds, folder=arguments.results, runs=arguments.runs)
        print(one_line(name, arguments.results), flush=True)


if __name__ == "__main__":
    command.run(main)
