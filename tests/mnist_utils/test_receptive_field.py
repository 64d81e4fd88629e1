"""The lesson's recurrence, by hand."""

import pytest

from mnist_utils.receptive_field import Window, receptive_field, variance


def test_vgg_16_by_its_published_figures_and_dilation_and_stride_by_hand():
    stages = [2, 2, 3, 3, 3]
    windows = [w for n in stages for w in [Window(3)] * n + [Window(2, stride=2)]]
    assert receptive_field(windows) == (212, 32)
    assert receptive_field([]) == (1, 1)
    assert receptive_field([Window(3, dilation=4)]) == (9, 1)
    assert receptive_field([Window(1, stride=3), Window(3)]) == (7, 3)


def test_the_variance_of_a_window_is_that_of_its_positions():
    positions = [0, 2, 4]  # kernel 3, dilation 2
    mean = sum(positions) / 3
    expected = sum((p - mean) ** 2 for p in positions) / 3
    assert variance([Window(3, dilation=2)]) == pytest.approx(expected)
    assert variance([Window(3), Window(3)]) == pytest.approx(2 * 2 / 3)
