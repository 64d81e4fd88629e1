"""What a finished run shows: its figures beside the source's claims, and three pictures."""

from pathlib import Path

from mnist_utils import plots
from mnist_utils.results import SOURCE
from mnist_utils.train import progress
from mnist_utils.train.loop import Training
from mnist_utils.train.run import splits


def leave_report(run: Training, data_dir: str | Path | None, out: Path) -> str:
    """Draw `curves.png`, `confusion.png`, `misclassified.png` into `out`; return the table."""
    _, held_out = splits(run.config, data_dir)
    result = run.evaluation
    pictures = {
        "curves": plots.history(run.history),
        "confusion": plots.confusion(result.confusion),
        "misclassified": plots.mistakes(result, held_out.images),
    }
    for name, drawing in pictures.items():
        plots.save(drawing, out / f"{name}.png")
    low, high = result.interval
    last, n = run.history[-1], len(held_out)
    return (
        f"\n{comparison(last)}\n\n"
        f"{last['held_out']} accuracy {result.accuracy:.2%}, {result.n_errors} errors of {n:,}; "
        f"95% Wilson interval {low:.2%} to {high:.2%}; n = 1 run, seed {run.config.seed}\n"
        f"weights, history and pictures are in {out}/"
    )


def comparison(row: dict) -> str:
    """The table of the last epoch: source's claim, this run, difference.

    The source claims nothing of validation digits; beside them stands no claim.
    """
    lines = [f"{'':22}{'source claims':>15}{'this run':>12}{'difference':>16}"]
    for name, value in progress.figures(row).items():
        claim = SOURCE.get(name)
        share = name.endswith("accuracy")
        cells = [f"{value:>12.2%}" if share else f"{value:>12.4f}"]
        if claim is None:
            cells.insert(0, f"{'':15}")
        elif share:
            cells = [f"{claim:>15.2%}", *cells, f"{100 * (value - claim):>+9.2f} points"]
        else:
            cells = [f"{claim:>15.4f}", *cells, f"{value - claim:>+16.4f}"]
        lines.append(f"{name.replace('_', ' '):22}{''.join(cells)}".rstrip())
    return "\n".join(lines)
