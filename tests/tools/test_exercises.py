"""The student's notebooks: made from the solutions, without them, and ending with a clear word."""

import re
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

from mnist_utils.checks import exercises
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


def test_the_students_notebooks_are_those_that_the_solutions_make():
    assert [path.stem for path in STUDENTS] == [path.stem for path in SOURCES]
    for source, student in zip(SOURCES, STUDENTS, strict=True):
        assert student.read_text() == exercise(source) == exercise(source), "run `make exercises`"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one exercise, whose solution may be changed."""
    for name in ("SOLUTIONS", "EXERCISES", "WORK"):
        monkeypatch.setattr(f"tools.exercises.{name}", tmp_path / name.lower())
        (tmp_path / name.lower()).mkdir()
    monkeypatch.setattr("tools.exercises.ROOT", tmp_path)
    shutil.copy(SOURCES[0], tmp_path / "solutions")
    return tmp_path


def test_a_changed_solution_makes_its_exercise_anew(course, refused, command):
    assert command(main)[0] == 0
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
@pytest.mark.parametrize("way", ["a changed solution", "no solution", "no solutions"])
def test_nobody_s_work_is_overwritten_or_deleted(work, way, course, refused, command):
    assert command(main)[0] == 0
    source = course / "solutions" / SOURCES[0].name
    path = course / "exercises" / f"{source.stem}.ipynb"
    work(path)
    before = path.read_bytes()
    if way == "a changed solution":
        source.write_text(source.read_text() + "\n# %%\n1 + 1\n")
        words = "holds somebody's work and is not overwritten"
    else:
        source.rename(source.with_stem("11_other")) if way == "no solution" else source.unlink()
        words = "delete it yourself" if way == "no solution" else "stay as they are"
    assert words in refused(main)
    assert path.read_bytes() == before


def test_a_student_works_in_a_copy_that_is_made_once(course, command):
    assert command(main)[0] == 0
    assert "yours to work in" in command(main, "--work")[1]
    copy = course / "work" / f"{SOURCES[0].stem}.ipynb"
    solved(copy)
    before = copy.read_bytes()
    assert command(main, "--work") == (0, "", "")
    assert copy.read_bytes() == before


def test_no_solution_leaks():
    for source in SOURCES:
        student = "\n".join(cell.source for cell in code(EXERCISES / f"{source.stem}.ipynb"))
        assert "# solution" not in student
        lines = {line.strip() for line in student.splitlines()}
        for line in source.read_text().splitlines():
            if MARK.search(line):
                assert MARK.sub("", line).strip() not in lines


def test_every_exercise_stands_in_one_notebook_in_the_order_of_the_course():
    calls = [
        name
        for path in STUDENTS
        for cell in code(path)
        for name in re.findall(r"check\.(\w+)\(", cell.source)
    ]
    assert calls == list(exercises())


@pytest.mark.parametrize("student", STUDENTS, ids=lambda path: path.stem)
def test_an_unsolved_notebook_runs_to_its_first_question_and_ends_there_in_a_line(student):
    notebook = nbformat.read(student, as_version=4)
    assert not any(cell.outputs for cell in code(student))
    NotebookClient(notebook, timeout=600, kernel_name="python3", allow_errors=True).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    errors = [(cell, o) for cell in cells for o in cell.outputs if o.output_type == "error"]
    cell, error = errors[0]
    assert "check." in cell.source
    assert error.ename == "Unsolved"
    shown = "\n".join(error.traceback)
    assert re.match(r"\w+: there is no answer yet; put .+ in the place of the dots", shown) or (
        "your function returns nothing yet" in shown
    )
    assert "Traceback" not in shown
    assert len(error.traceback) < 12
