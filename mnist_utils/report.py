"""What a finished run shows: its figures beside the source's claims, and three pictures."""

from pathlib import Path

from mnist_utils import data, plots
from mnist_utils.evaluate import Evaluation, evaluate

# The README this course began from: one run, no seed, no interval.
CLAIMS = {
    "train_accuracy": 0.9843,
    "train_loss": 0.0511,
    "test_accuracy": 0.994,
    "test_loss": 0.0187,
}


def leave_report(run, data_dir, out: Path) -> str:
    """Draw `curves.png`, `confusion.png`, `misclassified.png` into `out`; return the table.

    `run` is a finished `train.Training`.
    """
    held_out = data.load(data_dir, train=bool(run.config.validation))
    if run.config.validation:
        _, held_out = data.hold_out(held_out, run.config.validation)
    result = evaluate(run.evaluated, held_out)
    what = "validation" if run.config.validation else "test"
    pictures = {
        "curves.png": plots.plot_history(run.history, what),
        "confusion.png": plots.plot_confusion(result.confusion).figure,
        "misclassified.png": draw_misclassified(result, held_out),
    }
    for name, figure in pictures.items():
        plots.save_figure(figure, out / name)
    low, high = result.interval
    return (
        f"\n{comparison(run.history[-1], what)}\n\n"
        f"{what} accuracy {result.accuracy:.2%}, {result.errors} errors of {len(held_out):,}; "
        f"95% Wilson interval {low:.2%} to {high:.2%}; n = 1 run, seed {run.config.seed}\n"
        f"weights, history and pictures are in {out}/"
    )


def comparison(row: dict, evaluated_on: str = "test") -> str:
    """The table of the last epoch: source's claim, this run, difference."""
    lines = [f"{'':22}{'source claims':>15}{'this run':>12}{'difference':>16}"]
    for name, claim in CLAIMS.items():
        value = row[name]
        label = name.replace("test", evaluated_on).replace("_", " ")
        if name.endswith("accuracy"):
            cells = f"{claim:>15.2%}{value:>12.2%}{100 * (value - claim):>+9.2f} points"
        else:
            cells = f"{claim:>15.4f}{value:>12.4f}{value - claim:>+16.4f}"
        lines.append(f"{label:22}{cells}")
    return "\n".join(lines)


def draw_misclassified(result: Evaluation, split: data.Split, most: int = 100):
    """Up to `most` mistakes, the most confident first: true → predicted, confidence."""
    order = result.confidence[result.mistakes].argsort(descending=True)[:most]
    index = result.mistakes[order]
    titles = [
        f"{result.labels[i]} → {result.predictions[i]}  {result.confidence[i]:.0%}" for i in index
    ]
    heading = "true → predicted, and the probability given to it"
    return plots.show_images(split.images[index] / 255.0, titles, heading=heading)
