"""The command line: `python -m mnist_utils.train --help`."""

import argparse
import sys
from pathlib import Path

from mnist_utils import command
from mnist_utils.train import options


def main() -> None:
    asked = options.parse(sys.argv[1:])
    run(asked, Path(asked.out or Path("runs", asked.recipe)), asked.data)


def run(asked: argparse.Namespace, out: Path, data_dir: str | None, **places) -> None:
    """Train as `options.parse` was asked to, and leave everything in `out`; print what is there."""
    # torch, tqdm and safetensors cost seconds that --help and bad input need not wait for
    from mnist_utils.train import parallel, tracking
    from mnist_utils.train.run import train

    with tracking.run(asked.settings, asked.recipe) as tracker:
        places = {"resume": asked.resume} | places
        trained = train(asked.settings, out, data_dir=data_dir, watch=tracker.epoch, **places)
        if parallel.is_first_process():
            from mnist_utils.train import report

            print(report.leave_report(trained, data_dir, out))
            tracker.files(out)


if __name__ == "__main__":
    command.run(main)
