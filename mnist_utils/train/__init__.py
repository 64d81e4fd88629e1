"""One loop for every recipe, on a laptop and in a container.

To use it: `python -m mnist_utils.train --help`, or `train(settings, out)`. To understand it read
`loop`, a page; then `sampling`, which digits an epoch sees, and `optimizers`, who takes the steps.
Machinery, not needed: `run` saves and resumes, `options` reads the command line, `parallel` and
`tracking` are what several processes and MLflow ask for.
"""

__all__ = ["train"]


def __getattr__(name: str):
    """Load torch when training is first asked for: `--help` answers at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mnist_utils.train.run import train

    return train
