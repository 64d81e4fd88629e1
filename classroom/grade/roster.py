"""A class: who handed in, the teacher's page and table, worksheets that go back to a platform.

A worksheet is the platform's own file, filled in: Moodle's grading worksheet or Canvas's gradebook,
given as the roster. Without one, it is made from the names of the folders.
"""

import csv
import io
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from classroom.grade.grading import Graded
from classroom.grade.report import Html, grid, out, page
from classroom.grade.rubric import Rubric
from classroom.grade.submission import clean, is_hand_in, read_file, read_table
from mnist_utils.errors import InputError

NAMES = ("full name", "student", "name", "vollständiger name", "studierende", "nom complet",
         "nombre completo", "nome completo")  # fmt: skip
PARTS_OF_NAMES = ("first name", "last name", "surname")
LOGINS = ("id number", "sis user id", "sis login id", "login", "username", "github_username",
          "email", "email address", "e-mail")  # fmt: skip
CANVAS_NAME = re.compile(r"[^_]+_(?:late_)?(\d+)_\d+_", re.IGNORECASE)  # and its student's number
OURS = ("folder", "submission", "by the grader", "total", "of")  # columns of class.csv
MOODLE = ("Identifier", "Full name", "Grade", "Last modified (grade)", "Feedback comments")
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
COLUMN = "A network for digits"  # in Canvas
FEW_WORDS = 20  # a text this short says nothing of copying


class Roster(NamedTuple):
    """A platform's table: its columns, and a line for each student."""

    columns: list[str]
    lines: list[dict[str, str]]


def hand_ins(folder: Path) -> list[Path]:
    """The folders and archives in a class's folder, one a student; InputError if there is none."""
    if not folder.is_dir():
        raise InputError(f"--class {folder} is not a folder; name the one with all hand-ins")
    ours = {"feedback", "grades"}  # if the class's folder is where the grader writes
    paths = sorted(one for one in folder.iterdir() if is_hand_in(one) and one.name not in ours)
    if not paths:
        raise InputError(f"--class {folder} holds no folder and no zip; each student has one")
    return paths


def read(path: Path) -> Roster:
    """A roster from a CSV file of any platform; InputError if there is none, or no names in it."""
    try:
        (columns, *rows), _ = read_table(read_file(path))
    except InputError as error:
        raise InputError(f"--roster {path} {error}") from None
    if not {*NAMES, *PARTS_OF_NAMES} & {name.lower() for name in columns}:
        raise InputError(f"--roster {path}: no column is called {', '.join(NAMES)}")
    lines = [dict(zip(columns, [*row, *[""] * len(columns)], strict=False)) for row in rows]
    return Roster(columns, [line for line in lines if any(line.values())])


def name_of(line: dict[str, str]) -> str:
    """A student's name in a roster's line."""
    lower = {key.lower(): value for key, value in line.items()}
    whole = next((lower[key] for key in NAMES if lower.get(key)), "")
    return clean(whole or " ".join(lower.get(key, "") for key in PARTS_OF_NAMES))


def matched(roster: Roster, grades: Sequence[Graded]) -> dict[int, Graded]:
    """Line of the roster -> what was handed in; what fits two, or is fitted by two, fits nobody.

    A platform's number at its place in the name decides alone: the rest of such a name is the
    student's. Otherwise the login or the e-mail decides, whole or behind what most begin with
    (`digits-`), then the name. Of two folders of one number the only one with a model.py is taken.
    """
    result, left, prefix = {}, list(grades), _prefix(roster, grades)
    for fits in (_by_number, lambda line, graded: _by_login(line, graded, prefix), _by_name):
        lines = [at for at in range(len(roster.lines)) if at not in result]
        pairs = [(at, one) for at in lines for one in left if fits(roster.lines[at], one)]
        own = Counter(at for at, one in pairs if one.evidence.submission.code)
        pairs = [
            (at, one) for at, one in pairs
            if fits is not _by_number or own[at] != 1 or one.evidence.submission.code
        ]  # fmt: skip
        times = Counter(at for at, _ in pairs) + Counter(id(one) for _, one in pairs)
        for at, one in pairs:
            if one in left:
                left.remove(one)
            if times[at] == times[id(one)] == 1:
                result[at] = one
    return result


def _cells(line: dict[str, str], names: Sequence[str]) -> list[str]:
    return [value.casefold() for key, value in line.items() if key.lower() in names and value]


def _stem(graded: Graded) -> str:
    name = graded.evidence.submission.path.name.casefold().removesuffix(".zip")
    return unicodedata.normalize("NFKC", name)


