"""Where the image's axes lie in a tensor: its dimensions as factors, and what views do to them."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from mnist_utils.describe.steps import resized
from mnist_utils.receptive_field import Window

HEIGHT, WIDTH = AXES = (0, 1)
POINT, BROADCAST = Window(1), Window(1, stride=0)


# One dimension is a tuple of factors (size, label): (3, None) are channels, (28, HEIGHT) is an
# axis of the image, (1, "N") the batch. Flattening a map (12, 3, 3) makes one dimension of three
# factors, and so a Linear layer that multiplies it is known to read every unit of the map.

Dim = tuple[tuple[int, object], ...]
Dims = tuple[Dim, ...]


class Piece(NamedTuple):
    """Labels the pixels of a patch along an axis, None being both at once.

    Each is taken to see its whole patch. Until attention or the like has mixed them (`mixed`) they
    are not told apart: an operation that would is Unreadable.
    """

    axis: int | None = None
    mixed: bool = False


class Tokens(NamedTuple):
    """Labels units that stand in one dimension after `extra` others, a transformer's class token.

    The others have read nothing until attention has mixed them with the units of the map (`mixed`).
    """

    units: Dim
    extra: int
    mixed: bool = False


class Unreadable(Exception):
    """The operation cannot be read as a window; the message says why."""


def size_of(dim: Dim) -> int:
    return prod(n for n, _ in dim)


def opened(dim: Dim) -> Dim:
    """`dim` with the units in place of their tokens."""
    return tuple(f for n, k in dim for f in (k.units if isinstance(k, Tokens) else [(n, k)]))


def axes_of(dim: Dim, longer_than: int = 0) -> list[int]:
    return [label for n, label in opened(dim) if label in AXES and n > longer_than]


def unmixed(dim: Dim) -> list[Piece | Tokens]:
    """The labels of what is still to be told apart: pixels in patches, units and tokens."""
    return [label for _, label in dim if not getattr(label, "mixed", True)]


def has_tokens(dim: Dim) -> bool:
    return any(isinstance(label, Tokens) for _, label in dim)


def layout(dim: Dim) -> tuple:
    """What lies along a dimension: its axes and patches, without its channels."""
    labels = [label for n, label in opened(dim) if n > 1 and label not in (None, "N")]
    return tuple(k.axis if isinstance(k, Piece) else ("axis", k) for k in labels)


def blended(dim: Dim) -> Dim:
    """`dim` when each of its units has been shown all units of its patch, or of the map."""
    return tuple((n, k._replace(mixed=True) if hasattr(k, "mixed") else k) for n, k in dim)


def extent_of(dims: Dims) -> tuple[int, int]:
    sizes = {label: n for dim in dims for n, label in opened(dim)}
    return sizes.get(HEIGHT, 1), sizes.get(WIDTH, 1)


def mixed(dim: Dim, size: int) -> Dim:
    """`dim` once all it held was mixed into `size` channels, where the first of them stood.

    Its axes are now one unit long.
    """
    labels = [None if isinstance(label, Piece) else label for _, label in opened(dim)]
    kept = [(1, label) for label in labels if label is not None]
    before = labels.index(None) if None in labels else 0
    return (*kept[:before], *((size, None),) * (size > 1), *kept[before:])


def is_interleaved(dims: Dims) -> bool:
    """Whether one of two image axes is laid out with something else, as repeated rows are."""
    axes = [axes_of(dim, 1) for dim in dims]
    others = [any(n > 1 and label not in AXES for n, label in dim) for dim in dims]
    return sum(map(len, axes)) > 1 and any(
        o and len(a) == 1 for a, o in zip(axes, others, strict=True)
    )


def regroup(dims: Dims, shape: Sequence[int], windows: list | None = None) -> Dims:
    """`dims` after view, flatten, squeeze or unsqueeze to `shape`.

    An axis that is cut into patches makes each a unit, which reads them whole, and one that is put
    together again gives each patch's field to all of its pixels: `windows` says so.
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
                factors[0] = (size // missing, Piece(label))
                windows[label] = Window(size // missing, size // missing)
            else:
                raise Unreadable("it cuts the height or width into pieces")
        grouped.append(tuple(dim))
    if factors and grouped:
        grouped[-1] += tuple(factors)
    if [size_of(dim) for dim in grouped] != list(shape):
        raise Unreadable("it rearranges height and width")
    return tuple(_joined(dim, windows) for dim in grouped)


def _joined(dim: Dim, windows: list | None) -> Dim:
    """An axis beside the pixels of its patches, once these are mixed, is the longer axis again."""
    result: list[tuple[int, object]] = []
    for size, label in dim:
        units, axis = result[-1] if result else (1, None)
        if windows and label == Piece(axis, mixed=True) and axis in AXES:
            windows[axis] = resized(units, units * size, "nearest")
            size, label = units * size, result.pop()[1]
        result.append((size, label))
    return tuple(result)
