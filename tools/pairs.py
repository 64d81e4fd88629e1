"""Notebook pairs: `NN_topic.py` is the source, `NN_topic.ipynb` the same cells with outputs.

Command line: `python -m tools.pairs [--check] [--all] [notebooks/01_data.py ...]` (`make
notebooks`) rebuilds, and executes those whose code, modules or results differ from the last commit,
whose outputs the tests hold, or `--all`; `--check` only compares, whatever the timestamps.
"""

import os
import subprocess
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

from mnist_utils import command
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT, write_atomically
from tools.house import reached

FOLDER = ROOT / "notebooks"
SECONDS = 300  # a cell may take
FOLDED = "hide-input"  # the tag of a cell that only checks: the site and JupyterLab fold its code
WIDGET = "application/vnd.jupyter.widget-view+json"


EXERCISES = "classroom/checks/exercises"  # a file for each notebook with solutions


def every() -> list[Path]:
    """The source of every notebook that git knows: lessons, solutions, the assignment."""
    known = [path for path in tracked() if path.suffix == ".py" and path.exists()]
    return sorted(p for p in known if p.read_text().startswith("# ---\n# jupyter:"))


def tracked() -> list[Path]:
    """The files below notebooks/ that git knows; all of them where there is no git."""
    try:
        return [FOLDER / name for name in _git("ls-files", "-z").split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = ("work", ".ipynb_checkpoints")
        return [path for path in FOLDER.rglob("*.*") if path.parent.name not in hidden]


def _git(*arguments: str) -> str:
    command = ["git", "-C", FOLDER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def is_current(source: Path) -> bool:
    """Whether the outputs are those of the last commit's code: only prose may have changed."""
    path = source.with_suffix(".ipynb")
    try:
        texts = path.read_text(), _git("show", f"HEAD:./{path.relative_to(FOLDER)}")
        changed = [ROOT / name for name in _git("diff", "--name-only", "HEAD").splitlines()]
    except (OSError, subprocess.CalledProcessError):
        return False  # no git, or a notebook that it does not know
    codes = [_code(nbformat.reads(text, as_version=4)) for text in texts]
    as_it_was = codes[0] == codes[1] == _code(jupytext.read(source))
    return as_it_was and not any(matters(path, source) for path in changed)


def matters(path: Path, source: Path) -> bool:
    """Whether what a notebook prints may rest on a file: its modules and their data, results."""
    if path.suffix == ".py":
        return path != source and path in reached(source)
    if path.parent == ROOT / EXERCISES:
        return source == FOLDER / "solutions" / f"{path.stem}.py"
    beside = {module.parent for module in reached(source)} - {source.parent}
    return path.parent in beside or path.relative_to(ROOT).parts[0] in ("results", "data")


def _code(notebook) -> list[tuple]:
    return [(c.source, c.metadata.get("tags")) for c in notebook.cells if c.cell_type == "code"]


def difference(source: Path) -> str | None:
    """The first cell in which a pair differs, in words; None if both hold the same cells."""
    notebook = source.with_suffix(".ipynb")
    if not notebook.exists():
        return f"{notebook.name} does not exist"
    pairs = zip_longest(jupytext.read(source).cells, nbformat.read(notebook, as_version=4).cells)
    for number, (ours, theirs) in enumerate(pairs, start=1):
        if ours is None or theirs is None:
            only = source if theirs is None else notebook
            return f"cell {number} stands in {only.name} alone"
        if (ours.cell_type, ours.source) != (theirs.cell_type, theirs.source):
            return f"cell {number} differs between {source.name} and {notebook.name}"
        if ours.metadata.get("tags") != theirs.metadata.get("tags"):
            return f"cell {number} has other tags in {source.name} than in {notebook.name}"
    return None


def forget_machine(model: dict, **_) -> None:
    """Take out of a notebook what lives with its kernel alone; Jupyter calls this on saving.

    `model` is Jupyter's: `content` is the notebook, where `type` says so. A widget's output is
    nothing but the number of an object in the kernel that drew it.
    """
    if model["type"] == "notebook":
        for name in ("language_info", "widgets"):
            model["content"]["metadata"].pop(name, None)
        for cell in model["content"]["cells"]:
            if outputs := cell.get("outputs"):
                cell["outputs"] = [o for o in outputs if WIDGET not in o.get("data", {})]


def fold(notebook) -> None:
    """Tell JupyterLab, which reads no tags, which cells to fold."""
    for cell in notebook.cells:
        if FOLDED in cell.metadata.get("tags", ()):
            cell.metadata["jupyter"] = {"source_hidden": True}


def rebuild(source: Path, execute: bool = True) -> None:
    """Make the .ipynb anew from the .py and execute it, keeping the cells' ids.

    Executed twice, no byte of it differs, as long as its code and what it reads stay the same.

    Raises
    ------
    InputError
        The .ipynb holds other code and is newer (somebody edited it there), or a cell fails.
    """
    path = source.with_suffix(".ipynb")
    notebook = jupytext.read(source)
    if path.exists():
        if difference(source) and path.stat().st_mtime > source.stat().st_mtime:
            raise InputError(
                f"{path.name} is newer than {source.name}, and {difference(source)}; "
                f"take it over with `jupytext --to py:percent {path.name}`, or touch {source.name}"
            )
        stored = nbformat.read(path, as_version=4)
        notebook = jupytext.combine.combine_inputs_with_outputs(notebook, stored)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # else prints are cut where the clock cuts them
        resources={"metadata": {"path": str(source.parent)}},
    )
    try:
        # One thread, as in the tests: another count rounds otherwise.
        settings = {"MNIST_IMAGES": str(ROOT / "images"), "OMP_NUM_THREADS": "1"}
        if execute:
            client.execute(env=os.environ | settings)
    except CellExecutionError as error:
        cell = next(c for c in notebook.cells if _failed(c))
        raise InputError(
            f"{source.name}: {error.ename}: {error.evalue}, in the cell\n{cell.source}"
        ) from None
    forget_machine({"type": "notebook", "content": notebook})
    fold(notebook)
    write_atomically(path, jupytext.writes(notebook, fmt="ipynb") + "\n")


def _failed(cell) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def main() -> None:
    parser = command.Parser(prog="python -m tools.pairs", description=__doc__)
    parser.add_argument("source", nargs="*", type=Path, help="which .py (default: all)")
    parser.add_argument("--check", action="store_true", help="compare only; write nothing")
    parser.add_argument("--all", action="store_true", help="execute what has not changed, too")
    arguments = parser.parse_args()
    sources = [source.resolve() for source in arguments.source] or every()
    for source in sources:
        if source.suffix != ".py" or not source.is_file():
            raise InputError(f"{source} is not a notebook's .py; name one of notebooks/*.py")
    if arguments.check:
        if differences := [text for text in map(difference, sources) if text]:
            raise InputError("; ".join(differences) + "; run `make notebooks`")
        return
    for source in tqdm(sources, unit="notebook", disable=None):
        execute = arguments.all or not is_current(source)
        print(source.name if execute else f"{source.name}: prose alone", flush=True)
        rebuild(source, execute)


if __name__ == "__main__":
    command.run(main)
