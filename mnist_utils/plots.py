"""Arrays to axes, in one style for the whole course; nothing is computed here.

Every function takes its data first and a keyword `ax`, draws, and returns the `Axes`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter

# Okabe and Ito's colours, told apart by the colour-blind too.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#7F7F7F",
)  # fmt: skip

STYLE = {
    "figure.figsize": (7.0, 4.0),
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, GREY]),
    "image.cmap": "gray",
    "legend.frameon": False,
}
plt.rcParams.update(STYLE)


def save_figure(figure, path: str | Path) -> None:
    """Write a PNG whose bytes depend on the picture alone, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, format="png", metadata={"Software": None})
    partial.replace(path)


def show_image(image, *, ax=None, title: str = "", vmin=0.0, vmax=1.0):
    """Draw one digit `(28, 28)`, values `vmin` black to `vmax` white, without axes."""
    if ax is None:
        _, ax = plt.subplots(figsize=(2, 2))
    ax.imshow(np.asarray(image), cmap="gray", vmin=vmin, vmax=vmax, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
    return ax


def show_images(images, titles=None, *, heading="", columns: int = 10, vmin=0.0, vmax=1.0):
    """Draw digits `(N, 28, 28)` as a sheet, a title each, a heading over all; the figure."""
    rows = max(1, -(-len(images) // columns))
    height = 1.0 if titles is None else 1.25
    figure, axes = plt.subplots(rows, columns, figsize=(columns, rows * height), squeeze=False)
    figure.suptitle(heading, fontsize=11)
    for ax in axes.flat:
        ax.axis("off")
    for position, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        title = "" if titles is None else titles[position]
        show_image(image, ax=ax, title=title, vmin=vmin, vmax=vmax)
    return figure


def plot_curves(epochs, series: dict, *, ylabel: str, percent: bool = False, ax=None):
    """Draw values against epochs, a line a name; fractions as per cent if `percent`."""
    if ax is None:
        _, ax = plt.subplots()
    for name, values in series.items():
        ax.plot(epochs, values, marker="o", markersize=3, label=name)
    if percent:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.legend()
    return ax


def plot_confusion(matrix, *, ax=None):
    """Draw counts `(10, 10)`: rows true, columns predicted; mistakes shaded, hits printed grey."""
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 5))
    matrix = np.asarray(matrix)
    mistakes = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    ax.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max()))
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = mistakes[row, column] > 0.7 * mistakes.max()
            colour = GREY if row == column else "white" if dark else "black"
            ax.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    ax.grid(False)
    ax.set(
        xlabel="predicted digit", ylabel="true digit", xticks=range(len(matrix)),
        yticks=range(len(matrix)),
    )  # fmt: skip
    return ax
