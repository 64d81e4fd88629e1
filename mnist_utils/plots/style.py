"""One style for the whole course, and how a drawing becomes a picture."""

import functools
import io
import os
from pathlib import Path

import matplotlib.pyplot as plt

from mnist_utils.files import write_atomically

# Okabe and Ito's colours, told apart by the colour-blind too.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY = "#7A7A7A"  # contrast above 4 on a white page and on GitHub's dark one: no card

STYLE = {
    "figure.figsize": (7.0, 4.0),
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",  # no label is cut off
    "savefig.transparent": True,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 11,
    "text.color": GREY,
    "axes.titlesize": 12,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, GREY]),
    "image.cmap": "gray",
    "legend.frameon": False,
}


def styled(draw):
    """Run a drawing function in the course's style."""

    @functools.wraps(draw)
    def styled(*arguments, **options):
        with plt.rc_context(STYLE):
            return draw(*arguments, **options)

    return styled


def show(drawing, alt: str):
    """Turn `Axes` or a `Figure` into a picture for a notebook, and close it: it is shown once.

    `alt` says what it shows, for those who cannot see it.
    """
    from IPython.display import Image

    picture = png_of(drawing.figure)
    plt.close(drawing.figure)
    return Image(picture, retina=True, alt=alt)


def keep(drawing, name: str, alt: str):
    """`show` it; with MNIST_IMAGES set to a folder, as `make notebooks` does, store NAME.png."""
    shown = show(drawing, alt)
    if folder := os.environ.get("MNIST_IMAGES"):
        write_atomically(Path(folder, f"{name}.png"), shown.data)
    return shown


def save(drawing, path: str | Path) -> None:
    """Write `Axes` or a `Figure` as a PNG: the same bytes for the same picture; close it."""
    write_atomically(path, png_of(drawing.figure))
    plt.close(drawing.figure)


@styled
def png_of(figure) -> bytes:
    """The picture, as it is stored."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
