"""Arrays to axes, in one style for the whole course; nothing is computed here.

Every function takes its data first and a keyword `ax`, draws, and returns the `Axes`. The style
holds inside these functions only: the caller's matplotlib stays as it was.
"""

import functools
import io
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MultipleLocator, PercentFormatter

# Okabe and Ito's colours, told apart by the colour-blind too.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY = "#7A7A7A"  # contrast 4.3 on a white page and on a black one: pictures are transparent

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

Box = tuple[tuple[float, float], tuple[float, float]]  # ((top, bottom), (left, right)), inclusive


def _styled(draw):
    """Run a drawing function in the course's style."""

    @functools.wraps(draw)
    def styled(*arguments, **options):
        with plt.rc_context(STYLE):
            return draw(*arguments, **options)

    return styled


def keep(drawing, name: str, alt: str):
    """Turn a notebook's `Axes` or `Figure` into the picture that is shown and stored.

    Parameters
    ----------
    drawing : matplotlib Axes or Figure
        Closed afterwards: it is shown by being the cell's value, and not a second time.
    name : str
        With MNIST_IMAGES set to a folder, as `make notebooks` does, also saved there as NAME.png.
    alt : str
        What the picture shows, for those who cannot see it.
    """
    from IPython.display import Image

    figure = drawing.figure
    picture = _png(figure)
    if folder := os.environ.get("MNIST_IMAGES"):
        _write(picture, Path(folder, f"{name}.png"))
    plt.close(figure)
    return Image(picture, retina=True, alt=alt)


def save_figure(figure, path: str | Path) -> None:
    """Write a PNG, whole or not at all, of the same bytes for the same picture; close it."""
    _write(_png(figure), Path(path))
    plt.close(figure)


