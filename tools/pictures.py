"""Whether two pictures show the same: by the place where they differ most.

A mean over the page would not see one point less, another number on a bar, a small black square.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 4  # pixels: pictures are compared by the means of squares of this side
DIFFERENT = 40  # grey levels of 255 by which the means of two squares may differ


def largest_difference(one: Path | bytes, two: Path | bytes) -> float:
    """Of two PNGs, on white paper, in grey levels; infinite if they are not of one size."""
    a, b = _grey(one), _grey(two)
    if a.shape != b.shape:
        return float("inf")
    rows, columns = (-side % SIDE for side in a.shape)
    apart = np.pad(a - b, ((0, rows), (0, columns)))
    squares = apart.reshape(len(apart) // SIDE, SIDE, -1, SIDE)
    return float(np.abs(squares.mean(axis=(1, 3))).max())


def _grey(png: Path | bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(png) if isinstance(png, bytes) else png).convert("RGBA")
    page = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(page.convert("L"), dtype=float)
