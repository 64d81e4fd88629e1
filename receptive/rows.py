"""A network as plain rows: what slides over the image, how, and who feeds whom."""

from dataclasses import dataclass

from receptive.steps import POINT, Steps, Window

AXES = (0, 1)  # height, width


@dataclass
class Row:
    """One step of a network; rows stand in the order in which they are computed.

    `inputs` are positions, in the list of rows, of those that feed this one; row 0 is the image.
    A row with a `reason` could not be read. A step that is a part of a layer only (the zeros of
    `padding='same'`, the statistics of GroupNorm) has `shown=False`. Channels that see different
    fields, as a concatenation's do until they mix, are rows of their own; the row that is shown
    takes them together. A container such as `layer4` is one more row that repeats the one whose
    output it returns, and counts nothing itself; `inside` are the positions of what it contains.
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
    slid: tuple[Window, ...] = ()  # of a convolution or a pool, as it was written
    call: tuple[int, int] | None = None  # which call returned it, and as which of its outputs
    alike: bool = False  # can be read only where all units of its inputs see the same
