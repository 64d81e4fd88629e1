"""The gates around the notebooks; nbval itself runs over `notebooks/` in the same `make test`."""

import ast
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from traitlets.config import Config

from mnist_utils.errors import InputError
from tools import pairs

SOURCES = sorted(pairs.FOLDER.glob("[0-9]*.py"))
SAMPLE = "03_parameter_counting"
LAB_SETTINGS = Path(sys.prefix, "etc", "jupyter", "jupyter_server_config.json")
KERNEL = KernelSpecManager().get_kernel_spec("python3").display_name


def cells(source, kind="code"):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_there_are_notebooks():
    assert {source.stem[:2] for source in SOURCES} >= {"01", "02", "03", "04", "05"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
class TestEveryNotebook:
    def test_its_pair_holds_the_same_cells(self, source):
        assert pairs.difference(source) is None

    def test_it_was_run_from_top_to_bottom(self, source):
        counts = [cell.execution_count for cell in cells(source)]
        assert counts == list(range(1, len(counts) + 1))

    def test_its_cells_are_short(self, source):
        lengths = [len(cell.source.splitlines()) for cell in cells(source)]
        assert max(lengths) <= 12
        assert statistics.median(lengths) <= 5

    def test_a_cell_ends_by_showing_something_not_by_a_check(self, source):
        last = [ast.parse(cell.source).body[-1] for cell in cells(source)]
        assert not any(isinstance(statement, ast.Assert) for statement in last)
        assert "fmt: skip" not in source.read_text()

    def test_it_writes_per_cent_and_large_numbers_in_one_way(self, source):
        text = "\n".join(cell.source for cell in cells(source, "markdown"))
        assert not re.search(r"\d %", text)
        assert not re.search(r"(?<![\d,.-])\d{5,}(?!\d)", text)

    def test_it_opens_with_the_question_and_ends_with_a_link(self, source):
        prose = [cell.source for cell in cells(source, "markdown")]
        assert re.match(
            r"# \d+[abc]? · .+\n\n\*\*[^*]+\?\*\*\n\n\| needs \| takes \| costs \|", prose[0]
        )
        assert "## What was shown" in prose[-1]
        assert "Next: " in prose[-1]

    def test_it_prints_no_warning_path_time_or_address(self, source):
        for cell in cells(source):
            for output in cell.outputs:
                assert output.get("name") != "stderr", cell.source
                text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain"))
                assert not re.search(r"0x[0-9a-f]{6}|/(?:home|root|tmp)/|\d\d:\d\d:\d\d", text)


# --- saved in JupyterLab ------------------------------------------------------------------------


@pytest.mark.parametrize("root", [".", "notebooks"])
def test_a_notebook_that_is_run_and_saved_in_lab_changes_in_its_outputs_only(tmp_path, root):
    """By jupytext's contents manager, as Jupyter sets it up, started here or in `notebooks/`."""
    for name in (f"{SAMPLE}.py", f"{SAMPLE}.ipynb"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        shutil.copy(pairs.FOLDER / name, tmp_path / "notebooks")
    source = tmp_path / "notebooks" / f"{SAMPLE}.py"
    path = source.with_suffix(".ipynb")
    text, stored = source.read_bytes(), path.read_bytes()
    settings = json.loads(LAB_SETTINGS.read_text())
    manager = jupytext.TextFileContentsManager(
        root_dir=str(tmp_path / root), config=Config(settings)
    )
    name = str(path.relative_to(tmp_path / root))
    model = manager.get(name)
    metadata = model["content"]["metadata"]  # what Lab writes into it from the running kernel
    metadata["kernelspec"] = {"display_name": KERNEL, "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python", "version": "3.99.1", "file_extension": ".py"}
    manager.save(model, name)
    assert source.read_bytes() == text
    assert path.read_bytes() == stored


def test_the_kernel_is_named_as_jupyter_names_it():
    for source in SOURCES:
        notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
        assert notebook.metadata.kernelspec.display_name == KERNEL


# --- broken on purpose --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A copy of the notebooks' folder with one pair in it."""
    for name in ("conftest.py", "sanitize.cfg", f"{SAMPLE}.py", f"{SAMPLE}.ipynb"):
        shutil.copy(pairs.FOLDER / name, tmp_path)
    return tmp_path


def rewrite(path, change, name=None):
    notebook = nbformat.read(path, as_version=4)
    number = change([cell for cell in notebook.cells if cell.cell_type == "code"])
    nbformat.write(notebook, path.with_stem(name or path.stem))
    return number


SMALL = """# %%
910
# %%
print("12.3%")
# %%
from mnist_utils import plots
plots.show(plots.lines([1, 2, 3], {"a": [1, 2, 3]}, ylabel="y"), "a line")
"""


def change_an_integer(code):
    code[0].outputs[0].data["text/plain"] = "911"
    return 0


def change_a_decimal(code):
    code[1].outputs[0].text = "12.4%\n"
    return 1


def delete_the_picture(code):
    del code[2].outputs[0].data["image/png"]
    return 2


def change_the_plotted_array(code):
    code[2].source = code[2].source.replace("[1, 2, 3]}", "[3, 1, 2]}")
    return 2


def empty_all_outputs(code):
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    return 0


def kill_the_kernel(code):
    code[1].source = "import os; os.kill(os.getpid(), 9)"
    return 1


def test_nbval_is_red_for_each_of_six_changes_and_names_notebook_and_cell(folder):
    breaks = (change_an_integer, change_a_decimal, delete_the_picture, change_the_plotted_array,
              empty_all_outputs, kill_the_kernel)  # fmt: skip
    source = folder / "95_small.py"
    source.write_text(SMALL)
    pairs.rebuild(source)
    (folder / f"{SAMPLE}.ipynb").unlink()
    path = source.with_suffix(".ipynb")
    broken = {change.__name__: rewrite(path, change, change.__name__) for change in breaks}
    options = [
        "--nbval",
        "--nbval-current-env",
        "--nbval-cell-timeout",
        "100",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "--rootdir", folder, *options, folder],
        capture_output=True, text=True, cwd=folder, check=False,
        env=os.environ | {"PYTHONPATH": str(pairs.FOLDER.parent)},  # tools
    )  # fmt: skip
    failed = set(re.findall(r"^FAILED (\w+)\.ipynb::Cell (\d+)", done.stdout, re.M))
    names = {name for name, _ in failed}
    assert path.stem not in names, "the unbroken copy must stay green\n" + done.stdout
    for name, number in broken.items():
        assert (name, str(number)) in failed, done.stdout


BLACK = """# %%
from mnist_utils import data
black = data.load(train=False).images[:1] * 0
len(black.unique())
# %%
len(data.standardize(black).unique())
# %%
round(data.standardize(black).mean().item(), 3)
"""


def test_disturbed_is_what_a_network_reads_and_nothing_else(folder):
    """A kernel that is told to play another machine does: in black pixels, not in black bytes."""
    source = folder / "98_black.py"
    source.write_text(BLACK)
    pairs.rebuild(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rf", "--rootdir", folder, "--nbval",
         "--nbval-current-env", "-p", "no:cacheprovider", "--disturbed", "1",
         source.with_suffix(".ipynb")],
        capture_output=True, text=True, cwd=folder, check=False,
        env=os.environ | {"PYTHONPATH": str(pairs.FOLDER.parent)},
    )  # fmt: skip
    assert re.findall(r"^FAILED 98_black.ipynb::Cell (\d)", done.stdout, re.M) == ["1"], done.stdout
    assert "2 passed" in done.stdout