def _by_number(line: dict[str, str], graded: Graded) -> bool:
    """The number that Moodle, Canvas or Gradescope wrote for its student."""
    submission, stem = graded.evidence.submission, _stem(graded)
    canvas, gradescope = CANVAS_NAME.match(stem), re.fullmatch(r"submission_(\d+)", stem)
    return (
        (bool(submission.participant)
        and f"participant {submission.participant}" in _cells(line, ("identifier",)))
        or (bool(canvas) and canvas[1] in _cells(line, ("id",)))
        or (bool(gradescope) and gradescope[1] in _cells(line, ("submission id",)))
    )  # fmt: skip


def _logins(line: dict[str, str]) -> list[str]:
    return [key for key in _cells(line, LOGINS) if not key.isdecimal()]


def _prefix(roster: Roster, grades: Sequence[Graded]) -> str:
    """What stands before the logins in most of a class's names: GitHub's `digits-`, or nothing."""
    keys = [key for line in roster.lines for key in _logins(line)]
    ends = (
        (stem.removesuffix(key), key) for stem in map(_stem, grades) for key in keys
        if stem.endswith(f"-{key}")
    )  # fmt: skip
    counts = Counter(prefix for prefix, _ in ends)
    return min(counts, key=lambda prefix: (-counts[prefix], len(prefix)), default="")


def _by_login(line: dict[str, str], graded: Graded, prefix: str) -> bool:
    """A login or an e-mail is the whole name, or all behind the class's prefix."""
    stem = _stem(graded)
    if graded.evidence.submission.participant or CANVAS_NAME.match(stem):
        return False
    return bool({stem, stem.removeprefix(prefix)} & {*_logins(line)})


def _by_name(line: dict[str, str], graded: Graded) -> bool:
    """Word by word in their order; `Last, First` either way. Canvas writes both as one word."""
    name = name_of(line)
    parts = [part for part in name.split(",") if part.strip()]
    orders = {tuple(_words(" ".join(order))) for order in (parts, parts[::-1])}
    if CANVAS_NAME.match(_stem(graded)):
        words = _words(name)
        orders.add((*words[-1:], *words[:-1]))
        return bool(name) and _stem(graded).partition("_")[0] in map("".join, orders)
    return bool(name) and tuple(_words(graded.name)) in orders


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


class Before(NamedTuple):
    """An earlier class.csv: by folder and column what stands there, the teacher's points too."""

    points: dict[str, dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Before":
        """As a spreadsheet saved it; nothing if it is not there."""
        if not path.exists():
            return cls({})
        try:
            (columns, *rows), _ = read_table(read_file(path))
        except InputError as error:
            raise InputError(f"{path} {error}") from None
        lines = [dict(zip(columns, row, strict=False)) for row in rows]
        return cls({_key(line.get("folder", "")): line for line in lines})

    def of(self, graded: Graded, rubric: Rubric) -> dict[str, str]:
        """The teacher's own points for a submission."""
        line = self.points.get(_key(graded.evidence.submission.path.name), {})
        return {name: line.get(name, "").lstrip("'") for name in rubric.teacher}

    def lost(self, grades: Sequence[Graded], rubric: Rubric) -> bool:
        """Whether a cell belongs to a folder or a column that is no longer there."""
        ours = {*rubric.points, *OURS}
        kept = {_key(one.evidence.submission.path.name) for one in grades}
        return any(
            value and name not in ours and (folder not in kept or name not in rubric.teacher)
            for folder, line in self.points.items() for name, value in line.items()
        )  # fmt: skip

    def odd(self, grades: Sequence[Graded], rubric: Rubric) -> list[str]:
        """What a teacher wrote that is not points, or more than there are."""
        return [
            f"{one.name}, {name}: {value!r} is not a number from 0 to {rubric.teacher[name][0]:g}"
            for one in grades for name, value in self.of(one, rubric).items()
            if value and not 0 <= _points(value) <= rubric.teacher[name][0]
        ]  # fmt: skip


def _key(folder: str) -> str:
    """A folder as it stands in a table; a spreadsheet makes 12 of 0012."""
    return out(folder, "csv").lstrip("'0") or "0"


def _points(text: str) -> float:
    """A cell as a number; nan if it is none."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


NOTHING = Before({})


def total(graded: Graded, own: dict[str, str]) -> float:
    """The grader's points, and the teacher's as far as they are there."""
    return graded.points + sum(filter(math.isfinite, map(_points, own.values())))


def to_csv(grades: Sequence[Graded], rubric: Rubric, before: Before = NOTHING) -> str:
    """The class, one line a submission; the teacher's columns are kept as they were filled in."""
    most = sum(rubric.points.values()) + sum(of for of, _ in rubric.teacher.values())
    rows = [[*OURS[:2], *rubric.points, *rubric.teacher, *OURS[2:]]]
    for graded in grades:
        own, folder = before.of(graded, rubric), graded.evidence.submission.path.name
        sums = [graded.points, total(graded, own), most]
        mine = [_points(text) if math.isfinite(_points(text)) else text for text in own.values()]
        rows.append([folder, graded.name, *(m.points for m in graded.marks), *mine, *sums])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [f"{one:g}" if isinstance(one, int | float) else out(one, "csv") for one in row]
        for row in rows
    )
    return written.getvalue()


