"""A class: who handed in, the teacher's page and table, worksheets that go back to a platform.

A worksheet is the platform's own file, filled in: Moodle's grading worksheet or Canvas's gradebook,
given as the roster. Without one, it is made from the names of the folders.
"""

import csv
import io
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mnist_utils.errors import InputError
from mnist_utils.grade.grading import Graded
from mnist_utils.grade.report import Html, grid, out, page
from mnist_utils.grade.rubric import Rubric
from mnist_utils.grade.submission import clean, is_hand_in, read_file, read_table

NAMES = ("full name", "student", "name")
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
    if not (found := sorted(filter(is_hand_in, folder.iterdir()))):
        raise InputError(f"--class {folder} holds no folder and no zip; each student has one")
    return found


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


def matched(roster: Roster, found: Sequence[Graded]) -> dict[int, Graded]:
    """Line of the roster -> what was handed in; what fits two, or is fitted by two, fits nobody.

    A platform's number at its place in the name decides alone: the rest of such a name is the
    student's. Otherwise the login or the e-mail, whole or at the end, then the name.
    """
    result, left = {}, dict(enumerate(found))
    for fits in (_by_number, _by_login, _by_name):
        lines = {at: line for at, line in enumerate(roster.lines) if at not in result}
        pairs = []
        for number, graded in left.items():
            measure = {at: fits(line, graded) for at, line in lines.items()}
            best = max(measure.values(), default=0)
            pairs += [(at, number) for at, much in measure.items() if much and much == best]
        lines, numbers = Counter(at for at, _ in pairs), Counter(number for _, number in pairs)
        for at, number in pairs:
            if lines[at] == numbers[number] == 1:
                result[at] = left.pop(number)
            else:
                left.pop(number, None)
    return result


def _cells(line: dict[str, str], names: Sequence[str]) -> list[str]:
    return [value.casefold() for key, value in line.items() if key.lower() in names and value]


def _by_number(line: dict[str, str], graded: Graded) -> int:
    """Moodle's participant or Canvas's student, by the number that the platform wrote."""
    given = graded.evidence.submission
    canvas = CANVAS_NAME.match(given.path.name)
    return (
        bool(given.participant)
        and f"participant {given.participant}" in _cells(line, ("identifier",))
    ) or (bool(canvas) and canvas[1] in _cells(line, ("id",)))


def _by_login(line: dict[str, str], graded: Graded) -> int:
    """Letters of the longest login that is the name of a folder, or its end behind a hyphen."""
    stem = graded.evidence.submission.path.name.removesuffix(".zip").casefold()
    if graded.evidence.submission.participant or CANVAS_NAME.match(stem):
        return 0
    keys = [key for key in _cells(line, LOGINS) if not key.isdecimal()]
    return max((len(key) for key in keys if stem == key or stem.endswith(f"-{key}")), default=0)


def _by_name(line: dict[str, str], graded: Graded) -> int:
    """By letters and digits alone, in their order; `Last, First` either way, as Canvas has it."""
    stem = graded.evidence.submission.path.name
    parts = [part for part in name_of(line).split(",") if part.strip()]
    whole = {"".join(map("".join, map(_words, order))) for order in (parts, parts[::-1])}
    given = stem.partition("_")[0] if CANVAS_NAME.match(stem) else graded.name
    words = _words(name_of(line))
    turned = words[-1:] + words[:-1] if CANVAS_NAME.match(stem) else words
    return bool(words) and "".join(_words(given)) in whole | {"".join(turned)}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


class Before(NamedTuple):
    """An earlier class.csv: by folder and column what stands there, the teacher's points too."""

    points: dict[str, dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Before":
        """As a spreadsheet saved it; nothing if it is not there."""
        if not path.exists():
            return cls({})
        (columns, *rows), _ = read_table(read_file(path))
        lines = [dict(zip(columns, row, strict=False)) for row in rows]
        return cls({line.get("folder", str(at)): line for at, line in enumerate(lines)})

    def of(self, graded: Graded, rubric: Rubric) -> dict[str, str]:
        """The teacher's own points for a submission."""
        line = self.points.get(out(graded.evidence.submission.path.name, "csv"), {})
        return {name: line.get(name, "") for name in rubric.teacher}

    def lost(self, found: Sequence[Graded], rubric: Rubric) -> bool:
        """Whether points stand there that belong to none of these hand-ins or columns."""
        ours = {*rubric.points, *OURS}
        kept = {out(one.evidence.submission.path.name, "csv") for one in found}
        return any(
            value and name not in ours and (folder not in kept or name not in rubric.teacher)
            for folder, line in self.points.items() for name, value in line.items()
        )  # fmt: skip


NOTHING = Before({})


def total(graded: Graded, own: dict[str, str]) -> float:
    """The grader's points, and the teacher's as far as they are there."""
    points = graded.points
    for value in own.values():
        with suppress(ValueError):
            value = float(value.replace(",", "."))
            points += value if math.isfinite(value) else 0
    return points


def to_csv(found: Sequence[Graded], rubric: Rubric, before: Before = NOTHING) -> str:
    """The class, one line a submission; the teacher's columns are kept as they were filled in."""
    most = sum(rubric.points.values()) + sum(of for of, _ in rubric.teacher.values())
    rows = [[*OURS[:2], *rubric.points, *rubric.teacher, *OURS[2:]]]
    for graded in found:
        own, folder = before.of(graded, rubric), graded.evidence.submission.path.name
        sums = [graded.points, total(graded, own), most]
        rows.append([folder, graded.name, *(m.points for m in graded.marks), *own.values(), *sums])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [f"{one:g}" if isinstance(one, int | float) else out(one, "csv") for one in row]
        for row in rows
    )
    return written.getvalue()


