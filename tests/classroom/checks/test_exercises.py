"""Every exercise: right answers in all forms, and every known wrong one by its name."""

import math
import re

import numpy as np
import pytest
import torch

from classroom.checks import Unsolved, check, exercise, exercises, hint, solution
from classroom.checks.answers import Numbers, Text, Words
from classroom.checks.recurrence import MISTAKES, causes, column_with, diagnose, table
from classroom.checks.table import MODEL3
from classroom.checks.tried import WRONG as WRONG_CONVOLUTIONS
from classroom.checks.tried import Convolution
from mnist_utils import results
from mnist_utils.errors import InputError

ALL = exercises()
with_solutions = pytest.mark.skipif(
    not any(exercise.SOLUTIONS.glob("*.py")), reason="no solutions here: a teacher may delete them"
)
TABLE = [
    (26, 3, 1, 1), (24, 5, 1, 2), (22, 7, 1, 3), (11, 8, 2, 3.5), (9, 12, 2, 5.5),
    (7, 16, 2, 7.5), (5, 20, 2, 9.5), (3, 24, 2, 11.5), (1, 28, 6, 13.5),
]  # fmt: skip
WRITTEN = {  # right answers that no key holds
    "table": TABLE,
    "convolution": lambda image, kernel: torch.nn.functional.conv2d(
        image[None, None], kernel[None, None]
    )[0, 0],
    "pattern": r"validation_accuracy=(\d\.\d+)",
    "where": "The head is dense and so keeps the place of each piece; the mean throws it away.",
    "pooled": "The digits are the same in every seed, so their errors are not independent trials.",
}

