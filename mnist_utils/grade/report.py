"""Reports: a page for a student, a table of the class, and the same as text, JSON and CSV.

Whatever a student wrote is escaped: a page shows it, and does not run it.
"""

import base64
import csv
import io
import json
from collections.abc import Sequence
from html import escape

from mnist_utils import plots
from mnist_utils.checks.recurrence import COLUMNS
from mnist_utils.grade import sandbox
from mnist_utils.grade.grading import Graded
from mnist_utils.grade.rubric import Rubric

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
img { max-width: 100%; }
"""


def number(value: float) -> str:
    """7.5 as `7.5`, 10.0 as `10`."""
    return f"{value:g}"


def text(graded: Graded) -> str:
    """For a terminal."""
    lines = [f"{graded.name}: {number(graded.points)} of {number(graded.of)} points"]
    for mark in graded.marks:
        first, *more = mark.message.splitlines()
        points = f"{number(mark.points)}/{number(mark.of)}"
        lines += [f"  {mark.name:9} {points:>6}  {first}", *(f"{'':20}{line}" for line in more)]
    return "\n".join(lines)


def to_json(found: Sequence[Graded], rubric: Rubric) -> str:
    """A list, one object a submission."""
    return json.dumps([graded.to_dict(rubric) for graded in found], indent=1) + "\n"


def to_csv(found: Sequence[Graded], rubric: Rubric) -> str:
    """The class, one line a submission; the teacher's columns are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [*rubric.points, *rubric.teacher]
    writer.writerow(["submission", *names, "by the grader", "of"])
    for graded in found:
        points = {mark.name: number(mark.points) for mark in graded.marks}
        name = graded.name
        name = f"'{name}" if name[:1] in "=+-@" else name  # a spreadsheet would run it
        row = [name, *(points.get(one, "") for one in names)]
        writer.writerow([*row, number(graded.points), number(graded.of)])
    return out.getvalue()


def to_html(found: Sequence[Graded], rubric: Rubric) -> str:
    """One page, whole in itself: the class, if there are several, then each submission."""
    parts = [_class(found)] if len(found) > 1 else []
    parts += [_submission(graded, rubric, number) for number, graded in enumerate(found)]
    title = found[0].name if len(found) == 1 else f"{len(found)} submissions"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "</html>\n"
    )


def _row(cells: Sequence[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _class(found: Sequence[Graded]) -> str:
    names = [mark.name for mark in found[0].marks]
    head = _row(["submission", *names, "points"], "th")
    rows = [
        _row([
            f'<a href="#s{at}">{escape(graded.name)}</a>',
            *(number(mark.points) for mark in graded.marks),
            f"{number(graded.points)} of {number(graded.of)}",
        ])
        for at, graded in enumerate(found)
    ]  # fmt: skip
    return f"<h1>The class</h1><table>{head}{''.join(rows)}</table>"


def _submission(graded: Graded, rubric: Rubric, at: int) -> str:
    points = f"{number(graded.points)} of {number(graded.of)} points by the grader"
    rows = "".join(
        f'<tr><th>{escape(mark.name)}</th><td class="number">{number(mark.points)} of '
        f'{number(mark.of)}</td><td class="message">{escape(mark.message)}</td></tr>'
        for mark in graded.marks
    )
    teacher = "".join(
        f'<tr><th>{escape(name)}</th><td class="number">of {number(of)}</td>'
        f"<td>{escape(look_for)}</td></tr>"
        for name, (of, look_for) in rubric.teacher.items()
    )
    return (
        f'<section id="s{at}"><h1>{escape(graded.name)}</h1><p>{points}.</p>'
        f"<table>{rows}</table>{_curve(graded)}{_tables(graded)}"
        f"<h2>What to do next</h2>{_advice(graded)}"
        f"<h2>Left to your teacher</h2><table>{teacher}</table>"
        f"<p>{escape(_wall())}</p></section>"
    )


def _wall() -> str:
    if sandbox.walls() == "bubblewrap":
        return (
            "Your code was run once, walled in (bubblewrap), to describe your networks; the grader "
            "built and trained them itself."
        )
    return (
        "Your code was run once, to describe your networks, within limits of time and memory but "
        "not walled in: bubblewrap is not available here. The grader built and trained them itself."
    )


def _curve(graded: Graded) -> str:
    """Validation accuracy by epoch, one line a seed."""
    runs = [one["epochs"] for one in graded.evidence.trainings if "epochs" in one]
    if not runs:
        return ""
    series = {
        f"seed {seed}": [row["held_out_accuracy"] for row in rows] for seed, rows in enumerate(runs)
    }
    axes = plots.lines(
        range(1, len(runs[0]) + 1), series, ylabel="validation accuracy", percent=True
    )
    alt = f"Validation accuracy of Model3 by epoch, {len(runs)} seeds."
    code = base64.b64encode(plots.show(axes, alt).data).decode()
    return f'<h2>How Model3 learnt</h2><img alt="{alt}" src="data:image/png;base64,{code}">'


def _tables(graded: Graded) -> str:
    """fields.csv with its wrong entries marked."""
    parts = []
    for model, cells in graded.evidence.cells.items():
        entries = graded.evidence.submission.table[model]
        head = "".join(f'<th class="number">{escape(c)}</th>' for c in COLUMNS)
        rows = []
        for entry, row in zip(entries, cells, strict=True):
            shown = "".join(_cell(cell) for cell in row.values())
            rows.append(f"<tr><th>{escape(entry.layer)}</th>{shown}</tr>")
        table = f"<table><tr><th>layer</th>{head}</tr>{''.join(rows)}</table>"
        parts.append(f"<h3>{escape(model)}</h3>{table}")
    return "<h2>Your table</h2>" + "".join(parts) if parts else ""


def _cell(cell) -> str:
    if not cell.says:
        return f'<td class="number">{number(cell.yours)}</td>'
    kind = "follows" if cell.says.startswith("follows") else "wrong"
    says = f"{cell.says}; {number(cell.right)} is right"
    return (
        f'<td class="number {kind}" title="{escape(says)}">{number(cell.yours)} '
        f"({number(cell.right)})</td>"
    )


ADVICE = {
    "budget": "Count by hand (notebook 3): parameters grow with the square of the width.",
    "epochs": "Set `epochs` in training.toml, or leave the file out.",
    "accuracy": "Before the mean a unit should see most of the digit (notebook 2b); then try "
    "BatchNorm, and separable convolutions for wider maps (notebook 3).",
    "honesty": "Train with validation=5000 and hand the runs in: runs/NAME/history.json.",
    "table": "Do the exercises of notebook 2b again; `python -m mnist_utils.describe` reads any "
    "network.",
    "steps": "One idea a model; in analysis.md a heading for each, with Target, Result, Analysis.",
}


def _advice(graded: Graded) -> str:
    missing = [m.name for m in graded.marks if m.points < m.of]
    if not missing:
        return "<p>Nothing: all points that the grader gives. Try fewer parameters.</p>"
    return "<ul>" + "".join(f"<li>{escape(ADVICE[name])}</li>" for name in missing) + "</ul>"
