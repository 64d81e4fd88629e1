"""Where the image's axes lie in a tensor: its dimensions as factors, and what views do to them."""

from collections.abc import Sequence
from math import prod

from mnist_utils.receptive_field import Window

HEIGHT, WIDTH = AXES = (0, 1)
PIECE = "piece"  # labels the pixels of a patch: they may be mixed, and not told apart
POINT, BROADCAST = Window(1), Window(1, stride=0)


# One dimension is a tuple of factors (size, label): (3, None) are channels, (28, HEIGHT) is an
# axis of the image, (1, "N") the batch. Flattening a map (12, 3, 3) makes one dimension of three
# factors, and so a Linear layer that multiplies it is known to read every unit of the map.

Dim = tuple[tuple[int, object], ...]
Dims = tuple[Dim, ...]


class Unreadable(Exception):
    """The operation cannot be read as a window; the message says why."""


def size_of(dim: Dim) -> int:
    return prod(n for n, _ in dim)


def axes_of(dim: Dim, longer_than: int = 0) -> list[int]:
    return [label for n, label in dim if label in AXES and n > longer_than]


def extent_of(dims: Dims) -> tuple[int, int]:
    sizes = {label: n for dim in dims for n, label in dim}
    return sizes.get(HEIGHT, 1), sizes.get(WIDTH, 1)


def mixed(dim: Dim, size: int) -> Dim:
    """`dim` once all it held was mixed into `size` channels: its axes are now one unit long."""
    kept = tuple((1, label) for _, label in dim if label not in (None, PIECE))
    return ((size, None),) * (size > 1) + kept


def is_interleaved(dims: Dims) -> bool:
    """Whether one of two image axes is laid out with something else, as repeated rows are."""
    axes = [axes_of(dim, 1) for dim in dims]
    others = [any(n > 1 and label not in AXES for n, label in dim) for dim in dims]
    return sum(map(len, axes)) > 1 and any(
        o and len(a) == 1 for a, o in zip(axes, others, strict=True)
    )


def regroup(dims: Dims, shape: Sequence[int], windows: list | None = None) -> Dims:
    """`dims` after view, flatten, squeeze or unsqueeze to `shape`.

    An axis that is cut into patches makes each a unit, which reads them whole: `windows` says so.
    """
    factors: list[tuple[int, object]] = []
    for size, label in (f for dim in dims for f in dim if f != (1, None)):
        if factors and label is None and factors[-1][1] is None:  # channels beside channels
            size *= factors.pop()[0]
        factors.append((size, label))
    grouped = []
    for target in shape:
        dim: list[tuple[int, object]] = []
        while factors and size_of(dim) <= target:
            missing, (size, label) = target // size_of(dim), factors[0]
            if missing == 1 and (size > 1 or dim):
                break
            if missing % size == 0:
                dim.append(factors.pop(0))
            elif label is None and size % missing == 0:
                dim.append((missing, None))
                factors[0] = (size // missing, None)
            elif label in AXES and size % missing == 0 and windows is not None:
                dim.append((missing, label))
                factors[0] = (size // missing, PIECE)
                windows[label] = Window(size // missing, size // missing)
            else:
                raise Unreadable("it cuts the height or width into pieces")
        grouped.append(tuple(dim))
    if factors and grouped:
        grouped[-1] += tuple(factors)
    if [size_of(dim) for dim in grouped] != list(shape):
        raise Unreadable("it rearranges height and width")
    return tuple(grouped)
