"""The student's notebooks: `notebooks/solutions/NN.py` without the answers, `exercises/NN.ipynb`.

A line that ends in `# solution` goes; of an answer or a guess its name stays, `answer = ...`, and
of a block that would be empty three dots. Command line: `python -m tools.exercises [--check]`
(`make exercises`) writes them anew; `--check` only says whether they are so.
"""

import hashlib
import re
from pathlib import Path

import jupytext
import nbformat

from mnist_utils import command
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT, write_atomically

SOLUTIONS, EXERCISES = ROOT / "notebooks" / "solutions", ROOT / "notebooks" / "exercises"
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
        cell.id = hashlib.sha256(f"{number}{cell.source}".encode()).hexdigest()[:8]
    notebook.metadata.pop("jupytext", None)
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    parser = command.Parser(prog="python -m tools.exercises", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; write nothing")
    check = parser.parse_args().check
    wanted = {EXERCISES / f"{s.stem}.ipynb": exercise(s) for s in sorted(SOLUTIONS.glob("*.py"))}
    there = set(EXERCISES.glob("*.ipynb"))
    stale = [p.name for p, text in wanted.items() if p not in there or p.read_text() != text]
    stale += [path.name for path in there - wanted.keys()]
    if check and stale:
        raise InputError(f"{', '.join(sorted(stale))}: not as made of solutions; `make exercises`")
    if not check:
        for path in there - wanted.keys():
            path.unlink()
        for path, text in wanted.items():
            write_atomically(path, text)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    command.run(main)
