"""Grade submissions of the assignment: python -m classroom.grade submission --quick"""

import re
import shutil
import sys
import time
from pathlib import Path

from mnist_utils import command
from mnist_utils.errors import InputError
from mnist_utils.files import write_atomically

LONGEST = 180  # bytes of a page's name


def parser() -> command.Parser:
    """The command line."""
    result = command.Parser(
        "python -m classroom.grade",
        description="Grade submissions: model.py, fields.csv, analysis.md and runs/ in a folder or "
        "a zip. Their networks are described behind a wall, built anew and trained here. Finished "
        "work is kept, so that it may be stopped. For teachers: --class grades all that a folder "
        "holds, writes a page for each student into feedback/, class.html and class.csv, and "
        "moodle.csv and canvas.csv for import; only then are the test digits looked at, once.",
    )

    def add(name, says, default=None, metavar="DIR", **more):
        result.add_argument(name, help=says, default=default, metavar=metavar, type=Path, **more)

    def flag(name, says):
        result.add_argument(name, help=says, action="store_true")

    add("folder", "a submission each: a folder or a zip", nargs="*")
    add("--class", "grade all that this folder holds", dest="group")
    add(
        "--roster",
        "the class: Moodle's worksheet, Canvas's gradebook, or a CSV with a column `name`",
        metavar="FILE",
    )
    add("--out", "where --class writes (default: here)", Path())
    flag(
        "--quick",
        "train one seed for two epochs of 6,000 digits, and give no points for it: a minute",
    )
    flag("--answers", "say the right numbers, too: for teachers")
    add("--json", "the marks, for a program", metavar="FILE")
    add("--csv", "the marks, for a spreadsheet", metavar="FILE")
    add("--html", "a page with curves, mistakes and tables", metavar="FILE")
    add("--rubric", "another rubric.toml", metavar="FILE")
    add("--kept", "finished work lies here (default: grades)", Path("grades"))
    flag("--no-wall", "run students' code as you, if no wall can be built: only if you trust them")
    return result  # fmt: skip


def main() -> None:
    options = parser().parse_args()
    paths = chosen(options)

    from classroom.grade import grading, report, roster, rubric

    asked = rubric.read(options.rubric or rubric.DEFAULT)
    names = roster.read(options.roster) if options.roster else None
    roster.Before.read(options.out / "class.csv")  # what is wrong with it shows before the work
    how = grading.Options(
        quick=options.quick, answers=options.answers, test=bool(options.group),
        wall=not options.no_wall, kept=options.kept,
    )  # fmt: skip
    steps, begun, ready = len(paths) * (1 + (1 if options.quick else asked.seeds)), time.time(), []

    def told(text: str) -> None:
        ready.append(text)
        left = (time.time() - begun) / len(ready) * max(0, steps - len(ready)) / 60
        line = f"[{min(len(ready), steps)}/{steps}, {left:.0f} min left] {text}"
        print(report.out(line), file=sys.stderr, flush=True)

    pages = page_names(paths)

    def done(graded) -> None:
        if options.group:
            path = options.out / "feedback" / pages[graded.evidence.submission.path]
            write_atomically(path, report.to_html([graded], asked, walled=how.wall))
            write_atomically(path.with_suffix(".json"), report.to_gradescope(graded))
        else:
            print(report.text(graded), flush=True)

    grades = grading.grade(paths, asked, how, told=told, done=done)
    if options.group:
        write_class(
            options.out, grades, asked, names, [f"feedback/{pages[path]}" for path in paths]
        )
    if options.json:
        write_atomically(options.json, report.to_json(grades, asked))
    if options.csv:
        write_atomically(options.csv, roster.to_csv(grades, asked))
    if options.html:
        write_atomically(options.html, report.to_html(grades, asked, walled=how.wall))


def chosen(options) -> list[Path]:
    """What is to be graded."""
    if options.group:
        from classroom.grade import roster

        if options.folder:
            raise InputError(f"--class grades a whole folder; leave out {options.folder[0]}")
        paths = roster.hand_ins(options.group)
        others = {*options.group.iterdir()} - {*paths} - {options.kept, options.out / "feedback"}
        if others := sorted(path.name for path in others if path.suffix not in (".csv", ".html")):
            print(f"not graded, since it is no folder and no zip: {', '.join(others)}")
        return paths
    if not options.folder:
        raise InputError("nothing to grade: name a submission's folder, or --class DIR")
    if options.roster:
        raise InputError("--roster goes with --class")
    for folder in options.folder:
        if not (folder.is_dir() or (folder.is_file() and folder.suffix.lower() == ".zip")):
            raise InputError(f"{folder} is neither a folder nor a zip; name a submission's")
    if len({folder.resolve() for folder in options.folder}) < len(options.folder):
        raise InputError("a folder is named twice")
    return options.folder


def page_names(paths: list[Path]) -> dict[Path, str]:
    """A file name for each, which no other has; Moodle's own as it wants them back."""
    names = {}
    for path in paths:
        stem = re.sub(r"[^\w .@+-]", "-", path.resolve().name.removesuffix(".zip"))
        stem = stem.encode()[:LONGEST].decode(errors="ignore")
        stem += "feedback" if re.search(r"_assignsubmission_\w*_$", stem) else ""
        while f"{stem}.html" in names.values():
            stem += "_"
        names[path] = f"{stem}.html"
    return names


def write_class(out: Path, grades, asked, names, pages: list[str]) -> None:
    """The teacher's files; points that were written into class.csv stay."""
    from classroom.grade import roster

    table = out / "class.csv"
    before = roster.Before.read(table)
    for text in before.odd(grades, asked):
        print(f"{table}: {text}")
    if before.lost(grades, asked):
        kept = table.with_suffix(".bak")
        while kept.exists():
            kept = kept.with_name(f"{kept.name}~")
        shutil.copyfile(table, kept)
        print(f"points in {table} belong to no hand-in or column here; they are kept in {kept}")
    write_atomically(out / "class.html", roster.to_html(grades, asked, names, pages, before))
    for file, sheet in roster.worksheets(grades, asked, names, before).items():
        write_atomically(out / file, sheet)
    write_atomically(table, roster.to_csv(grades, asked, before))
    print(f"{len(grades)} graded: {table}, {out / 'class.html'}, {out / 'feedback'}/")


if __name__ == "__main__":
    command.run(main)