@_styled
def _png(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _write(picture: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(picture)
    partial.replace(path)


@_styled
def show_image(image, *, ax=None, title: str = "", vmin=0.0, vmax=1.0):
    """Draw one digit `(28, 28)`, values `vmin` black to `vmax` white, without axes."""
    if ax is None:
        _, ax = plt.subplots(figsize=(2, 2))
    ax.imshow(np.asarray(image), cmap="gray", vmin=vmin, vmax=vmax, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
    return ax


@_styled
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


@_styled
def plot_curves(epochs, series: dict, *, ylabel: str, percent: bool = False, ax=None):
    """Draw values against epochs, a line a name; fractions as per cent if `percent`."""
    if ax is None:
        _, ax = plt.subplots()
    for name, values in series.items():
        ax.plot(epochs, values, marker="o", markersize=3 if len(epochs) > 1 else 7, label=name)
    if percent:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.legend()
    return ax


@_styled
def plot_history(history: list[dict], evaluated_on: str = "test"):
    """Draw a run's loss and accuracy, while training and held-out, epoch by epoch; the figure.

    A run of one epoch is drawn from within, part by part.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    while_training = history[0].get("within", history) if len(history) == 1 else history
    series = {
        ("train", "while training"): while_training,
        ("test", f"{evaluated_on} digits"): history,
    }
    for ax, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for (kind, label), rows in series.items():
            rows = [row for row in rows if f"{kind}_{quantity}" in row]
            plot_curves(
                [row["epoch"] for row in rows],
                {label: [row[f"{kind}_{quantity}"] for row in rows]},
                ylabel="loss, nats" if quantity == "loss" else "accuracy",
                percent=quantity == "accuracy",
                ax=ax,
            )
    return figure


@_styled
def plot_confusion(matrix, *, ax=None):
    """Draw counts `(10, 10)`: rows true, columns predicted; mistakes shaded, hits printed grey."""
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 5))
    matrix = np.asarray(matrix)
    mistakes = np.ma.masked_where(np.eye(len(matrix), dtype=bool) | (matrix == 0), matrix)
    most = max(1, mistakes.filled(0).max())
    ax.imshow(mistakes, cmap="Oranges", vmin=-0.5 * most, vmax=most)  # one mistake is seen, too
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = GREY if row == column else "white" if count > 0.7 * most else "black"
            ax.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    ax.grid(False)
    ax.set(
        xlabel="predicted digit", ylabel="true digit", xticks=range(len(matrix)),
        yticks=range(len(matrix)),
    )  # fmt: skip
    return ax


@_styled
def plot_bars(labels, values, *, ylabel: str, xlabel: str = "", highlight=(), ax=None):
    """Draw a bar a label, its value on top; labels in `highlight` stand out in orange."""
    if ax is None:
        _, ax = plt.subplots()
    labels = [str(label) for label in labels]
    colours = [ORANGE if label in map(str, highlight) else BLUE for label in labels]
    bars = ax.bar(labels, values, color=colours)
    ax.bar_label(bars, labels=[f"{value:,}" for value in values], fontsize=9, padding=2)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)
    return ax


@_styled
def plot_mean_digit(mean, box, *, ax=None):
    """Draw a mean image `(28, 28)` and a box (top, left, bottom, right), inclusive pixels."""
    if ax is None:
        _, ax = plt.subplots(figsize=(4.2, 4))
    top, left, bottom, right = box
    image = ax.imshow(mean, cmap="gray", vmin=0)
    ax.figure.colorbar(image, ax=ax, label="mean brightness, 0..1", shrink=0.8)
    outline = plt.Rectangle(
        (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, ec=ORANGE, lw=2
    )
    ax.add_patch(outline)
    ax.set(xlabel="column, pixels", ylabel="row, pixels", xticks=range(0, 28, 4),
           yticks=range(0, 28, 4))  # fmt: skip
    ax.grid(False)
    return ax


@_styled
def plot_reliability(bins, *, ax=None):
    """Draw accuracy against mean confidence, a point a bin, its count beside it."""
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 5))
    bins = [b for b in bins if b.count]
    lowest = min(min(b.accuracy, b.confidence) for b in bins)
    ax.plot([lowest, 1], [lowest, 1], color=GREY, linestyle="--", label="confidence = accuracy")
    ax.plot([b.confidence for b in bins], [b.accuracy for b in bins], "o-", label="network")
    for b in bins:
        ax.annotate(f"{b.count:,}", (b.confidence, b.accuracy), xytext=(6, -12),
                    textcoords="offset points", fontsize=9)  # fmt: skip
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="mean confidence of a bin", ylabel="accuracy in the bin")
    ax.legend()
    return ax


@_styled
def plot_interval(rows, *, xlabel: str, ax=None):
    """Draw (label, value, low, high) as points with intervals, the first row on top."""
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 0.6 * len(rows) + 1.2))
    for position, (_, value, low, high) in enumerate(rows):
        ax.plot([low, high], [position, position], color=BLUE, lw=3, alpha=0.4)
        ax.plot(value, position, "o", color=BLUE)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel=xlabel)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    return ax


@_styled
def plot_seeds(rows, *, mark: tuple[str, float], xlabel: str, ax=None):
    """Draw (label, values): one point per seed, their mean a bar; `mark` is a name and a value.

    The first row stands on top; values are fractions.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 0.5 * len(rows) + 1.3))
    for position, (_, values) in enumerate(rows):
        ax.plot(values, [position] * len(values), "o", color=BLUE, alpha=0.7, markeredgewidth=0)
        ax.plot(np.mean(values), position, "|", color=RED, markersize=18, markeredgewidth=2)
    name, value = mark
    ax.axvline(value, color=GREY, linestyle="--", linewidth=1)
    ax.annotate(
        name, (value, -0.45), xytext=(4, 0), textcoords="offset points", fontsize=9, va="top"
    )
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set(ylim=(len(rows) - 0.5, -0.6), xlabel=xlabel)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    return ax


@_styled
def plot_shares(labels, series: dict, *, ylabel: str, ax=None):
    """Draw bars side by side: for every label, one fraction a series."""
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 4))
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        positions = np.arange(len(labels)) + (number - (len(series) - 1) / 2) * width
        ax.bar(positions, values, width, label=name)
    ax.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.grid(False, axis="x")
    ax.set(ylabel=ylabel)
    ax.legend()
    return ax


