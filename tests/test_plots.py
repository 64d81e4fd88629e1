"""The plots draw the numbers they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mnist_utils.plots import plot_effective_field, plot_fields_on_digit, plot_staircase


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_square_for_each_layer_covers_its_pixels():
    boxes = {"c1": ((3, 5), (4, 8)), "gap": ((-2, 29), (0, 27))}
    ax = plot_fields_on_digit(np.zeros((28, 28)), boxes)
    first, last = ax.patches
    assert (first.get_xy(), first.get_width(), first.get_height()) == ((3.5, 2.5), 5, 3)
    assert (last.get_y(), last.get_height()) == (-2.5, 32)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["c1", "gap"]
    bottom, top = ax.get_ylim()
    assert top <= -2.5
    assert bottom >= 29.5


def test_the_heat_map_and_its_square():
    weight = np.arange(784.0).reshape(28, 28)
    _, given = plt.subplots()
    ax = plot_effective_field(weight, ((0, 27), (0, 27)), ax=given)
    assert ax is given
    assert np.allclose(ax.images[0].get_array(), weight / weight.max())
    assert ax.patches[0].get_width() == 28


def test_contours_over_a_digit():
    weight, digit = np.arange(784.0).reshape(28, 28), np.zeros((28, 28))
    box = ((0, 27), (0, 27))
    ax = plot_effective_field(weight, box, image=digit, contours={"half": 392.0})
    assert np.array_equal(ax.images[0].get_array(), digit)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["half", "what it can see"]


def test_the_staircase_and_its_marks():
    ax = plot_staircase(["c1", "c2", "gap"], [3, 5, 28])
    assert ax.lines[0].get_ydata().tolist() == [3, 5, 28]
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == [20, 28]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["c1", "c2", "gap"]
    assert len(plot_staircase(["a"], [3], marks={}).lines) == 1
