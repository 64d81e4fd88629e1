"""SageMaker from submit to clean-up: the training job, its artifact, the endpoint, the bill.

To use it: notebook 4, or `python -m cloud.jobs --help`; with `rehearse=True` (`--rehearse`)
the same calls run on this machine, without an account. To understand it read `training`, then
`endpoint`; `search` asks SageMaker's tuner, `inventory` says what still runs. Machinery, not
needed: `place` finds role and bucket, `archive` packs what travels.
"""

from importlib import import_module

_ROOMS = {
    "place": ("Place", "connect"),
    "prices": ("PRICES", "price"),
    "training": ("bill", "fetch", "log", "metrics", "submit", "wait"),
    "search": ("best", "tune"),
    "endpoint": ("delete", "deploy", "invoke", "serving"),
    "inventory": ("clean", "running", "stop"),
}
__all__ = sorted(name for names in _ROOMS.values() for name in names)


def __getattr__(name: str):
    """Load torch when a verb is first used: `--help` answers at once, and Ctrl-C in a line."""
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
