import json
import math

import numpy as np
import pytest

from mnist_utils import results
from mnist_utils.errors import InputError


def test_a_bare_name_is_a_recipe_s():
    assert results.runs("course") == results.runs("recipes/course")
    model1 = results.weights_path("ladder/Model1", seed=1)
    assert model1.parts[-3:] == ("results", "ladder", "Model1-1.safetensors")


def test_what_is_not_measured_or_not_json_is_named(tmp_path):
    with pytest.raises(InputError, match="'magic' is not measured: `python -m tools.rep"):
        results.runs("magic")
    with pytest.raises(InputError, match="'magic' is not measured"):
        results.history("magic")
    (tmp_path / "recipes.json").write_text("{")
    with pytest.raises(InputError, match=r"recipes\.json is not JSON"):
        results.read("broken", tmp_path)


def test_an_interval_of_a_mean_by_hand():
    """Mean 3, s.d. 1 of three: t of 2 degrees of freedom is 4.3027."""
    low, high = results.mean_interval([2, 3, 4])
    assert (low + high) / 2 == 3
    assert high - low == pytest.approx(2 * 4.3027 / 3**0.5, abs=1e-4)


def test_an_interval_over_digits_counts_a_digit_once_however_many_seeds_misread_it():
    """Ten seeds that misread the same 50 of 10,000 know no more than one of them."""
    alike = [{"digits": 10_000, "mistakes": list(range(50))}] * 10
    low, high = results.digits_interval(alike)
    assert results.digits_interval(alike[:1]) == (low, high)
    half = 1.96 * (0.005 * 0.995 / 10_000) ** 0.5
    assert (low, high) == pytest.approx((0.995 - half, 0.995 + half), abs=1e-4)
    apart = [{"digits": 10_000, "mistakes": list(range(50 * k, 50 * k + 50))} for k in range(10)]
    low, high = results.digits_interval(apart)
    assert high - low < 0.5 * 2 * half


def test_the_interval_of_both_is_that_of_a_bootstrap_that_draws_seeds_and_digits():
    """Rows and columns of course's 15 × 10,000 answers, each drawn with repetition."""
    seeds, row = results.runs("course"), results.summary("course")
    wrong = np.zeros((len(seeds), 10_000))
    for run, answers in zip(seeds, wrong, strict=True):
        answers[run["mistakes"]] = 1
    generator, means = np.random.default_rng(0), []
    for _ in range(400):
        digits = generator.multinomial(10_000, [1e-4] * 10_000)
        means.append((wrong[generator.integers(15, size=15)] @ digits).mean() / 10_000)
    low, high = row["of_both"]
    assert (low + high) / 2 == pytest.approx(row["mean"])
    assert 1.96 * np.std(means) == pytest.approx((high - low) / 2, rel=0.1)


def test_a_difference_is_one_of_two_groups_by_hand(tmp_path):
    """Means 0.94 and 0.91; squared errors 1e-4 and 1e-4, so t = 0.03 / 0.01414 with 2 degrees."""
    accuracies = {"one": {0: 0.93, 1: 0.95}, "two": {0: 0.92, 1: 0.90}}
    study = {
        name: {"config": {}, "runs": [{"held_out_accuracy": value} for value in seeds.values()]}
        for name, seeds in accuracies.items()
    }
    (tmp_path / "study.json").write_text(json.dumps(study))
    found = results.difference("study/one", "study/two", folder=tmp_path)
    assert found.mean == pytest.approx(0.03)
    assert found.high - found.mean == pytest.approx(2**0.5 * 0.01 * 4.30265, abs=1e-6)
    assert found.p == pytest.approx(0.1679, abs=1e-4)  # of t = 2.1213
    assert found.seeds == (2, 2)
    line = results.compared({"one less two": ("study/one", "study/two")}, tmp_path)
    assert line == "one less two  +3.00 ± 6.08 points, n = 2"


def test_holm_s_correction_by_hand():
    """The second fails at twice its p, and with it all that follow, even if alone they pass."""
    assert results.told_apart({"some": 0.026, "much": 0.004, "none": 0.2}) == {
        "much": True, "some": False, "none": False,
    }  # fmt: skip
    assert not any(results.told_apart({"one": 0.02, "two": 0.022, "three": 0.024}).values())
    assert all(results.told_apart({"one": 0.01, "two": 0.02, "three": 0.04}).values())  # by rank


def stored(folder, errors: dict):
    """Configurations with these errors, one of each seed."""
    study = {
        name: {"config": {}, "runs": [{"errors": value} for value in values]}
        for name, values in errors.items()
    }
    (folder / "study.json").write_text(json.dumps(study))


def test_errors_left_by_hand(tmp_path):
    """ln 100, ln 121 against twice ln 50: a mean of ln 50 − ln 110; scatter (ln 1.21)²/2 over 2."""
    stored(tmp_path, {"many": [100, 121], "few": [50, 50]})
    left = results.errors_left([("study/many", "study/few")], tmp_path)
    assert left.share == pytest.approx(50 / 110)
    variance = math.log(1.21) ** 2 / 2 / 2  # pooled over two networks, one degree of freedom each
    half = 4.3027 * (variance * (1 / 2 + 1 / 2)) ** 0.5
    assert left.low == pytest.approx(50 / 110 * math.exp(-half), rel=1e-4)
    assert left.high == pytest.approx(50 / 110 * math.exp(half), rel=1e-4)
    assert str(left) == f"45% ({left.low:.0%} to {left.high:.0%})"


def test_errors_left_are_averaged_over_pairs_and_a_shared_network_counts_twice(tmp_path):
    """Two halvings in a row: each leaves a half, and the one between cancels out of the scatter."""
    stored(tmp_path, {"a": [100, 100], "b": [40, 62.5], "c": [25, 25]})
    pairs = [("study/a", "study/b"), ("study/b", "study/c")]
    left = results.errors_left(pairs, tmp_path)
    assert (left.share, left.pairs) == (pytest.approx(0.5), 2)
    scatter = (math.log(62.5) - math.log(40)) ** 2 / 2 / 3
    half = 3.1824 * (scatter * (2 * 0.5**2 / 2)) ** 0.5
    assert left.high == pytest.approx(0.5 * math.exp(half), rel=1e-4)


def test_errors_left_of_one_seed_have_no_interval(tmp_path):
    stored(tmp_path, {"many": [100], "few": [50, 60]})
    left = results.errors_left([("study/many", "study/few")], tmp_path)
    assert math.isnan(left.low)
    assert str(left) == "55%"