@_styled
def plot_accuracy_against_field(fields, series: dict, *, ax=None):
    """Draw accuracies against receptive fields in pixels.

    `series` maps a name to (fields, mean accuracies, deviations), accuracies as fractions; `fields`
    are the ticks.
    """
    if ax is None:
        _, ax = plt.subplots()
    for (name, (where, means, deviations)), style in zip(
        series.items(), ("o-", "s--", "^:"), strict=False
    ):
        ax.errorbar(where, means, yerr=deviations, fmt=style, capsize=4, label=name)
    ax.axvline(20, color=GREY, linestyle=":", linewidth=1)
    ax.annotate("a digit's longer side: 20", (20, ax.get_ylim()[0]), xytext=(4, 4),
                textcoords="offset points", fontsize=9)  # fmt: skip
    ax.yaxis.set_major_locator(MultipleLocator(0.005))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    ax.set(xlabel="receptive field before GAP, pixels", ylabel="validation accuracy", xticks=fields,
           title="mean ± standard deviation, 3 seeds")  # fmt: skip
    ax.legend(loc="center right")
    return ax


def _square(box: Box, **style) -> plt.Rectangle:
    (top, bottom), (left, right) = box
    return plt.Rectangle(
        (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, **style
    )


@_styled
def plot_fields_on_digit(image, boxes: dict[str, Box], *, ax=None):
    """Draw what one unit of each layer sees of a digit (28, 28): a square a layer, by name.

    Squares may reach beyond the image where the network pads it.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6.5, 4.6))
    image = np.asarray(image)
    ax.imshow(image, cmap="gray")
    colours = (ORANGE, "#56B4E9", GREEN, PURPLE, RED, BLUE)
    for number, (name, box) in enumerate(boxes.items()):
        colour, size = colours[number % len(colours)], round(box[0][1] - box[0][0] + 1)
        ax.add_patch(_square(box, edgecolor=colour, linewidth=2, label=name))
        ax.annotate(f"{size}", (box[1][1] + 0.2, box[0][0] - 0.2), color=colour, fontsize=10,
                    ha="right", va="top", xytext=(-2, -2), textcoords="offset points")  # fmt: skip
    edges = np.array(list(boxes.values()), dtype=float)  # (layers, axis, first and last)
    first = np.minimum(edges[:, :, 0].min(0), 0) - 1.5
    last = np.maximum(edges[:, :, 1].max(0), np.array(image.shape) - 1) + 1.5
    ax.set(ylim=(last[0], first[0]), xlim=(first[1], last[1]), xlabel="column, pixels",
           ylabel="row, pixels")  # fmt: skip
    ax.grid(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), title="sees of the image, pixels")
    return ax


@_styled
def plot_effective_field(
    weight, box: Box, *, image=None, contours: dict[str, float] | None = None, ax=None
):
    """Draw how much each pixel (H, W) counts for a unit, in the square `box` that it can see.

    With an `image` (H, W) that is drawn instead, and over it the weight's `contours`: levels by
    name.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 4.6))
    weight = np.asarray(weight)
    if image is None:
        drawn = ax.imshow(weight / weight.max(), cmap="magma", vmin=0)
        ax.figure.colorbar(drawn, ax=ax, label="weight, of the largest", shrink=0.85)
    else:
        ax.imshow(np.asarray(image), cmap="gray")
    for (name, level), colour in zip((contours or {}).items(), (ORANGE, "#56B4E9"), strict=False):
        ax.contour(weight, levels=[level], colors=[colour], linewidths=2)
        ax.plot([], [], color=colour, linewidth=2, label=name)
    ax.add_patch(_square(box, edgecolor=RED, linewidth=2, linestyle="--", label="what it can see"))
    height, width = weight.shape
    ax.set(
        xlabel="column, pixels", ylabel="row, pixels", xlim=(-2, width + 1), ylim=(height + 1, -2)
    )
    ax.grid(False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=9)
    return ax


@_styled
def plot_staircase(names, sizes, *, ax=None, marks: dict[str, float] | None = None):
    """Draw the receptive field, pixels against depth, layer by layer.

    `marks` are lengths to compare with, by name; the digit's 20 pixels and the image's 28 if
    none are given.
    """
    if ax is None:
        _, ax = plt.subplots()
    marks = {"the digit": 20, "the image": 28} if marks is None else marks
    ax.step(range(len(sizes)), sizes, where="mid", marker="o", markersize=4)
    for name, length in marks.items():
        ax.axhline(length, color=GREY, linestyle="--", linewidth=1)
        ax.annotate(f"{name}: {length}", (0, length), xytext=(0, 3), textcoords="offset points")
    ax.set_xticks(range(len(names)), names, rotation=60, ha="right")
    ax.margins(y=0.1)
    ax.set(ylabel="receptive field, pixels", ylim=(0, None))
    return ax