# Wrong answers that were collected, by what they are to be called.
WRONG = [
    ("corner", 1.0, "standardised"), ("corner", 0.004, "byte"), ("corner", 0, "background"),
    ("corner", 0.354, "divided by white"), ("black_fill", 0, "zero is not black"),
    ("window", 100, "centred by their box"), ("window", 24.4, "20 pixels"),
    ("lazy", 10, "all classes alike"), ("lazy", 11.24, "training digits"),
    ("label_keeping", ["rotation by 10", "mirror", "shift by 2"], "mirror"),
    ("label_keeping", ["rotation by 10", "shift by 2", "shear by 0.1"], "distribution"),
    ("repeats", 25, "draws taken"), ("repeats", 100, "no repeats"),
    ("pool", 14, "a pool doubles the field"), ("pool", 7, "a pool sees nothing new"),
    ("pool", 9, "jump before size"), ("pool", 10, "the whole kernel added"),
    ("two_strides", 5, "jump ignored"), ("two_strides", 9, "fields multiplied"),
    ("two_strides", 6, "the map's size"), ("two_strides", 13, "jump before size"),
    ("padding", [28, 14, 50], "padding enlarges"), ("padding", [31, 14, 50], "padding enlarges"),
    ("padding", [24, 3, 50], "padding ignored"), ("padding", [24, 14, 28], "never more"),
    ("pool_first", 8, "order does not matter"), ("pool_first", 28, "the whole image"),
    ("holes", 324, "the box"), ("holes", 25, "mean forgotten"), ("holes", 81, "multiplied"),
    ("first_loss", 2.3026, "ten classes"), ("first_loss", 4.7, "bits"),
    ("moved", [8, 8, 0], "strides forgotten"), ("moved", [4, 2, 2], "the mean moves along"),
    ("moved", [4, 4, 0], "one pool of two"), ("broken", "rate too high", "rate too high"),
    ("start", [11, 3, 3], "centre for edge"), ("start", [10, 4, 0], "padding ignored"),
    ("start", [11, 2, -2], "jump ignored"), ("start", [12, 3, -1], "rounded up"),
    ("two_paths", 24, "both paths added"), ("two_paths", 8, "the short path"),
    ("large_kernel", [15, 5], "kernels added"), ("large_kernel", [11, 13.44], "one layer of five"),
    ("tokens", 28, "every patch"), ("tokens", 12, "one layer of two"),
    ("confounder", ["depth", "last map"], "the width overlooked"),
    ("confounder", ["parameters", "depth"], "size to blame"),
    ("control", "b", "the size grows too"), ("control", "c", "the field grows too"),
    ("fewer", 1.1, "points"), ("fewer", 55.1, "what is left"),
    ("probe", "the field is large enough", "the field is large enough"),
    ("cut_layers", "yes, errors grew by 60%", "a difference is no cause"),
    ("two_threes", [260, 1820], "one input channel"), ("two_threes", [2500, 1820], "biases"),
    ("two_threes", [2510, 910], "one layer of two"),
    ("poster", [24064, 6456180], "grow with the image"),
    ("poster", [6016, 4656720], "exactly four times"),
    ("bias", 72, "order was not read"), ("bias", 82, "head's biases"),
    ("separable", [9216, 1312, 9, 3], "nine times"),
    ("separable", [9216, 288, 32, 3], "1×1 forgotten"),
    ("separable", [9216, 1312, 7.02, 1], "smaller field"), ("apart", 0.15, "half an interval"),
    ("pooled", "There is more data now, so a smaller interval is right.", "more data"),
    ("budget", 13, "scaled like a line"), ("budget", 12, "one too many"),
    ("seconds", 2, "multiply-adds"), ("weekend", [7.36, 0.12], "an hour of the endpoint"),
    ("spot", "everything", "all is lost"), ("spot", "nothing", "nothing is lost"),
    ("spot", "epochs 1 to 3", "finished epochs"), ("checkpoint", ["weights"], "weights alone"),
    ("pattern", "accuracy=([0-9.]+)", "the first accuracy"),
    ("pattern", r"validation_\w+=([0-9.]+)", "the loss"),
    ("pattern", "validation_accuracy=([0-9]+)", "the dot forgotten"),
    ("another", 95, "interval of the rate"), ("another", 83, "10,000"),
    ("overlap", "not different", "they overlap"),
    ("hundred", 100, "no errors, no doubt"), ("calibrated", "too sure", "a point is no interval"),
    ("calibrated", "perfectly calibrated", "not refuted"),
    ("gap", ["dropout", "augmentation", "unfinished weights"], "BatchNorm is harmless"),
    ("gap", ["better generalisation"], "generalises"),
    ("ruler", "leave relu out", "leave relu out"),
    ("equal_steps", 9, "equal epochs"), ("equal_steps", 99, "small batches"),
    ("worth", 5000, "no gain"), ("cycle", 0.00667, "straight line"), ("cycle", 0.005, "warm-up"),
    ("fair", "both at the rate 0.01", "one rate for both"), ("zeros", 8192, "weigh nothing"),
    ("half_channels", 2805, "half of the parameters"), ("half_channels", 1402.5, "a quarter"),
    ("nine_cells", 122, "the sum"), ("dice", 0, "agree on nothing"), ("dice", 0.82, "share of"),
    ("three_heads", 1, "votes counted"), ("disjoint", 3003, "every choice"),
    ("chosen", "right on average", "a fair one"),
    ("where", "It has so many parameters, and that helps it a lot.", "more parameters"),
    ("where", "It wins, so receptive fields do not matter here at all.", "fields do not matter"),
    # What no list has: right numbers in another order, one of several, another unit, rounded.
    ("padding", [14, 24, 50], "another order"), ("separable", [9216, 1312, 5, 3], "number 3"),
    ("zeros", 655360, "a factor of 8"), ("weekend", [736, 736], "a factor of 100"),
    ("cycle", 0.01, "rounded"), ("large_kernel", [11, 3], "rounded"),
    ("label_keeping", ["shift by 2", "invert"], "not all"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def forgotten():
    """Each test begins with no tries and no hints taken."""
    exercise._wrong_so_far.clear()
    exercise._hints_so_far.clear()
    exercise._solved.clear()


def right(name):
    """A right answer, as a student would write it."""
    key = WRITTEN[name] if name in WRITTEN else ALL[name].form.key
    listed = [list(key), key[0]][len(key) == 1] if isinstance(key, tuple) else key
    return listed if not isinstance(ALL[name].form, Words) or isinstance(key, str) else [*key]


def forms(answer):
    """An answer in every form that a student may have it in."""
    import pandas

    if isinstance(answer, (int, float)):
        yield from (answer, [answer], (answer,), torch.tensor(answer), np.float64(answer))
        yield from (np.array([answer]), pandas.Series([answer]), pandas.DataFrame([[answer]]))
    elif isinstance(answer, list) and not isinstance(answer[0], str):
        yield from (answer, tuple(answer), np.array(answer, float), pandas.DataFrame(answer))
        yield torch.tensor(answer, dtype=torch.float64)
    elif isinstance(answer, list):
        yield from (answer, tuple(answer), set(answer), [word.upper() for word in answer])
    else:
        yield answer


@pytest.mark.parametrize("name", ALL)
def test_a_right_answer_is_accepted_in_every_form_and_learns_something(name, capsys):
    for answer in forms(right(name)):
        getattr(check, name)(answer)
        said = capsys.readouterr().out
        assert ALL[name].adds in said
        assert ("right" in said) != isinstance(ALL[name].form, Text)  # a text is never passed


def example(name, pattern):
    """An answer that a pattern describes; None if only `WRONG` has one."""
    form = ALL[name].form
    if isinstance(form, Convolution):
        return WRONG_CONVOLUTIONS[pattern]
    if isinstance(form, Words) and isinstance(pattern, str) and pattern[0] in "+-":
        key, word = {form.key} if isinstance(form.key, str) else {*form.key}, pattern[1:]
        return key | {word} if pattern[0] == "+" else key - {word}
    if not isinstance(form, Numbers):
        return pattern if isinstance(form, Words) else None

    def number(place, key):
        if isinstance(place, str) and place != "_":
            return sum(map(float, place.split(".."))) / 2
        return key if place == "_" else place[0] if isinstance(place, list) else place

    places = pattern if isinstance(pattern, list) else [pattern]
    return [number(place, key) for place, key in zip(places, form.key, strict=True)]


@pytest.mark.parametrize("name", [name for name in ALL if name != "table"])
def test_every_known_wrong_answer_is_refused_with_its_own_name(name):
    assert ALL[name].wrong
    for wrong in ALL[name].wrong:
        if (answer := example(name, wrong.pattern)) is None:
            assert [called for asked, _, called in WRONG if asked == name and called in wrong.name]
            continue
        with pytest.raises(Unsolved) as refusal:
            getattr(check, name)(answer)
        assert wrong.name in refusal.value.mistake
        assert refusal.value.mistake.count(" or ") > 1 or wrong.says in str(refusal.value)


def test_every_mistake_that_a_table_can_show_is_named_in_it():
    shown = set()
    for mistake in MISTAKES:
        column = column_with(mistake, mistake.rules[0], MODEL3)
        pairs = zip(table(MODEL3), column, strict=True)
        rows = [row._replace(**{mistake.column: value}) for row, value in pairs]
        if [name for name, _ in causes(diagnose(rows, MODEL3))] == [mistake.name]:
            with pytest.raises(Unsolved, match=re.escape(mistake.says[:30])) as refusal:
                check.table(rows)
            assert refusal.value.mistake == mistake.name
            shown.add(mistake.name)
    assert len(shown) >= 18


@pytest.mark.parametrize(("name", "answer", "called"), WRONG)
def test_the_collected_wrong_answers_have_their_names(name, answer, called):
    with pytest.raises(Unsolved) as refusal:
        getattr(check, name)(answer)
    assert called in refusal.value.mistake


@pytest.mark.parametrize("name", {type(one.form): name for name, one in ALL.items()}.values())
@pytest.mark.parametrize("nothing", [None, ..., float("nan"), "", [], 3j, object()])
def test_what_is_no_answer_gets_a_kind_word_and_is_no_try(name, nothing):
    with pytest.raises(Unsolved) as refusal:
        getattr(check, name)(nothing)
    assert str(refusal.value).startswith(f"{name}: ")
    assert refusal.value.mistake is None
    assert not exercise._wrong_so_far


@pytest.mark.parametrize(
    ("name", "answer", "word"),
    [
        ("pool", ..., "there is no answer yet"),
        ("pool", "8", "is text; a number is wanted"),
        ("pool", True, "a bool is not a number"),
        ("pool", {"pool": 8}, "a dict is not a number"),
        ("ruler", torch.tensor(3), "one of these is wanted"),
        ("table", [[1] * 9] * 4, "these are columns"),
        ("table", torch.ones(4, 9), "these are columns"),
        ("table", 8, "9 rows of 4 numbers are wanted"),
        ("convolution", np.zeros(3), "a function is wanted"),
        ("pool", [8, 8], "one number is wanted, these are 2"),
        ("pool", math.inf, "not a finite number"),
        ("padding", [24, 14], "3 numbers are wanted, these are 2"),
        ("table", [...], "there is no answer yet"),
        ("table", [[1, 2, 3, 4]], "9 rows of 4 numbers are wanted"),
        ("table", {"size": [1], "jump": [1], "start": [1]}, "no column 'receptive_field'"),
        ("ruler", ["square the gradient", "leave relu out"], "one word is wanted"),
        ("ruler", "cube the gradient", "'cube the gradient' is not one of"),
        ("checkpoint", [...], "dots are left"),
        ("where", "It sees more.", "a sentence or two"),
        ("convolution", 3, "a function is wanted"),
        ("pattern", 3, "a regular expression in quotes is wanted"),
    ],
)
def test_a_form_that_cannot_be_read_says_what_is_wanted(name, answer, word):
    with pytest.raises(Unsolved, match="^" + name) as refusal:
        getattr(check, name)(answer)
    assert word in str(refusal.value)


def test_a_table_s_columns_may_have_any_order_starts_count_from_corners_and_a_lone_jump_is_free(
    capsys,
):
    import pandas

    frame = pandas.DataFrame(TABLE, columns=("size", "receptive_field", "jump", "start"))
    check.table(frame[["start", "jump", "receptive_field", "size"]])
    check.table([(n, r, j, start + 0.5) for n, r, j, start in TABLE])
    check.table([*TABLE[:-1], (1, 28, 2, 13.5)])
    assert capsys.readouterr().out.count("right") == 3


def test_two_kinds_of_wrong_entries_are_both_told_and_what_follows_is_not():
    rows = [list(row) for row in TABLE]
    for row, field in zip(rows, [3, 5, 7, 14, 16, 18, 20, 22, 26], strict=True):
        row[1] = field
    with pytest.raises(Unsolved) as refusal:
        check.table(rows)
    said = str(refusal.value)
    assert "pool, receptive_field: you have 14; a pool doubles the field" in said
    assert "conv4, receptive_field: you have 16; jump ignored" in said
    assert "not counted again" in said
    assert " 8" not in said  # the right number stays unsaid


@pytest.mark.parametrize(
    ("convolve", "word"),
    [
        (lambda image, kernel: image, "your map is"),
        (lambda image, kernel: 1 / 0, "ZeroDivisionError"),
        (lambda image, kernel: torch.zeros(image.shape[0] - kernel.shape[0] + 1,
                                           image.shape[1] - kernel.shape[0] + 1), "target:"),
    ],
)  # fmt: skip
def test_a_function_is_shown_where_it_fails(convolve, word):
    with pytest.raises(Unsolved, match="on an image of 3 × 4 pixels under 3 × 3") as refusal:
        check.convolution(convolve)
    assert word in str(refusal.value)


@pytest.mark.parametrize("pattern", ["validation_accuracy=[0-9.]+", "(", "loss=([0-9.]+)", "(x)?"])
def test_a_pattern_is_tried_on_log_lines(pattern):
    with pytest.raises(Unsolved, match=r"not a regular expression|no group|finds"):
        check.pattern(pattern)


def test_a_number_to_which_two_beliefs_lead_is_told_both():
    with pytest.raises(Unsolved) as refusal:
        check.pool(9)
    assert "jump before size" in str(refusal.value)
    assert "the whole kernel added" in str(refusal.value)


def test_what_is_said_of_all_seeds_is_so():
    runs = results.runs("course")
    different = len(set().union(*(run["mistakes"] for run in runs)))
    independent = 10_000 * (1 - math.prod(1 - run["errors"] / 10_000 for run in runs))
    said = f"All {len(runs)} seeds together misread {different} different digits; independent ones"
    assert f"{said} would misread some {independent:.0f}." == ALL["shared"].adds


@with_solutions
def test_hints_come_one_by_one_and_the_solution_with_its_reason_after_two_tries(capsys):
    hint.pool()
    assert capsys.readouterr().out.startswith("1. ")
    hint.pool()
    assert "2. " in capsys.readouterr().out
    for left in ("2 tries", "one more try"):
        with pytest.raises(Unsolved, match=left):
            solution.pool()
        with pytest.raises(Unsolved) as refusal:
            check.pool(14)
    assert "solution.pool()" in str(refusal.value)
    solution.pool()
    assert (
        "answer = 8\ncheck.pool(answer)\n\nWhy: Each of the two sees 7" in capsys.readouterr().out
    )


@with_solutions
def test_every_exercise_has_a_solution_that_shows_no_mark(capsys):
    for name in ALL:
        exercise._wrong_so_far[name] = exercise.TRIES
        getattr(solution, name)()
        shown = capsys.readouterr().out
        assert f"check.{name}(" in shown
        assert "# solution" not in shown, name


@with_solutions
def test_a_right_answer_opens_the_solution(capsys):
    check.pool(8)
    solution.pool()
    assert "answer = 8" in capsys.readouterr().out


def test_without_the_notebooks_a_solution_is_missed_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(exercise, "SOLUTIONS", tmp_path)
    exercise._wrong_so_far["pool"] = exercise.TRIES
    with pytest.raises(InputError, match="no solution of 'pool'"):
        solution.pool()


def test_a_name_that_is_no_exercise_is_told_those_that_are():
    with pytest.raises(AttributeError, match="no exercise 'pol'; there are corner, "):
        check.pol(8)
    assert "pool" in dir(check)


def test_jupyter_shows_the_message_and_no_traceback():
    with pytest.raises(Unsolved) as refusal:
        check.pool(14)
    assert refusal.value._render_traceback_() == str(refusal.value).splitlines()
