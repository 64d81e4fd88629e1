"""A class: who handed in, the teacher's page and table, worksheets that go back to a platform.

A worksheet is the platform's own file, filled in: Moodle's grading worksheet or Canvas's gradebook,
given as the roster. Without one, it is made from the names of the folders.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mnist_utils.errors import InputError
from mnist_utils.grade.grading import Graded
from mnist_utils.grade.report import grid, number, out, page
from mnist_utils.grade.rubric import Rubric
from mnist_utils.grade.submission import MODELS, clean, is_hand_in, read_file

NAMES = ("full name", "student", "name")
PARTS_OF_NAMES = ("last name", "surname", "first name")
KEYS = ("identifier", "id", "id number", "sis user id", "sis login id", "login", "username",
        "github_username", "email", "email address", "e-mail")  # fmt: skip
MOODLE = ("Identifier", "Full name", "Grade", "Last modified (grade)", "Feedback comments")
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
COLUMN = "A network for digits"  # in Canvas
FEW_WORDS = 20  # a text this short says nothing of copying


class Roster(NamedTuple):
    """A platform's table: its columns, and a line for each student."""

    columns: list[str]
    lines: list[dict[str, str]]


def hand_ins(folder: Path) -> list[Path]:
    """The folders and archives in a class's folder, one a student.

    Raises
    ------
    InputError
        No folder, or nothing in it.
    """
    if not folder.is_dir():
        raise InputError(f"--class {folder} is not a folder; name the one with all hand-ins")
    found = sorted(path for path in folder.iterdir() if is_hand_in(path))
    if not found:
        raise InputError(f"--class {folder} holds no folder and no zip; each student has one")
    return found


def read(path: Path) -> Roster:
    """A roster from a CSV file of any platform.

    Raises
    ------
    InputError
        No such file, or no column with names.
    """
    try:
        text = read_file(path).decode("utf-8-sig")
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"--roster {path} {error}") from None
    rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text[:2_000].count)))
    columns = [name.strip() for name in rows[0]] if rows else []
    if not {*NAMES, *PARTS_OF_NAMES} & {name.lower() for name in columns}:
        raise InputError(f"--roster {path}: no column is called {', '.join(NAMES)}")
    lines = [dict(zip(columns, [*row, *[""] * len(columns)], strict=False)) for row in rows[1:]]
    return Roster(columns, [line for line in lines if any(line.values())])


def name_of(line: dict[str, str]) -> str:
    """A student's name in a roster's line."""
    lower = {key.lower(): value for key, value in line.items()}
    whole = next((lower[key] for key in NAMES if lower.get(key, "").strip()), "")
    return clean(whole or " ".join(lower[key] for key in reversed(PARTS_OF_NAMES) if key in lower))


def matched(roster: Roster, found: Sequence[Graded]) -> dict[int, Graded]:
    """Line of the roster -> what was handed in, by number, e-mail or name."""
    result = {}
    for graded in found:
        stem = graded.evidence.submission.path.name.removesuffix(".zip").casefold()
        words = {*re.split(r"[^\w@.+-]|_", stem), *re.findall(r"[^\W_]+", stem)}
        name = _words(graded.name)
        for at, line in enumerate(roster.lines):
            keys = {v.casefold().strip().removeprefix("participant ")
                    for k, v in line.items() if k.lower() in KEYS}  # fmt: skip
            joined = "".join(_words(name_of(line), in_order=True))
            if at not in result and (
                (keys - {""}) & (words | {stem})
                or (name and name == _words(name_of(line)))
                or (joined and joined in words)
            ):
                result[at] = graded
                break
    return result


def _words(name: str, in_order: bool = False):
    words = re.findall(r"\w+", name.casefold().replace("_", " "))
    return words if in_order else frozenset(words)


def totals(found: Sequence[Graded], rubric: Rubric, before: str) -> dict[str, dict[str, str]]:
    """Name -> the teacher's own points by column, as they stand in an earlier class.csv."""
    kept = {row.get("submission", ""): row for row in csv.DictReader(io.StringIO(before))}
    return {
        graded.name: {
            name: kept.get(out(graded.name, "csv"), {}).get(name) or "" for name in rubric.teacher
        }
        for graded in found
    }


def total(graded: Graded, own: dict[str, str]) -> float:
    """The grader's points, and the teacher's as far as they are there."""
    points = graded.points
    for value in own.values():
        try:
            points += float(value.replace(",", "."))
        except ValueError:
            continue
    return points


def to_csv(found: Sequence[Graded], rubric: Rubric, before: str = "") -> str:
    """The class, one line a submission; the teacher's columns are kept as they were filled in."""
    names, own = [*rubric.points, *rubric.teacher], totals(found, rubric, before)
    rows = [["submission", *names, "by the grader", "total", "of"]]
    most = sum(rubric.points.values()) + sum(of for of, _ in rubric.teacher.values())
    for graded in found:
        points = {mark.name: number(mark.points) for mark in graded.marks} | own[graded.name]
        sums = number(graded.points), number(total(graded, own[graded.name])), number(most)
        rows.append([graded.name, *(points[one] for one in names), *sums])
    return _table(rows)


def _table(rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [out(cell, "csv") for cell in row] for row in rows
    )
    return written.getvalue()


