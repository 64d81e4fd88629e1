"""Reports: a page for a student, and the same as text and for Gradescope.

Whatever a student wrote goes out through `out`: it is shown, and does nothing.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape

import torch

from classroom.checks.recurrence import COLUMNS
from classroom.grade.grading import Graded
from classroom.grade.marks import Cell
from classroom.grade.rubric import Rubric
from classroom.grade.submission import printable
from mnist_utils import data, plots

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .3rem .7rem; border-bottom: 1px solid #8886; }
td, th { text-align: left; vertical-align: top; white-space: pre-line; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.wrong { background: #d55e0040; font-weight: 600; }
td.follows { background: #e69f0030; }
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
        return f"'{plain}" if plain[:1] in tuple("=+-@|%＝＋－＠") and plain != "-" else plain
    return plain


def text(graded: Graded) -> str:
    """For a terminal."""
    lines = [f"{graded.name}: {graded.points:g} of {graded.of:g} points"]
    for mark in graded.marks:
        said = mark.message.replace("\n", "\n" + " " * 20)
        lines.append(f"  {mark.name:9} {f'{mark.points:g}/{mark.of:g}':>6}  {said}")
    return out("\n".join(lines))


def to_json(grades: Sequence[Graded], rubric: Rubric) -> str:
    """A list, one object a submission: its marks, and what is left to the teacher."""
    teacher = [
        {"name": name, "of": of, "look_for": text} for name, (of, text) in rubric.teacher.items()
    ]
    rows = [
        {
            "submission": one.name, "points": one.points, "of": one.of,
            "checks": [asdict(mark) for mark in one.marks], "by_teacher": teacher,
        }
        for one in grades
    ]  # fmt: skip
    return json.dumps(rows, indent=1) + "\n"


def to_gradescope(graded: Graded) -> str:
    """One submission's `results.json`, as Gradescope reads it."""
    tests = [
        {"name": m.name, "score": m.points, "max_score": m.of, "output": out(m.message)}
        for m in graded.marks
    ]
    return json.dumps({"score": graded.points, "tests": tests}, indent=1) + "\n"


class Html(str):
    """A text that is HTML already."""


def cell(value: object, kind: str = "", title: str = "") -> Html:
    """A table's cell; numbers stand right."""
    if isinstance(value, float | int):
        kind, value = f"number {kind}".strip(), f"{value:g}"
    value = value if isinstance(value, Html) else out(value, "html")
    return Html(f'<td class="{kind}" title="{out(title, "html")}">{value}</td>')


def grid(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A table; a cell that was not made by `cell` is made so."""
    lines = [Html("".join(f"<th>{out(name, 'html')}</th>" for name in head))] * bool(head)
    for row in rows:
        made = (one if isinstance(one, Html) and one[:3] == "<td" else cell(one) for one in row)
        lines.append(Html("".join(made)))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table>{body}</table></div>'


def page(title: str, body: str) -> str:
    """A page, whole in itself."""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        f"<title>{out(title, 'html')}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>\n'
        f"{body}</html>\n"
    )


def to_html(grades: Sequence[Graded], rubric: Rubric, *, walled: bool = True) -> str:
    """Submissions, one after the other, each as its student gets it."""
    title = grades[0].name if len(grades) == 1 else f"{len(grades)} submissions"
    return page(title, "\n".join(section(graded, rubric, walled=walled) for graded in grades))


def section(graded: Graded, rubric: Rubric, *, walled: bool = True) -> str:
    """A student's page without its frame."""
    marks = [[m.name, f"{m.points:g} of {m.of:g}", m.message] for m in graded.marks]
    teacher = [[name, f"of {of:g}", text] for name, (of, text) in rubric.teacher.items()]
    advice = [out(ADVICE[m.name], "html") for m in graded.marks if m.points < m.of]
    advice = advice or ["Nothing: all points that the grader gives. Try fewer parameters."]
    how = "walled in (bubblewrap)" if walled else "within a limit of time, but not walled in"
    ran = (
        f"<p>Your code was run once, {how}, to describe your networks; the grader built and "
        "trained them itself.</p>"
    )
    return (
        f"<section><h1>{out(graded.name, 'html')}</h1>"
        f"<p>{graded.points:g} of {graded.of:g} points by the grader.</p>{grid(marks)}"
        f"{_curve(graded)}{_mistakes(graded)}{_tables(graded)}"
        f"<h2>What to do next</h2><ul><li>{'</li><li>'.join(advice)}</li></ul>"
        f"<h2>Left to your teacher</h2>{grid(teacher)}"
        f"{ran if graded.evidence.submission.code else ''}</section>"
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
    html = "<h2>Your table</h2>" if graded.evidence.cells else ""
    for model, cells in graded.evidence.cells.items():
        layers = [entry.layer for entry in graded.evidence.submission.table[model]]
        rows = [
            [layer, *(_entry(one, graded.evidence.answers) for one in row.values())]
            for layer, row in zip(layers, cells, strict=True)
        ]
        html += f"<h3>{model}</h3>{grid(rows, ['layer', *COLUMNS])}"
    return html


def _entry(entry: Cell, answers: bool) -> Html:
    kind = "follows" if entry.says.startswith("follows") else "wrong" if entry.says else ""
    right = f"; {entry.right:g} is right" if answers and kind else ""
    return cell(entry.yours, kind, entry.says + right)


ADVICE = {
    "budget": "Count by hand (notebook 3): parameters grow with the square of the width.",
    "epochs": "Set `epochs` in training.toml, or leave the file out.",
    "accuracy": "A field of some 22 pixels before the mean, and four convolutions, cost no "
    "parameters (notebook 2c); then try BatchNorm, and separable convolutions for wider maps "
    "(notebook 3).",
    "honesty": "Train with validation=5000 and hand the runs in: runs/NAME/history.json.",
    "table": "Do the exercises of notebook 2b again; `python -m receptive` reads any network.",
    "steps": "One idea a model; in analysis.md a heading for each, with Target, Result, Analysis.",
}
