"""Any network read layer by layer: what each unit sees of the image, and what it costs.

To use it: `describe(model)`, or `python -m receptive --help`; README.md has examples.
To understand it: `fields` is the lesson's recurrence for branches as well, `costs` its arithmetic;
`measured` finds by running what cannot be read. `advice` judges, `show` prints. Machinery, not
needed: `reader` runs the network under `guards`, `follow` follows its data, `layout` where the
units of a map lie in it; `rules` is the table of PyTorch's operations, and `operations` and `steps`
know what each reads.
"""

from receptive.errors import InputError

__all__ = ["Description", "InputError", "Line", "describe", "read"]


def __getattr__(name: str):
    """Load torch when a verb is first used: `--help` answers at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from receptive import reader, table

    return reader.read if name == "read" else getattr(table, name)
