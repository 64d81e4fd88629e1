"""The table on paper against `describe`, and each mistake recognised in any network."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from classroom.checks import recurrence
from classroom.checks.recurrence import MISTAKES, NAMED, Layer, table
from mnist_utils.receptive_field import Row, Window
from receptive import describe

CONV, POOL, MEAN = Layer(Window(3)), Layer(Window(2, 2), "pool"), Layer(Window(3), "mean")
MODEL3 = [CONV] * 3 + [POOL] + [CONV] * 4 + [MEAN]


@st.composite
def chains(draw, mean=True):
    """Two to seven convolutions and pools, and perhaps the mean; at least one unit is left."""
    layers = []
    for _ in range(draw(st.integers(2, 7))):
        k, s = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        kind = draw(st.sampled_from(("conv", "conv", "pool")))
        p, d = (draw(st.integers(0, k // 2)), draw(st.integers(1, 2))) if kind == "conv" else (0, 1)
        layers.append(Layer(Window(k, s, p, d), kind))
    if mean and draw(st.booleans()):
        layers.append(MEAN)
    try:
        table(layers)
    except ValueError:
        assume(False)
    return layers


def network(layers):
    made = {
        "conv": lambda w: nn.Conv2d(1, 1, w.kernel_size, w.stride, w.padding, w.dilation),
        "pool": lambda w: nn.MaxPool2d(w.kernel_size, w.stride, w.padding),
        "mean": lambda w: nn.AdaptiveAvgPool2d(1),
    }
    return nn.Sequential(*(made[layer.kind](layer.window) for layer in layers))


@settings(max_examples=60, deadline=None)
@given(chains())
def test_the_table_is_the_one_that_describe_reads_off_the_network(layers):
    rows = [row for row in describe(network(layers), (1, 28, 28)).rows if row.kind != "Sequential"]
    for ours, theirs in zip(table(layers), rows, strict=True):
        assert ours.size == theirs.output_shape[-1]
        if theirs.receptive_field is not None and ours.size > 1:
            assert (ours.receptive_field, ours.jump) == (theirs.receptive_field, theirs.jump)
            assert ours.start == theirs.start


@pytest.mark.parametrize("name", NAMED)
@settings(max_examples=30, deadline=None)
@given(layers=chains())
def test_a_mistake_is_recognised_in_any_network(name, layers):
    mistake = NAMED[name]
    for rule in mistake.rules:
        try:
            column = recurrence.column_with(mistake, rule, layers)
        except (ValueError, ZeroDivisionError):
            continue  # believing this, one would have seen that the network cannot be
        rows = [
            row._replace(**{mistake.column: value})
            for row, value in zip(table(layers), column, strict=True)
        ]
        if recurrence.by_corners(rows, layers):
            continue  # the same numbers, counted from the pixels' corners
        for finding in recurrence.diagnose(rows, layers):
            assert finding.follows or name in finding.mistakes


def test_every_mistake_has_a_name_of_its_own_and_changes_some_table():
    assert len(NAMED) == len(MISTAKES)
    odd = [POOL, Layer(Window(3, 2, 1, 2)), POOL, Layer(Window(4, 1, 1)), Layer(Window(3, 2))]
    wide = [Layer(Window(3, padding=1))] * 8  # sees more than an image of 9 pixels
    for mistake in MISTAKES:
        chain, image = (wide, 9) if mistake.name == "never more than the image" else (odd, 63)
        image = Row(image, 1, 1, 0.0)
        right = [getattr(row, mistake.column) for row in table(chain, image)]
        for rule in mistake.rules:
            assert recurrence.column_with(mistake, rule, chain, image) != right, mistake.name


def with_fields(fields):
    rows = zip(table(MODEL3), fields, strict=True)
    return [row._replace(receptive_field=value) for row, value in rows]


def test_the_causes_of_a_table_and_what_follows_from_a_wrong_entry_is_not_counted_again():
    for fields, names in (
        ([3, 5, 7, 8, 12, 16, 20, 24, 28], []),
        ([3, 5, 7, 9, 13, 17, 21, 25, 29], ["jump before size"]),
        ([3, 5, 7, 14, 18, 22, 26, 30, 34], ["a pool doubles the field"]),
        ([3, 5, 7, 14, 16, 18, 20, 22, 26], ["jump ignored", "a pool doubles the field"]),
        ([3, 5, 7, 8, 10, 12, 14, 16, 18], ["jump ignored"]),
        ([3, 5, 7, 8, 12, 16, 20, 28, 28], ["one row early"]),
        ([3, 5, 7, 8, 12, 17, 21, 25, 29], [None]),
    ):
        findings = recurrence.diagnose(with_fields(fields), MODEL3)
        assert [name for name, _ in recurrence.causes(findings)] == names, fields
    findings = recurrence.diagnose(with_fields([3, 5, 7, 14, 18, 22, 26, 30, 34]), MODEL3)
    assert [finding.follows for finding in findings] == [False] + [True] * 5


def test_corners_of_a_pixel_and_a_lone_unit_s_jump_are_free_and_mixed_starts_are_not():
    *rows, last = right = table(MODEL3)
    corners = [row._replace(start=row.start + 0.5) for row in right]
    for fine in (corners, [*rows, last._replace(jump=2)]):
        assert recurrence.diagnose(fine, MODEL3) == []
    for wrong in ([*corners[:-1], last], [*rows, last._replace(jump=5)]):
        assert recurrence.diagnose(wrong, MODEL3)
