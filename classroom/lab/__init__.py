"""A bench for networks that are one chain of layers: change a row, and see what it does.

To use it: `Lab()` or `Lab(network)` in a notebook; without a kernel, open `notebooks/lab.html`,
which `python -m classroom.lab` writes. To understand it read `design`, and the first three
sections of `lab.js`; `expect` is what the sweep says of networks that nobody has trained.
Machinery, not needed: `widget`, `page`.
"""

__all__ = ["Lab"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from classroom.lab.widget import Lab

    return Lab
