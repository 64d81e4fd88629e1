"""A network as plain rows: what slides over the image, how, and who feeds whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnist_utils.describe.dims import POINT
from mnist_utils.describe.steps import Steps
from mnist_utils.errors import InputError
from mnist_utils.receptive_field import Window

Source = tuple[int, int]  # a row, and a group of its channels
Reads = tuple[tuple[Source, ...], ...]  # by each group of a row; () where one group reads all


@dataclass
class Row:
    """One step of a network; rows stand in the order in which they are computed.

    `inputs` are positions, in the list of rows, of those that feed this one; row 0 is the image.
    A row with a `reason` could not be read. A step that is a part of a layer only (the zeros of
    `padding='same'`, the statistics of GroupNorm) has `shown=False`. A container such as `layer4`
    is one more row that repeats the one whose output it returns, and counts nothing itself;
    `inside` are the positions of the rows that it contains.

    `reads` is empty where all channels read all of `inputs`. After a concatenation channels differ:
    then it holds, for each group of channels, the (row, group of that row) that it reads.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    extent: tuple[int, int] = (1, 1)  # units along height and width; 1 where there is no such axis
    windows: tuple[Window | Steps, Window | Steps] = (POINT, POINT)
    reason: str = ""
    output_shape: tuple[int, ...] = ()  # of one sample
    products: tuple[tuple[int, ...], ...] = ()  # multiply-adds (MACs), as factors
    parameters: tuple[str, ...] = ()  # their names, at the first row that uses them
    nbytes: int = 0  # of newly written output, one sample; 0 for views and in-place layers
    shown: bool = False
    inside: tuple[int, ...] = ()
    reads: Reads = ()
    slid: tuple[Window, ...] = ()  # of a convolution or a pool, as it was written
    alike: bool = False  # can be read only where every unit of its inputs sees the same


def find(rows: Sequence[Row], name: str) -> int:
    """Position of the row called `name`. Raises InputError when there is none."""
    for i, row in enumerate(rows):
        if row.shown and row.name == name:
            return i
    names = ", ".join(row.name for row in rows if row.shown)
    raise InputError(f"no layer is called {name!r}; there are {names}")


def reads_of(rows: Sequence[Row], i: int) -> list[dict[int, list[int]]]:
    """For each group of a row's channels the rows it reads, and which groups of theirs."""
    row = rows[i]
    if not row.reads:
        return [{j: list(range(len(rows[j].reads) or 1)) for j in row.inputs}]
    return [{j: [g for k, g in group if k == j] for j, _ in group} for group in row.reads]
