"""The student's notebooks: made from the solutions, without them, and ending with a clear word."""

import re
import shutil

import nbformat
import pytest
from gates import gate
from nbclient import NotebookClient

from classroom.checks import exercises
from tools.exercises import EXERCISES, MARK, SOLUTIONS, exercise, main, without_solution

STUDENTS = sorted(EXERCISES.glob("*.ipynb"))
SOURCES = sorted(SOLUTIONS.glob("*.py"))
if not SOURCES:  # a teacher may hand the course out without them
    pytest.skip("no solutions here", allow_module_level=True)


def code(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


@pytest.mark.parametrize(
    ("solved", "asked"),
    [
        ("answer = 8  # solution\ncheck(answer)", "answer = ...\ncheck(answer)"),
        ("guess = 1  # solution\na = b  # solution\nanswer = a  # solution",
         "guess = ...\nanswer = ..."),
        ("answer = [\n    1,  # solution\n    2,  # solution\n]", "answer = [\n    ...\n]"),
        ("def f(x):\n    for i in x:  # solution\n        i  # solution\n    return 1  # solution",
         "def f(x):\n    ..."),
        ("a = 1  # solution space", "a = 1  # solution space"),
    ],
)  # fmt: skip
def test_an_answer_goes_and_its_name_stays(solved, asked):
    assert without_solution(solved) == asked


def test_the_students_notebooks_are_those_that_the_solutions_make_and_no_solution_leaks():
    assert [path.stem for path in STUDENTS] == [path.stem for path in SOURCES]
    calls, stale, leaks = [], [], []
    for source, student in zip(SOURCES, STUDENTS, strict=True):
        stale += [student.name] * (not student.read_text() == exercise(source) == exercise(source))
        asked = "\n".join(cell.source for cell in code(student))
        calls += re.findall(r"check\.(\w+)\(", asked)
        lines = {line.strip() for line in asked.splitlines()}
        secret = [line for line in source.read_text().splitlines() if MARK.search(line)]
        leaks += [f"{student.name}: {s}" for s in secret if MARK.sub("", s).strip() in lines]
        leaks += [student.name] * ("# solution" in asked)
        leaks += [f"{student.name} has outputs"] * any(cell.outputs for cell in code(student))
    gate(stale, "run `make exercises`")
    gate(leaks, "mark the line in notebooks/solutions/ with `# solution` and run `make exercises`")
    assert calls == list(exercises()), "every exercise in one notebook, in the course's order"


@pytest.fixture
def course(tmp_path, monkeypatch, command):
    """A course of one exercise, whose solution may be changed."""
    for name in ("SOLUTIONS", "EXERCISES", "WORK"):
        monkeypatch.setattr(f"tools.exercises.{name}", tmp_path / name.lower())
        (tmp_path / name.lower()).mkdir()
    monkeypatch.setattr("tools.exercises.ROOT", tmp_path)
    shutil.copy(SOURCES[0], tmp_path / "solutions")
    assert command(main)[0] == 0
    return tmp_path


def test_a_changed_solution_makes_its_exercise_anew(course, refused, command):
    assert command(main, "--check")[0] == 0
    source = course / "solutions" / SOURCES[0].name
    source.write_text(source.read_text() + "\n# %%\n1 + 1\n")
    assert "run `make exercises`" in refused(main, "--check")
    assert command(main)[0] == 0
    assert command(main, "--check")[0] == 0


def solved(path):
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if "answer = ..." in cell.source)
    cell.source = cell.source.replace("answer = ...", "answer = 8")
    nbformat.write(notebook, path)


def executed(path):
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.outputs = [nbformat.v4.new_output("stream", text="mine")]
    nbformat.write(notebook, path)


@pytest.mark.parametrize(
    "work", [solved, executed, lambda path: path.write_text("not a notebook any more")]
)
def test_nobody_s_work_is_overwritten_or_deleted(work, course, refused):
    source = course / "solutions" / SOURCES[0].name
    path = course / "exercises" / f"{source.stem}.ipynb"
    work(path)
    before = path.read_bytes()
    source.write_text(source.read_text() + "\n# %%\n1 + 1\n")
    assert "holds somebody's work and is not overwritten" in refused(main)
    other = source.rename(source.with_stem("11_other"))
    assert "delete it yourself" in refused(main)
    other.unlink()
    assert "stay as they are" in refused(main)
    assert path.read_bytes() == before


def test_a_student_works_in_a_copy_that_is_made_once(course, command):
    assert "yours to work in" in command(main, "--work")[1]
    copy = course / "work" / f"{SOURCES[0].stem}.ipynb"
    solved(copy)
    before = copy.read_bytes()
    assert command(main, "--work") == (0, "", "")
    assert copy.read_bytes() == before


def test_an_unsolved_notebook_ends_at_its_first_question_in_a_line():
    """In one kernel, each up to its first question; solutions/ are run whole, by nbval."""
    cells, asks = [], {}
    for student in STUDENTS:
        sources = code(student)
        first = next(n for n, cell in enumerate(sources) if "check." in cell.source)
        cells += sources[: first + 1]
        asks[len(cells) - 1] = student.name
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=600, kernel_name="python3", allow_errors=True).execute()
    said = r"\w+: there is no answer yet; put .+ in the place of the dots"
    for number, cell in enumerate(cells):
        errors = [output for output in cell.outputs if output.output_type == "error"]
        assert [error.ename for error in errors] == ["Unsolved"] * (number in asks), cell.source
        for error in errors:
            shown = "\n".join(error.traceback)
            assert re.match(said, shown) or "your function returns nothing yet" in shown, asks[
                number
            ]
            assert "Traceback" not in shown
            assert len(error.traceback) < 12