def worksheets(
    found: Sequence[Graded], rubric: Rubric, roster: Roster | None, before: Before = NOTHING
) -> dict[str, str]:
    """moodle.csv and canvas.csv, ready to be imported."""
    of_line = matched(roster, found) if roster else dict(enumerate(found))
    lines = roster.lines if roster else [_line(graded) for graded in found]
    columns = roster.columns if roster else [*MOODLE, *CANVAS]
    sheets = {}
    for file, wanted, column in (("moodle.csv", MOODLE, "Grade"), ("canvas.csv", CANVAS, COLUMN)):
        if not {wanted[0], column if wanted is MOODLE else "ID"} <= {*columns}:
            continue
        kept = [name for name in columns if name in wanted or (roster and wanted is MOODLE)]
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
    given = graded.evidence.submission
    canvas = CANVAS_NAME.match(given.path.name)
    return {
        "Identifier": f"Participant {given.participant}" if given.participant else given.name,
        "Full name": given.name, "Last modified (grade)": "-",
        "Student": given.name, "ID": canvas[1] if canvas else "",
    }  # fmt: skip


def beliefs(found: Sequence[Graded]) -> list[tuple[str, int, str]]:
    """Mistakes in the tables, the most frequent first: which, of how many students, and where."""
    who, where = defaultdict(set), defaultdict(Counter)
    for graded in found:
        for belief, row in graded.evidence.beliefs:
            who[belief].add(id(graded))
            where[belief][row] += 1
    return [
        (belief, len(who[belief]), ", ".join(f"{row} ({n})" for row, n in rows.most_common(4)))
        for belief, rows in sorted(where.items(), key=lambda one: -len(who[one[0]]))
    ]


def alike(found: Sequence[Graded]) -> list[tuple[str, list[str]]]:
    """What is the same in several hand-ins, and in whose."""
    groups = defaultdict(list)
    for graded in found:
        given, networks = graded.evidence.submission, graded.evidence.networks
        words = _words(given.analysis)
        kinds = {
            "networks": sorted(about["fingerprint"] for about in networks.values()),
            "tables": [(m, e.window, e.row) for m, rows in given.table.items() for e in rows],
            "texts": words if len(words) > FEW_WORDS else [],
        }
        for kind, key in kinds.items():
            groups[kind, tuple(key)].append(graded.name)
    return [(kind, names) for (kind, key), names in groups.items() if key and len(names) > 1]


def to_html(
    found: Sequence[Graded],
    rubric: Rubric,
    roster: Roster | None,
    pages: Sequence[str],
    before: Before,
) -> str:
    """The teacher's page: points, who is missing, which beliefs led astray, what is alike."""
    rows = []
    for graded, link in zip(found, pages, strict=True):
        own = before.of(graded, rubric)
        who = Html(f'<a href="{out(link, "html")}">{out(graded.name, "html")}</a>')
        points = (mark.points for mark in graded.marks)
        rows.append([who, *points, *own.values(), total(graded, own)])
    there = matched(roster, found) if roster else {}
    lines = enumerate(roster.lines if roster else ())
    missing = [name_of(line) for at, line in lines if at not in there]
    missing = [name for name in missing if name and "points possible" not in name.lower()]
    unknown = [one.name for one in found if roster and one not in there.values()]
    groups = [(kind, ", ".join(names)) for kind, names in alike(found)]
    tables = {
        "The class": (rows, ["submission", *rubric.points, *rubric.teacher, "total"]),
        "Nothing handed in": ([[name] for name in missing], ()),
        "Not on the roster": ([[name] for name in unknown], ()),
        "What the tables believe": (
            beliefs(found), ["mistake", f"students of {len(found)}", "where"]
        ),
        "The same in several hand-ins": (groups, ["what", "whose"]),
    }  # fmt: skip
    body = "".join(f"<h2>{title}</h2>{grid(*table)}" for title, table in tables.items() if table[0])
    text = "Your own points go into class.csv: write them there, run the same command again, and "
    return page("The class", f"{body}<p>{text}they are in every total.</p>")
