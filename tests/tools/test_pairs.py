"""The gates around the notebooks; nbval itself runs over `notebooks/` in the same `make test`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from gates import gate
from jupyter_client.kernelspec import KernelSpecManager
from traitlets.config import Config

from mnist_utils.errors import InputError
from mnist_utils.files import ROOT
from tools import pairs

SAMPLE = "03_parameter_counting"
LAB_SETTINGS = Path(sys.prefix, "etc", "jupyter", "jupyter_server_config.json")
KERNEL = KernelSpecManager().get_kernel_spec("python3").display_name
ELSEWHERE = re.compile(r"0x[0-9a-f]{6}|/(?:home|root|tmp)/|\d\d:\d\d:\d\d")


def test_every_notebook_was_run_whole_on_its_pair_s_cells_and_prints_nothing_of_its_machine():
    wrong = []
    for source in pairs.every():
        path = source.with_suffix(".ipynb")
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        found = [text] if (text := pairs.difference(source)) else []
        if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
            found.append("was not run from top to bottom")
        if notebook.metadata.kernelspec.display_name != KERNEL:
            found.append("has a kernel that Jupyter would rename")
        for output in (output for cell in cells for output in cell.outputs):
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain"))
            if output.get("name") == "stderr" or ELSEWHERE.search(text):
                found.append(f"prints a warning, an address, a path or a time: {text[:60]!r}")
        wrong += [f"{path.relative_to(ROOT)} {text}" for text in found]
    assert len(pairs.every()) > 10
    gate(wrong, "run `make notebooks`")


# --- saved in JupyterLab ------------------------------------------------------------------------


def test_a_notebook_that_is_run_and_saved_in_lab_changes_in_its_outputs_only(tmp_path):
    """By jupytext's contents manager, as Jupyter sets it up, started here or in `notebooks/`."""
    (tmp_path / "notebooks").mkdir()
    source = tmp_path / "notebooks" / f"{SAMPLE}.py"
    path = source.with_suffix(".ipynb")
    for root in (tmp_path, source.parent):
        for file in (source, path):
            shutil.copy(pairs.FOLDER / file.name, file)
        text, stored = source.read_bytes(), path.read_bytes()
        settings = Config(json.loads(LAB_SETTINGS.read_text()))
        manager = jupytext.TextFileContentsManager(root_dir=str(root), config=settings)
        model = manager.get(name := str(path.relative_to(root)))
        metadata = model["content"]["metadata"]  # what Lab writes into it from the running kernel
        metadata["kernelspec"] = {"display_name": KERNEL, "language": "python", "name": "python3"}
        metadata["language_info"] = {"name": "python", "version": "3.99.1"}
        manager.save(model, name)
        assert source.read_bytes() == text
        assert path.read_bytes() == stored


# --- broken on purpose --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A copy of the notebooks' folder with one pair in it."""
    for name in ("conftest.py", "sanitize.cfg", f"{SAMPLE}.py", f"{SAMPLE}.ipynb"):
        shutil.copy(pairs.FOLDER / name, tmp_path)
    return tmp_path


def made(source, text):
    """A notebook of this source, executed."""
    source.write_text(text)
    pairs.rebuild(source)
    return source.with_suffix(".ipynb")


def rewrite(path, change, name=None):
    notebook = nbformat.read(path, as_version=4)
    change([cell for cell in notebook.cells if cell.cell_type == "code"])
    nbformat.write(notebook, path.with_stem(name or path.stem))


def nbval(folder, *options):
    """What nbval says of a folder's notebooks: the failed cells, and all that was printed."""
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "100", *options]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider",
         "--rootdir", folder, *options, folder],
        capture_output=True, text=True, cwd=folder, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # tools
    )  # fmt: skip
    failed = re.findall(r"^FAILED (\w+)\.ipynb::Cell (\d+)", done.stdout, re.M)
    return {f"{name} {cell}" for name, cell in failed}, done.stdout


