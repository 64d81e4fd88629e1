"""The command line: `python -m mnist_utils.train --help`."""

import sys
from pathlib import Path

from mnist_utils import command
from mnist_utils.train import container, options


@container.reports_failure
def main() -> None:
    given = options.parse(container.options(sys.argv[1:]))
    out = Path(given.out or container.model_folder() or Path("runs", given.recipe))
    data_dir = given.data or container.data_folder()
    # torch, tqdm and safetensors cost seconds that --help and bad input need not wait for
    from mnist_utils.train import parallel, tracking
    from mnist_utils.train.run import train

    with tracking.run(given.settings, given.recipe) as tracker:
        run = train(
            given.settings,
            out,
            data_dir=data_dir,
            resume=given.resume or container.inside(),
            checkpoints=container.checkpoint_folder(),
            watch=tracker.epoch,
        )
        if parallel.is_first_process():
            from mnist_utils.train import report

            print(report.leave_report(run, data_dir, out))
            tracker.files(out)


if __name__ == "__main__":
    command.run(main)