def worksheets(
    grades: Sequence[Graded], rubric: Rubric, roster: Roster | None, before: Before = NOTHING
) -> dict[str, str]:
    """moodle.csv and canvas.csv, ready to be imported."""
    of_line = matched(roster, grades) if roster else dict(enumerate(grades))
    lines = roster.lines if roster else [_line(graded) for graded in grades]
    columns = roster.columns if roster else [*MOODLE, *CANVAS]
    sheets = {}
    for file, wanted, column in (("moodle.csv", MOODLE, "Grade"), ("canvas.csv", CANVAS, COLUMN)):
        if not {wanted[0], column if wanted is MOODLE else "ID"} <= {*columns}:
            continue
        column = next((one for one in columns if one.startswith(f"{COLUMN} (")), column)
        kept = [
            name for name in columns if name in (*wanted, column) or (roster and wanted is MOODLE)
        ]
        rows = [[*kept, *[column] * (column not in kept)]]
        for at, line in enumerate(lines):
            if graded := of_line.get(at):
                line = line | {column: total(graded, before.of(graded, rubric))}
                line["Feedback comments"] = "; ".join(
                    f"{m.name} {m.points:g}/{m.of:g}: {m.message}" for m in graded.marks
                )
            rows.append([line.get(name, "") for name in rows[0]])
        sheets[file] = _csv(rows)
    return sheets


def _line(graded: Graded) -> dict[str, str]:
    """A line for somebody whom only a folder names."""
    submission = graded.evidence.submission
    canvas = CANVAS_NAME.match(submission.path.name)
    number = submission.participant
    return {
        "Identifier": f"Participant {number}" if number else submission.name,
        "Full name": submission.name, "Last modified (grade)": "-",
        "Student": submission.name, "ID": canvas[1] if canvas else "",
    }  # fmt: skip


def beliefs(grades: Sequence[Graded]) -> list[tuple[str, int, str]]:
    """Mistakes in the tables, the most frequent first: which, of how many students, and where."""
    who, where = defaultdict(set), defaultdict(Counter)
    for graded in grades:
        for belief, row in graded.evidence.beliefs:
            who[belief].add(id(graded))
            where[belief][row] += 1
    return [
        (belief, len(who[belief]), ", ".join(f"{row} ({n})" for row, n in rows.most_common(4)))
        for belief, rows in sorted(where.items(), key=lambda one: -len(who[one[0]]))
    ]


def alike(grades: Sequence[Graded]) -> list[tuple[str, list[str]]]:
    """What is the same in several hand-ins, and in whose."""
    groups = defaultdict(list)
    for graded in grades:
        submission, networks = graded.evidence.submission, graded.evidence.networks
        words = _words(submission.analysis)
        kinds = {
            "networks": sorted(about["fingerprint"] for about in networks.values()),
            "tables": [(m, e.window, e.row) for m, rows in submission.table.items() for e in rows],
            "texts": words if len(words) > FEW_WORDS else [],
        }
        for kind, key in kinds.items():
            groups[kind, tuple(key)].append(graded.name)
    return [(kind, names) for (kind, key), names in groups.items() if key and len(names) > 1]


def to_html(
    grades: Sequence[Graded],
    rubric: Rubric,
    roster: Roster | None,
    pages: Sequence[str],
    before: Before,
) -> str:
    """The teacher's page: points, who is missing, which beliefs led astray, what is alike."""
    rows = []
    for graded, link in zip(grades, pages, strict=True):
        own = before.of(graded, rubric)
        who = Html(f'<a href="{out(link, "html")}">{out(graded.name, "html")}</a>')
        points = (mark.points for mark in graded.marks)
        rows.append([who, *points, *own.values(), total(graded, own)])
    there = matched(roster, grades) if roster else {}
    lines = enumerate(roster.lines if roster else ())
    missing = [name_of(line) for at, line in lines if at not in there]
    missing = [name for name in missing if name and "points possible" not in name.lower()]
    unknown = [one.name for one in grades if roster and one not in there.values()]
    groups = [(kind, ", ".join(names)) for kind, names in alike(grades)]
    tables = {
        "The class": (rows, ["submission", *rubric.points, *rubric.teacher, "total"]),
        "Nothing handed in": ([[name] for name in missing], ()),
        "No line of the roster, or two": ([[name] for name in unknown], ()),
        "What the tables believe": (
            beliefs(grades), ["mistake", f"students of {len(grades)}", "where"]
        ),
        "The same in several hand-ins": (groups, ["what", "whose"]),
    }  # fmt: skip
    body = "".join(f"<h2>{title}</h2>{grid(*table)}" for title, table in tables.items() if table[0])
    text = "Your own points go into class.csv: write them there, run the same command again, and "
    return page("The class", f"{body}<p>{text}they are in every total.</p>")