def comment(graded: Graded) -> str:
    """Points and reasons in a line, for a platform's column of comments."""
    return "; ".join(
        f"{m.name} {number(m.points)}/{number(m.of)}: {' '.join(m.message.split())}"
        for m in graded.marks
    )


def worksheets(
    found: Sequence[Graded], rubric: Rubric, roster: Roster | None, before: str = ""
) -> dict[str, str]:
    """moodle.csv and canvas.csv, ready to be imported."""
    own = totals(found, rubric, before)
    of_line = matched(roster, found) if roster else dict(enumerate(found))
    lines = roster.lines if roster else [_line(graded) for graded in found]
    columns = roster.columns if roster else [*MOODLE, *CANVAS]
    sheets = {}
    for file, needed, column in (("moodle.csv", MOODLE, "Grade"), ("canvas.csv", CANVAS, COLUMN)):
        if roster and not {needed[0], needed[2 if needed is MOODLE else 1]} <= {*columns}:
            continue
        kept = [name for name in columns if name in needed or (roster and needed is MOODLE)]
        kept += [column] * (column not in kept)
        rows = []
        for at, line in enumerate(lines):
            filled = dict(line)
            if graded := of_line.get(at):
                filled[column] = number(total(graded, own[graded.name]))
                filled |= {"Feedback comments": comment(graded)}
            rows.append([filled.get(name, "") for name in kept])
        sheets[file] = _table([kept, *rows])
    return sheets


def _line(graded: Graded) -> dict[str, str]:
    """A line for somebody whom only a folder names."""
    given = graded.evidence.submission
    canvas = re.match(r"[^_]+_(?:late_)?(\d+)_\d+_", given.path.name, re.IGNORECASE)
    return {
        "Identifier": f"Participant {given.participant}" if given.participant else given.name,
        "Full name": given.name, "Last modified (grade)": "-",
        "Student": given.name, "ID": canvas[1] if canvas else "",
    }  # fmt: skip


def beliefs(found: Sequence[Graded]) -> list[tuple[str, int, str]]:
    """Mistakes in the tables, the most frequent first: which, of how many students, and where."""
    who, where = defaultdict(set), defaultdict(Counter)
    for at, graded in enumerate(found):
        for belief, row in graded.evidence.beliefs:
            who[belief].add(at)
            where[belief][row] += 1
    return [
        (
            belief,
            len(who[belief]),
            ", ".join(f"{row} ({n})" for row, n in where[belief].most_common(4)),
        )
        for belief in sorted(who, key=lambda belief: -len(who[belief]))
    ]


def alike(found: Sequence[Graded]) -> list[tuple[str, list[str]]]:
    """What is the same in several hand-ins, and in whose."""
    groups = defaultdict(list)
    for graded in found:
        given, networks = graded.evidence.submission, graded.evidence.networks
        words = tuple(re.findall(r"\w+", given.analysis.casefold()))
        kinds = {
            "networks": tuple(sorted(networks[m]["fingerprint"] for m in MODELS if m in networks)),
            "tables": tuple((m, e.window, e.row) for m, rows in given.table.items() for e in rows),
            "texts": words if len(words) > FEW_WORDS else (),
        }
        for kind, key in kinds.items():
            if key:
                groups[kind, key].append(graded.name)
    return [(kind, names) for (kind, _), names in groups.items() if len(names) > 1]


def to_html(
    found: Sequence[Graded],
    rubric: Rubric,
    roster: Roster | None,
    pages: Sequence[str],
    before: str,
) -> str:
    """The teacher's page: points, who is missing, which beliefs led astray, what is alike."""
    own, names = totals(found, rubric, before), [*rubric.points]
    rows = []
    for graded, link in zip(found, pages, strict=True):
        points = {mark.name: number(mark.points) for mark in graded.marks}
        mine = own[graded.name]
        who = f'<a href="{out(link, "html")}">{out(graded.name, "html")}</a>'
        cells = [points[one] for one in names] + [out(mine[one], "html") for one in rubric.teacher]
        rows.append([who, number(total(graded, mine)), *cells])
    head = ["submission", "total", *names, *(out(one, "html") for one in rubric.teacher)]
    body = f"<h1>The class</h1>{grid(head, rows)}<p>Your own points go into class.csv: write them "
    body += "there, run the same command again, and they are in every total.</p>"
    if roster:
        there = matched(roster, found)
        missing = [name_of(one) for at, one in enumerate(roster.lines) if at not in there]
        unknown = [g.name for g in found if not any(g is one for one in there.values())]
        for title, who in (("Nothing handed in", missing), ("Not on the roster", unknown)):
            if who := [name for name in who if name and "points possible" not in name.lower()]:
                body += f"<h2>{title}</h2><p>{out(', '.join(who), 'html')}</p>"
    if mistakes := beliefs(found):
        of = len(found)
        cells = [
            [out(what, "html"), f"{n} of {of}", out(where, "html")] for what, n, where in mistakes
        ]
        body += "<h2>What the tables believe</h2>" + grid(["mistake", "students", "where"], cells)
    if same := alike(found):
        cells = [[kind, out(", ".join(names), "html")] for kind, names in same]
        body += "<h2>The same in several hand-ins</h2>" + grid(["what", "whose"], cells)
    return page("The class", body)
