"""What the lab expects of a network is what was measured of its like, and nothing of others."""

import math
import random

import numpy as np
import pytest

from classroom.factorial import DESIGNS
from classroom.lab import expect
from classroom.lab.design import rows_of
from mnist_utils import chains, models
from tools.reproduce.plan import SWEPT

EXPECT = "([rows, sweep], lab) => lab.expected(rows, sweep)"


@pytest.fixture(scope="module")
def networks():
    return expect.alike()


def expected(rows_of_each, javascript):
    return javascript(EXPECT, [[rows, expect.surface()] for rows in rows_of_each])


def test_what_was_measured_is_whole_and_its_fields_are_those_that_paper_gives(networks):
    by_notation = {network.notation: network for network in networks}
    undilated = {d.notation for d in DESIGNS if "d" not in d.notation}
    assert by_notation.keys() == set(SWEPT) | undilated
    assert all(by_notation[d.notation].field == d.field for d in DESIGNS if d.notation in undilated)
    assert all(len(network.accuracies) == 3 for network in networks)
    assert {min(n.field for n in networks), max(n.field for n in networks)} == {6, 40}
    assert by_notation["12C5-MP2-12C3-MP2-12C3"].field == 5 + 1 + 2 * 2 + 2 + 2 * 4
    assert by_notation["16C5s2-16C3-MP2-32C3"].field == 5 + 2 * 2 + 2 + 2 * 4


def test_the_page_expects_what_the_surface_gives(networks, javascript):
    said = expected([chains.rows(network.notation) for network in networks], javascript)
    odds = expect.terms(networks) @ np.array(expect.surface()["coefficients"])
    half = expect.surface()["half"]
    for answer, odd in zip(said, odds, strict=True):
        for name, shift in (("low", half), ("mean", 0), ("high", -half)):
            assert math.isclose(answer[name], 1 / (1 + math.exp(odd + shift)), abs_tol=1e-9)


def test_nineteen_in_twenty_lie_within_when_their_family_is_left_out(networks):
    misses = np.abs(expect.left_out(networks))
    inside = (misses <= expect.surface()["half"] + 1e-4).mean()
    assert 0.94 <= inside <= 0.97


def test_a_family_left_out_is_predicted_by_the_others_alone(networks):
    """By hand: one family's networks moved, and the surface that predicts them stays."""
    family = networks[0].family
    moved = [n._replace(accuracies=(0.5,) * 3) if n.family == family else n for n in networks]
    out = np.array([n.family == family for n in networks])
    before = expect.log_odds(networks) - expect.left_out(networks)
    after = expect.log_odds(moved) - expect.left_out(moved)
    np.testing.assert_allclose(before[out], after[out])
    assert not np.allclose(before[~out], after[~out])


def test_beyond_a_digit_s_size_a_larger_field_promises_nothing_more_and_nothing_less(javascript):
    chains_of = ("14C5-MP2-14C3-MP2-14C3", "14C5-MP4-14C3-14C3")  # 20 and 24 pixels, one size
    near, far = expected([chains.rows(notation) for notation in chains_of], javascript)
    assert near["mean"] == far["mean"]


def _without(kind):
    return lambda rows: rows.remove(next(r for r in rows if r["kind"] == kind))


def _with(place, row):
    return lambda rows: rows.insert(place, row)


def _set(place, **numbers):
    return lambda rows: rows[place].update(numbers)


# What is done to a design that was measured, 0 conv, 1 norm, 2 relu, 3 maxpool, 4 conv … -> what
# the lab must say of it.
UNLIKE = [
    (_without("relu"), "followed by BatchNorm and ReLU"),
    (_without("norm"), "followed by BatchNorm and ReLU"),
    (lambda rows: rows.insert(1, rows.pop(2)), "followed by BatchNorm and ReLU"),
    (_with(2, {"kind": "dropout"}), "followed by BatchNorm and ReLU"),
    (_set(3, kind="avgpool"), "followed by BatchNorm and ReLU"),
    (_with(0, {"kind": "pad", "p": -2}), "followed by BatchNorm and ReLU"),
    (_without("gap"), "does not end in GAP"),
    (_set(-1, kind="linear"), "does not end in GAP"),
    (_set(-1, k=3, p=1), "does not end in GAP"),
    (_set(-1, out=11), "does not end in GAP"),
    (_set(4, d=2), "dilated or in groups"),
    (_set(4, groups=2), "dilated or in groups"),
    (_set(4, k=2), "even kernel"),
    (_set(4, k=3, p=2), "even kernel"),
    (_set(4, s=2), "even kernel"),
    (_set(0, s=3), "even kernel"),
    (_set(3, k=3, s=2), "a pool's windows"),
    (_set(3, p=1), "a pool's windows"),
    (_set(0, out=1), "more than twice the channels"),
]


def test_what_is_unlike_all_that_was_measured_gets_no_promise_and_the_reason(javascript):
    chance, asked = random.Random(0), []
    measured = [n for n in SWEPT if "MP" in n.split("-")[1]]
    for spoil, why in UNLIKE:
        for notation in chance.sample(measured, 5):
            rows = [dict(row) for row in chains.rows(notation)]
            spoil(rows)
            asked.append((rows, why))
    asked += [(chains.rows("16C5"), "fewer than two"), (chains.rows("16C3" + 6 * "-16C3"), "six")]
    asked += [(chains.rows("64C5-MP2-64C3"), "networks were, with 6 to 40 pixels")]
    asked += [(rows_of(models.build(name)), "it ") for name in ("Model1", "Model3", "CourseNet")]
    for answer, (rows, why) in zip(expected([r for r, _ in asked], javascript), asked, strict=True):
        assert answer.keys() == {"text"}, rows
        assert answer["text"].startswith("not measured: ")
        assert why in answer["text"], (answer["text"], rows)