DRAWING = '\n# %%\nplots.show(plots.lines([1, 2, 3], {"a": [1, 2, 3]}, ylabel="y"), "a line")'
SMALL = '# %%\n910\n# %%\nprint("12.3%")\n# %%\nfrom mnist_utils import plots' + DRAWING * 2


def four_changes(code):
    code[0].outputs[0].data["text/plain"] = "911"
    code[1].outputs[0].text = "12.4%\n"
    del code[3].outputs[0].data["image/png"]
    code[4].source = code[4].source.replace("[1, 2, 3]}", "[3, 1, 2]}")


def empty(code):
    for cell in code:
        cell.outputs, cell.execution_count = [], None


def kill_the_kernel(code):
    code[1].source = "import os; os.kill(os.getpid(), 9)"


def test_nbval_is_red_for_each_of_six_changes_and_names_notebook_and_cell(folder):
    (folder / f"{SAMPLE}.ipynb").unlink()
    path = made(folder / "small.py", SMALL)
    for change in (four_changes, empty, kill_the_kernel):
        rewrite(path, change, change.__name__)
    failed, said = nbval(folder)
    expected = {*(f"four_changes {n}" for n in (0, 1, 3, 4)), "empty 0", "kill_the_kernel 1"}
    assert expected <= failed, said
    assert not {cell for cell in failed if re.match("small|four_changes 2", cell)}, said


# The private functions of nbval that notebooks/conftest.py replaces, and what it uses in them.
PATCHED = """
import inspect
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile
for function, arguments, words in (
    (IPyNbFile.setup, "(self)", "self.kernel ="),
    (IPyNbCell.compare_outputs, "(self, test, ref, skip_compare=None)", "comparison_traceback"),
    (IPyNbCell.runtest, "(self)", "timeout=self.output_timeout"),
    (IPyNbCell.runtest, "(self)", "self.raise_cell_error("),
    (IPyNbCell.runtest, "(self)", ".await_reply(msg_id, timeout=timeout)"),
    (RunningKernel.await_reply, "(self, msg_id, timeout=None)", "timeout=timeout"),
    (RunningKernel.__init__, None, "self.kc"),
    (RunningKernel.is_alive, "(self)", ""),
):
    assert arguments in (None, str(inspect.signature(function))), function.__qualname__
    assert words in inspect.getsource(function), f"{function.__qualname__}: {words}"
"""


def test_nbval_still_is_what_notebooks_conftest_patches():
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True)
    gate(
        done.stderr.splitlines()[-1:],
        "this version of nbval is not the one that notebooks/conftest.py patches: "
        "mend the patch, or pin nbval==0.11.0 in requirements.txt and run `make lock`",
    )


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
    (folder / f"{SAMPLE}.ipynb").unlink()
    made(folder / "black.py", BLACK)
    failed, said = nbval(folder, "--disturbed", "1")
    assert failed == {"black 1"}, said
    assert "2 passed" in said


def test_two_shuffled_cells_are_seen_whatever_the_timestamps(folder, refused, command):
    source = folder / f"{SAMPLE}.py"
    assert command(pairs.main, "--check", source)[0] == 0
    parts = source.read_text().split("\n# %%\n")
    parts[2], parts[3] = parts[3], parts[2]
    source.write_text("\n# %%\n".join(parts))
    for newer in (source, source.with_suffix(".ipynb")):
        os.utime(newer, (2e9, 2e9))
        said = refused(pairs.main, "--check", source)
        assert re.search(r"cell \d+ differs between 03_param.*; run `make notebooks`", said)
    assert "is not a notebook's .py" in refused(pairs.main, folder / "conftest.py.txt")