def test_two_shuffled_cells_are_seen_whatever_the_timestamps(folder):
    source = folder / f"{SAMPLE}.py"
    parts = source.read_text().split("\n# %%\n")
    parts[2], parts[3] = parts[3], parts[2]
    source.write_text("\n# %%\n".join(parts))
    for newer in (source, source.with_suffix(".ipynb")):
        os.utime(newer, (2e9, 2e9))
        assert re.match(
            r"cell \d+ differs between 03_parameter_counting.py", pairs.difference(source)
        )


def test_an_edited_notebook_that_is_newer_is_not_overwritten(folder):
    source, path = folder / f"{SAMPLE}.py", folder / f"{SAMPLE}.ipynb"

    def edit(code):
        code[0].source += "\n# my own line"

    rewrite(path, edit)
    os.utime(source, (1e9, 1e9))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"03_parameter_counting.ipynb is newer .*cell 2 differs"):
        pairs.rebuild(source)
    assert path.read_bytes() == before


def test_a_notebook_that_fails_names_its_cell_and_keeps_the_old_outputs(folder):
    source = folder / "99_fails.py"
    source.write_text("# %%\n1 + 1\n\n# %%\nno_such_name\n")
    with pytest.raises(InputError, match="NameError: name 'no_such_name' is not defined"):
        pairs.rebuild(source)
    assert not source.with_suffix(".ipynb").exists()


TALK = "# %%\nfor i in range(3):\n    print(i, flush=True)\n\n# %% [markdown]\n# A typo.\n"


@pytest.fixture
def committed(folder, monkeypatch):
    """A small course under git, whose one notebook prints."""
    monkeypatch.setattr(pairs, "ROOT", folder)
    monkeypatch.setattr(pairs, "FOLDER", folder)
    (folder / "results").mkdir()
    (folder / "results" / "one.json").write_text("1")
    source = folder / "97_talk.py"
    source.write_text(TALK)
    pairs.rebuild(source)
    for line in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm first"):
        subprocess.run(["git", "-C", folder, *line.split()], check=True)
    return source


def test_executed_twice_no_byte_of_a_notebook_differs(committed):
    before = committed.with_suffix(".ipynb").read_bytes()
    pairs.rebuild(committed)
    assert committed.with_suffix(".ipynb").read_bytes() == before


def test_a_typo_in_prose_executes_nothing_and_changes_one_line(committed, command):
    path = committed.with_suffix(".ipynb")
    before = path.read_text().splitlines()
    committed.write_text(TALK.replace("A typo", "No typo"))
    assert "97_talk.py: prose alone" in command(pairs.main, committed)[1]
    after = path.read_text().splitlines()
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [
        ('    "A typo."', '    "No typo."')
    ]


@pytest.mark.parametrize("what", ["code", "results", "an unknown notebook"])
def test_what_outputs_rest_on_has_them_made_anew(what, committed):
    assert pairs.is_current(committed)
    if what == "code":
        committed.write_text(TALK.replace("range(3)", "range(4)"))
    elif what == "results":
        (committed.parent / "results" / "one.json").write_text("2")
    else:
        committed = committed.rename(committed.with_stem("96_new"))
    assert not pairs.is_current(committed)


def test_the_command_line_compares_and_refuses(folder, refused, command):
    source = folder / f"{SAMPLE}.py"
    assert command(pairs.main, "--check", source)[0] == 0
    source.write_text(source.read_text().replace("paper and pencil", "pen and paper"))
    assert "cell 1 differs" in refused(pairs.main, "--check", source)
    assert "is not a notebook's .py" in refused(pairs.main, folder / "conftest.py.txt")
