"""Digits, and what is drawn over them."""

import matplotlib.pyplot as plt
import numpy as np

from mnist_utils.plots.style import BLUE, GREEN, ORANGE, PURPLE, RED, styled

Box = tuple[tuple[float, float], tuple[float, float]]  # ((top, bottom), (left, right)), inclusive


@styled
def images(digits, titles=None, *, heading="", columns: int = 10, over=None, outlines=None):
    """Draw digits `(N, 28, 28)` as a sheet, one title each, one heading over all; the figure.

    `over` are signed values `(N, 28, 28)` from -1, blue, over 0, white, to 1, red, drawn on top;
    nothing where they are NaN. `outlines` are other digits, whose edges are drawn in orange.
    """
    digits = np.asarray(digits)
    side, above, between = 28, 2 if titles is None else 8, 2  # pixels of a digit
    rows = max(1, -(-len(digits) // columns))
    shape = rows * (side + above), columns * (side + between) - between
    sheet = np.ma.array(np.zeros(shape), mask=True)  # masked: as transparent as the page
    signed, edges = sheet.copy(), np.zeros(shape)
    figure, ax = plt.subplots(figsize=(columns, columns * sheet.shape[0] / sheet.shape[1] + 0.3))
    for position, digit in enumerate(digits):
        top, left = position // columns * (side + above), position % columns * (side + between)
        place = slice(top + above, top + above + side), slice(left, left + side)
        sheet[place] = digit
        if over is not None:
            signed[place] = np.ma.masked_invalid(over[position])
        if outlines is not None:
            edges[place] = outlines[position]
        if titles is not None:
            middle = left + (side - 1) / 2
            ax.text(middle, top + above - 2, titles[position], ha="center", va="bottom", fontsize=9)
    ax.imshow(sheet, vmin=0, vmax=1, interpolation="nearest")
    if over is not None:
        ax.imshow(signed, cmap="RdBu_r", vmin=-1, vmax=1, alpha=0.8, interpolation="nearest")
    if outlines is not None:
        ax.contour(edges, levels=[0.5], colors=[ORANGE], linewidths=1)
    ax.set_title(heading, fontsize=11)
    ax.axis("off")
    return figure


def mistakes(result, digits, *, most: int = 100):
    """Draw the misread digits of an `Evaluation`, the most confident first; the figure.

    `digits` are all that were evaluated, uint8 `(N, 28, 28)`.
    """
    index = result.most_confident_mistakes(most)
    titles = [
        f"{result.labels[i]} → {result.predictions[i]}  {result.confidence[i]:.0%}" for i in index
    ]
    heading = "true → predicted, and the probability given to it"
    return images(digits[index] / 255, titles, heading=heading)


@styled
def mean_digit(mean, box, *, ax=None):
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


def _square(box: Box, **style) -> plt.Rectangle:
    (top, bottom), (left, right) = box
    return plt.Rectangle(
        (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, **style
    )


@styled
def fields_on_digit(image, boxes: dict[str, Box], *, ax=None):
    """Draw what one unit of each layer sees of a digit (28, 28): one square per layer, by name.

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
                    ha="right", va="top", xytext=(-3, -3), textcoords="offset points",
                    bbox={"facecolor": "black", "edgecolor": "none", "pad": 1})  # fmt: skip
    edges = np.array(list(boxes.values()), dtype=float)  # (layers, axis, first and last)
    first = np.minimum(edges[:, :, 0].min(0), 0) - 1.5
    last = np.maximum(edges[:, :, 1].max(0), np.array(image.shape) - 1) + 1.5
    ax.set(ylim=(last[0], first[0]), xlim=(first[1], last[1]), xlabel="column, pixels",
           ylabel="row, pixels")  # fmt: skip
    ax.grid(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), title="sees of the image, pixels")
    return ax


@styled
def effective_field(
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
