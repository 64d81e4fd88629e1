"""Reports: a page for a student, and the same as text, for a program and for Gradescope.

Whatever a student wrote goes out through `out`: it is shown, and does nothing.
"""

import base64
import json
from collections.abc import Sequence
from html import escape

import torch

from mnist_utils import data, plots
from mnist_utils.checks.recurrence import COLUMNS
from mnist_utils.grade.grading import Graded
from mnist_utils.grade.rubric import Rubric
from mnist_utils.grade.submission import printable

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .3rem .7rem; border-bottom: 1px solid #8886; }
td, th { text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.wrong { background: #d55e0040; font-weight: 600; }
td.follows { background: #e69f0030; }
.message { white-space: pre-line; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
img { max-width: 100%; background: #fff; }
"""
MOST_PICTURES = 20


def out(text: object, to: str = "terminal") -> str:
    """A text on its way out: no control characters, and to `html` no mark, to `csv` no formula."""
    plain = "\n".join(map(printable, str(text).split("\n")))
    if to == "html":
        return escape(plain)
    if to == "csv":
        plain = " ".join(plain.split())
        return f"'{plain}" if plain[:1] in tuple("=+-@|%＝＋－＠") else plain
    return plain


def number(value: float) -> str:
    """7.5 as `7.5`, 10.0 as `10`."""
    return f"{value:g}"


def text(graded: Graded) -> str:
    """For a terminal."""
    lines = [f"{graded.name}: {number(graded.points)} of {number(graded.of)} points"]
    for mark in graded.marks:
        first, *more = mark.message.splitlines() or [""]
        points = f"{number(mark.points)}/{number(mark.of)}"
        lines += [f"  {mark.name:9} {points:>6}  {first}", *(f"{'':20}{line}" for line in more)]
    return out("\n".join(lines))


def to_json(found: Sequence[Graded], rubric: Rubric) -> str:
    """A list, one object a submission."""
    return json.dumps([graded.to_dict(rubric) for graded in found], indent=1) + "\n"


def to_gradescope(graded: Graded) -> str:
    """One submission's `results.json`, as Gradescope reads it."""
    tests = [
        {"name": m.name, "score": m.points, "max_score": m.of, "output": out(m.message)}
        for m in graded.marks
    ]
    return json.dumps({"score": graded.points, "tests": tests}, indent=1) + "\n"


def page(title: str, body: str) -> str:
    """A page, whole in itself."""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        f"<title>{out(title, 'html')}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>\n'
        f"{body}</html>\n"
    )


def to_html(found: Sequence[Graded], rubric: Rubric, *, walled: bool = True) -> str:
    """Submissions, one after the other, each as its student gets it."""
    title = found[0].name if len(found) == 1 else f"{len(found)} submissions"
    return page(title, "\n".join(section(graded, rubric, walled=walled) for graded in found))


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML."""
    lines = [("th", head), *(("td", row) for row in rows)]
    cells = "".join(
        "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in row) + "</tr>" for tag, row in lines
    )
    return f'<div class="wide"><table>{cells}</table></div>'


def section(graded: Graded, rubric: Rubric, *, walled: bool = True) -> str:
    """A student's page without its frame."""
    points = f"{number(graded.points)} of {number(graded.of)} points by the grader"
    rows = "".join(
        f'<tr><th>{out(mark.name, "html")}</th><td class="number">{number(mark.points)} of '
        f'{number(mark.of)}</td><td class="message">{out(mark.message, "html")}</td></tr>'
        for mark in graded.marks
    )
    teacher = "".join(
        f'<tr><th>{out(name, "html")}</th><td class="number">of {number(of)}</td>'
        f"<td>{out(look_for, 'html')}</td></tr>"
        for name, (of, look_for) in rubric.teacher.items()
    )
    return (
        f"<section><h1>{out(graded.name, 'html')}</h1><p>{points}.</p>"
        f"<table>{rows}</table>{_curve(graded)}{_mistakes(graded)}{_tables(graded)}"
        f"<h2>What to do next</h2>{_advice(graded)}"
        f"<h2>Left to your teacher</h2><table>{teacher}</table>{_wall(graded, walled)}</section>"
    )


def _wall(graded: Graded, walled: bool) -> str:
    if not graded.evidence.submission.code:
        return ""
    how = "walled in (bubblewrap)" if walled else "within a limit of time, but not walled in"
    return (
        f"<p>Your code was run once, {how}, to describe your networks; the grader built and "
        "trained them itself.</p>"
    )


def _picture(drawing, alt: str) -> str:
    code = base64.b64encode(plots.show(drawing, alt).data).decode()
    return f'<img alt="{out(alt, "html")}" src="data:image/png;base64,{code}">'


def _curve(graded: Graded) -> str:
    """Validation accuracy by epoch, one line a seed."""
    runs = [one["accuracies"] for one in graded.evidence.trainings if "accuracies" in one]
    if not runs:
        return ""
    series = {f"seed {seed}": accuracies for seed, accuracies in enumerate(runs)}
    axes = plots.lines(
        range(1, len(runs[0]) + 1), series, ylabel="validation accuracy", percent=True
    )
    alt = f"Validation accuracy of Model3 by epoch, seeds: {len(runs)}."
    return f"<h2>How Model3 learnt</h2>{_picture(axes, alt)}"


def _mistakes(graded: Graded) -> str:
    """The validation digits that the first training misreads."""
    trained = next((one for one in graded.evidence.trainings if "mistakes" in one), None)
    if not trained or not trained["mistakes"]:
        return ""
    answers, wrong = trained["validation"], trained["mistakes"][:MOST_PICTURES]
    split = data.load(train=True)
    shown = torch.tensor(wrong) + len(split) - len(answers)
    titles = [f"{split.labels[i]} → {answers[at]}" for i, at in zip(shown, wrong, strict=True)]
    figure = plots.images(split.images[shown] / 255, titles, heading="label → Model3's answer")
    count = len(trained["mistakes"])
    first = f", the first {len(wrong)} of them" if count > len(wrong) else ""
    text = f"Seed 0 misreads {count} of {len(answers):,} validation digits{first}."
    return f"<h2>What Model3 misreads</h2><p>{text}</p>{_picture(figure, text)}"


def _tables(graded: Graded) -> str:
    """fields.csv with its wrong entries marked."""
    parts, answers = [], graded.evidence.answers
    for model, cells in graded.evidence.cells.items():
        entries = graded.evidence.submission.table[model]
        head = "".join(f'<th class="number">{c}</th>' for c in COLUMNS)
        rows = []
        for entry, row in zip(entries, cells, strict=True):
            shown = "".join(_cell(cell, answers) for cell in row.values())
            rows.append(f"<tr><th>{out(entry.layer, 'html')}</th>{shown}</tr>")
        table = f"<table><tr><th>layer</th>{head}</tr>{''.join(rows)}</table>"
        parts.append(f"<h3>{model}</h3>{table}")
    return "<h2>Your table</h2>" + "".join(parts) if parts else ""


def _cell(cell, answers: bool) -> str:
    if not cell.says:
        return f'<td class="number">{number(cell.yours)}</td>'
    kind = "follows" if cell.says.startswith("follows") else "wrong"
    says = f"{cell.says}; {number(cell.right)} is right" if answers else cell.says
    right = f" ({number(cell.right)})" if answers else ""
    return f'<td class="number {kind}" title="{out(says, "html")}">{number(cell.yours)}{right}</td>'


ADVICE = {
    "budget": "Count by hand (notebook 3): parameters grow with the square of the width.",
    "epochs": "Set `epochs` in training.toml, or leave the file out.",
    "accuracy": "A field of some 22 pixels before the mean, and four convolutions, cost no "
    "parameters (notebook 2c); then try BatchNorm, and separable convolutions for wider maps "
    "(notebook 3).",
    "honesty": "Train with validation=5000 and hand the runs in: runs/NAME/history.json.",
    "table": "Do the exercises of notebook 2b again; `python -m mnist_utils.describe` reads any "
    "network.",
    "steps": "One idea a model; in analysis.md a heading for each, with Target, Result, Analysis.",
}


def _advice(graded: Graded) -> str:
    missing = [m.name for m in graded.marks if m.points < m.of]
    if not missing:
        return "<p>Nothing: all points that the grader gives. Try fewer parameters.</p>"
    return "<ul>" + "".join(f"<li>{out(ADVICE[name], 'html')}</li>" for name in missing) + "</ul>"