def test_an_edited_notebook_that_is_newer_is_not_overwritten(folder):
    source, path = folder / f"{SAMPLE}.py", folder / f"{SAMPLE}.ipynb"
    rewrite(path, lambda code: code[0].update(source="my_own = 1"))
    os.utime(source, (1e9, 1e9))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"03_parameter_counting.ipynb is newer .*cell 2 differs"):
        pairs.rebuild(source)
    assert path.read_bytes() == before


def test_a_notebook_that_fails_names_its_cell_and_keeps_the_old_outputs(folder):
    with pytest.raises(InputError, match="NameError: name 'no_such_name' is not defined"):
        made(folder / "99_fails.py", "# %%\n1 + 1\n\n# %%\nno_such_name\n")
    assert not (folder / "99_fails.ipynb").exists()


TALK = "# %%\nfor i in range(3):\n    print(i, flush=True)\n\n# %% [markdown]\n# A typo.\n"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A small course under git, whose one notebook prints."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "results").mkdir()
    (folder / "results" / "one.json").write_text("1")
    made(folder / "97_talk.py", TALK)
    for line in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm first"):
        subprocess.run(["git", "-C", folder, *line.split()], check=True)
    return folder


@pytest.fixture
def committed(course, tmp_path, monkeypatch):
    """The notebook of a copy of it."""
    shutil.copytree(course, folder := tmp_path / "copy")
    monkeypatch.setattr(pairs, "ROOT", folder)
    monkeypatch.setattr(pairs, "FOLDER", folder)
    return folder / "97_talk.py"


def test_executed_twice_no_byte_of_a_notebook_differs(committed):
    before = committed.with_suffix(".ipynb").read_bytes()
    pairs.rebuild(committed)
    assert committed.with_suffix(".ipynb").read_bytes() == before


def test_a_typo_in_prose_executes_nothing_and_changes_one_line(committed, command):
    path = committed.with_suffix(".ipynb")
    before = path.read_text()
    committed.write_text(TALK.replace("A typo", "No typo"))
    assert "97_talk.py: prose alone" in command(pairs.main, committed)[1]
    assert path.read_text() == before.replace('"A typo."', '"No typo."')


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


@pytest.mark.parametrize(
    ("changed", "source", "expected"),
    [
        ("mnist_utils/plots/digits.py", "01_data.py", True),
        ("cloud/jobs/place.py", "01_data.py", False),
        ("receptive/layout.py", "02b_receptive_fields.py", True),  # through describe
        ("classroom/lab/lab.js", "02b_receptive_fields.py", True),
        ("results/recipes.json", "01_data.py", True),
        ("classroom/checks/exercises/01_data.toml", "solutions/01_data.py", True),
        ("classroom/checks/exercises/01_data.toml", "solutions/10_ensembles.py", False),
        ("notebooks/01_data.py", "02a_training.py", False),
        ("README.md", "01_data.py", False),
    ],
)
def test_a_change_has_those_notebooks_executed_that_rest_on_it(changed, source, expected):
    assert (pairs.ROOT / changed).exists()
    assert pairs.matters(pairs.ROOT / changed, pairs.FOLDER / source) is expected


def test_a_notebook_opened_alone_finds_its_course_or_says_what_to_type():
    codes = [pairs._code(jupytext.read(source)) for source in pairs.every()]
    opening, _ = codes[0][0]
    assert all(code[0] == codes[0][0] for code in codes), "all are to begin with the same code"

    def opened(first: str) -> subprocess.CompletedProcess:
        without_site = [sys.executable, "-S", "-c", f"{first}\n{opening}\nimport mnist_utils"]
        folder = pairs.FOLDER / "solutions"
        return subprocess.run(without_site, cwd=folder, capture_output=True, text=True, check=False)

    alone = opened("")
    assert (alone.returncode, alone.stderr.count("\n")) == (1, 1)
    assert "`make lab`" in alone.stderr
    packages = [path for path in sys.path[1:] if Path(path) != ROOT]
    assert opened(f"import sys; sys.path += {packages!r}").returncode == 0
