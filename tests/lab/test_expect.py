"""What the lab expects of a network is what the sweep measured, and nothing outside of it."""

import math

import numpy as np
import pytest

from mnist_utils import chains, models
from mnist_utils.lab import expect
from mnist_utils.lab.design import rows_of
from mnist_utils.reproduce.plan import SWEPT

EXPECT = "([rows, sweep], lab) => lab.expected(rows, sweep)"


@pytest.fixture(scope="module")
def networks():
    return expect.sweep()


def expected(rows_of_each, javascript):
    return javascript(EXPECT, [[rows, expect.surface()] for rows in rows_of_each])


def test_the_sweep_is_whole_and_its_fields_are_those_that_paper_gives(networks):
    by_notation = {network.notation: network for network in networks}
    assert by_notation.keys() == set(SWEPT)
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


def test_outside_of_the_sweep_nothing_is_expected(javascript):
    no_chain, too_far = "not measured: the sweep's networks", "not measured: the sweep has 6 to 40"
    rows = {
        "16C5": too_far,
        "64C5-MP2-64C3": too_far,
        "16C7-MP2-16C3": no_chain,
    }
    rows = [(chains.rows(notation), why) for notation, why in rows.items()]
    rows += [(chains.rows("16C5-MP2-16C3")[:-1], no_chain)]
    rows += [(rows_of(models.build(name)), no_chain) for name in ("Model1", "Model3")]
    for answer, (asked, why) in zip(expected([r for r, _ in rows], javascript), rows, strict=True):
        assert answer.keys() == {"text"}, asked
        assert answer["text"].startswith(why), asked
