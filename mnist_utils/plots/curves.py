"""Numbers: curves, bars, points, intervals, a confusion matrix."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, PercentFormatter

from mnist_utils.plots.style import BLUE, GREY, RED, styled

MARKERS, DASHES = "os^DvPX*", ("-", "--", "-.", ":")  # beside colours, for those who see none


@styled
def lines(
    at,
    series: dict,
    *,
    ylabel: str,
    xlabel: str = "epoch",
    percent: bool = False,
    logarithmic: bool = False,
    bands: dict | None = None,
    ax=None,
):
    """Draw values against where they were measured, one line per name; `percent`: fractions.

    Lines differ in colour and in marker, or, of more than 50 values, in dashes. `logarithmic` are
    both axes, with a tick at every value. `bands` maps a name, for the legend, to (low, high): the
    area between is shaded.
    """
    if ax is None:
        _, ax = plt.subplots()
    few = len(at) <= 50
    for number, (name, values) in enumerate(series.items()):
        dash = "-" if few else DASHES[number % len(DASHES)]
        marker = MARKERS[number % len(MARKERS)] if few else ""
        ax.plot(at, values, dash, marker=marker, markersize=5 if len(at) > 1 else 7, label=name)
    for name, (low, high) in (bands or {}).items():
        ax.fill_between(at, low, high, color=GREY, alpha=0.2, linewidth=0, label=name)
    if logarithmic:
        ax.set(xscale="log", yscale="log")
        ax.set_xticks(at, [f"{value:,}" for value in at])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.get_major_locator().set_params(integer=True)
    if percent:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


@styled
def history(rows: list[dict]):
    """Draw a run's loss and accuracy, while training and held-out, epoch by epoch; the figure.

    A run of one epoch is drawn from within, part by part.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    held_out = next((row["held_out"] for row in rows if "held_out" in row), "held-out")
    series = {
        ("train", "while training"): rows[0].get("within", rows) if len(rows) == 1 else rows,
        ("held_out", f"{held_out} digits"): rows,
    }
    for ax, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for (kind, label), all_rows in series.items():
            measured = [row for row in all_rows if f"{kind}_{quantity}" in row]
            lines(
                [row["epoch"] for row in measured],
                {label: [row[f"{kind}_{quantity}"] for row in measured]},
                ylabel="loss, nats" if quantity == "loss" else "accuracy",
                percent=quantity == "accuracy",
                ax=ax,
            )
    return figure


@styled
def confusion(matrix, *, ax=None):
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


@styled
def bars(labels, values, *, ylabel: str, xlabel: str = "", ax=None):
    """Draw one bar per label, its value on top."""
    if ax is None:
        _, ax = plt.subplots()
    drawn = ax.bar([str(label) for label in labels], values)
    ax.bar_label(drawn, labels=[f"{value:,}" for value in values], fontsize=9, padding=2)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)
    return ax


@styled
def reliability(bins, *, ax=None):
    """Draw accuracy against mean confidence: a point and its interval per bin, the count beside."""
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 5))
    bins = [b for b in bins if b.count]
    lowest = min(min(b.interval[0], b.confidence) for b in bins)
    ax.plot([lowest, 1], [lowest, 1], color=GREY, linestyle="--", label="confidence = accuracy")
    ax.plot([b.confidence for b in bins], [b.accuracy for b in bins], "o", label="network")
    for b in bins:
        ax.plot([b.confidence] * 2, b.interval, color=BLUE, lw=3, alpha=0.4)
        where = {"xytext": (-8, 5), "ha": "right"} if b is bins[-1] else {"xytext": (6, -12)}
        ax.annotate(f"{b.count:,}", (b.confidence, b.accuracy), **where,
                    textcoords="offset points", fontsize=9)  # fmt: skip
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="mean confidence of a bin", ylabel="accuracy in the bin")
    ax.legend(loc="lower right")
    return ax


@styled
def intervals(rows, *, xlabel: str, ax=None):
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


@styled
def seeds(rows, *, mark: tuple[str, float], xlabel: str, ax=None):
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
    ax.locator_params(axis="x", nbins=6)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=2))
    return ax


@styled
def frontier(rows, *, ylabel: str, ax=None):
    """Draw (label, parameters, errors, low, high): a point and its interval each; both axes log.

    The frontier, those that no smaller network matches, is a line with full points, the rest grey.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 5))
    best = [row for row in rows if all(row[2] <= other[2] for other in rows if other[1] <= row[1])]
    best.sort(key=lambda row: row[1])
    where, errors = [row[1] for row in best], [row[2] for row in best]
    ax.step(where, errors, where="post", color=BLUE, label="frontier")
    for row in rows:
        label, parameters, value, low, high = row
        colour, mark = (BLUE, "o") if row in best else (GREY, "s")
        ax.plot([parameters] * 2, [low, high], color=colour, lw=3, alpha=0.4)
        ax.plot(parameters, value, mark, color=colour)
        ax.annotate(label, (parameters, value), xytext=(6, 3), textcoords="offset points",
                    fontsize=9)  # fmt: skip
    ax.legend(title="bars: 95% over seeds", loc="upper right")
    ax.set(xscale="log", yscale="log", xlabel="parameters", ylabel=ylabel)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    ax.margins(x=0.15)
    return ax


@styled
def shares(labels, series: dict, *, ylabel: str, ax=None):
    """Draw bars side by side: for every label, one fraction per series."""
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
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), frameon=False)
    return ax


@styled
def accuracy_against_field(
    fields,
    series: dict,
    *,
    xlabel: str = "receptive field before GAP, pixels",
    title: str = "",
    marks: dict[str, float] | None = None,
    logarithmic: bool = False,
    ax=None,
):
    """Draw accuracies against receptive fields in pixels, or, by `xlabel`, against something else.

    `series` maps a name to (fields, mean accuracies, deviations), accuracies as fractions; `fields`
    are the ticks, `marks` lengths to compare with, by name.
    """
    if ax is None:
        _, ax = plt.subplots()
    for (name, (where, means, deviations)), style in zip(
        series.items(), ("o-", "s--", "^:", "D-."), strict=False
    ):
        ax.errorbar(where, means, yerr=deviations, fmt=style, capsize=4, label=name)
    for name, length in (marks or {}).items():
        ax.axvline(length, color=GREY, linestyle=":", linewidth=1)
        ax.annotate(f"{name}: {length}", (length, 1), xycoords=("data", "axes fraction"),
                    xytext=(4, -10), textcoords="offset points", fontsize=9)  # fmt: skip
    ax.set_yscale("logit")  # twice as many errors are as far apart at 90% as at 99%
    ax.yaxis.set_major_locator(
        FixedLocator([0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.992, 0.995])
    )
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=xlabel, ylabel="validation accuracy", title=title)
    ax.set_xticks(fields, [f"{value:,}" for value in fields])
    ax.legend(loc="best")
    return ax


@styled
def staircase(names, sizes, *, ax=None, marks: dict[str, float] | None = None):
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
