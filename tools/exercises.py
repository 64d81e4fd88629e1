"""The student's notebooks: `notebooks/solutions/NN.py` without the answers, `exercises/NN.ipynb`.

A line that ends in `# solution` goes; of an answer or a guess its name stays, `answer = ...`, and
of a block that would be empty three dots. Command line: `python -m tools.exercises` (`make
exercises`) writes them anew, and never over one that somebody has worked in; `--check` only says
whether they are so; `--work` copies those that are not there yet to notebooks/work/ (`make lab`).
"""

import hashlib
import re
from pathlib import Path

import jupytext
import nbformat

from mnist_utils import command
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT, write_atomically
from tools import pairs

SOLUTIONS, EXERCISES = ROOT / "notebooks" / "solutions", ROOT / "notebooks" / "exercises"
WORK = ROOT / "notebooks" / "work"  # the students' own, which git ignores
MARK = re.compile(r"\s*# solution$")
ASKED = re.compile(r"(answer|guess) = ")


def without_solution(code: str) -> str:
    """A cell as the student gets it."""
    kept = []
    for line in code.splitlines():
        if not MARK.search(line):
            kept.append(line)
        elif asked := ASKED.match(line):
            kept.append(f"{asked[0]}...")
        elif line[0].isspace() and kept[-1].strip() != "...":
            kept.append(re.match(r"\s*", line)[0] + "...")
    return "\n".join(kept)


def exercise(source: Path) -> str:
    """The student's notebook of a solution, as it is stored: the same bytes every time."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.source = without_solution(cell.source)
        cell.id = _id(number, cell)
    pairs.fold(notebook)
    notebook.metadata.pop("jupytext", None)
    return nbformat.writes(notebook) + "\n"


def _id(number: int, cell) -> str:
    return hashlib.sha256(f"{number}{cell.source}".encode()).hexdigest()[:8]


def is_untouched(path: Path) -> bool:
    """Whether a notebook is as this made it, once: its cells' ids tell what stood in them."""
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception:  # no notebook any more
        return False
    return all(cell.id == _id(n, cell) and not cell.get("outputs") for n, cell in enumerate(cells))


def make(check: bool = False) -> None:
    """Write the exercises anew, or only check them.

    Raises
    ------
    InputError
        There are no solutions; one is not as they make it; or it would be overwritten or deleted
        although somebody worked in it.
    """
    wanted = {EXERCISES / f"{s.stem}.ipynb": exercise(s) for s in sorted(SOLUTIONS.glob("*.py"))}
    if not wanted:
        raise InputError(f"{SOLUTIONS} holds no solution; the exercises stay as they are")
    there = set(EXERCISES.glob("*.ipynb"))
    stale = [path for path, text in wanted.items() if path not in there or path.read_text() != text]
    if check and (stale := sorted([*stale, *(there - wanted.keys())])):
        names = ", ".join(path.name for path in stale)
        raise InputError(f"{names}: not as made of notebooks/solutions/; run `make exercises`")
    if alone := sorted(there - wanted.keys()):
        raise InputError(f"{alone[0]} has no solution; delete it yourself if it is to go")
    if touched := [path for path in stale if path in there and not is_untouched(path)]:
        raise InputError(
            f"{touched[0]} holds somebody's work and is not overwritten; move it to "
            f"notebooks/work/, and run `git checkout {touched[0]}`"
        )
    for path in stale:
        write_atomically(path, wanted[path])
        print(path.relative_to(ROOT))


def hand_out() -> None:
    """Copy to notebooks/work/ the exercises that are not there yet."""
    for path in sorted(EXERCISES.glob("*.ipynb")):
        if not (copy := WORK / path.name).exists():
            write_atomically(copy, path.read_bytes())
            print(f"{copy.relative_to(ROOT)}: yours to work in")


def main() -> None:
    parser = command.Parser(prog="python -m tools.exercises", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; write nothing")
    parser.add_argument("--work", action="store_true", help="copy those that are not there yet")
    options = parser.parse_args()
    if options.work:
        hand_out()
    else:
        make(options.check)


if __name__ == "__main__":
    command.run(main)
