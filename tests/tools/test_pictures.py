"""What a reader would see in two pictures, the comparison sees; and nothing else."""

import numpy as np
import pytest
from PIL import Image

from mnist_utils import plots
from tools.pictures import DIFFERENT, largest_difference

ROWS = [("one", [0.991, 0.992, 0.994]), ("two", [0.993, 0.995, 0.996])]


@pytest.fixture
def differs(tmp_path):
    """Draw two pictures; return by how much they differ."""

    def compare(one, two):
        for name, drawing in (("one", one), ("two", two)):
            plots.save(drawing, tmp_path / f"{name}.png")
        return largest_difference(tmp_path / "one.png", tmp_path / "two.png")

    return compare


def seeds(rows=ROWS):
    return plots.seeds(rows, mark=("99.4%", 0.994), xlabel="accuracy")


def test_the_same_is_the_same_and_a_value_that_differs_by_rounding_too(differs):
    moved = [(name, [value + 1e-6 for value in values]) for name, values in ROWS]
    assert differs(seeds(), seeds()) == 0
    assert differs(seeds(), seeds(moved)) < DIFFERENT


def test_one_point_one_letter_and_another_number_on_a_bar_are_seen(differs):
    elsewhere, little = [0.991, 0.994, 0.994], [0.991, 0.9925, 0.994]
    for row in (("one", elsewhere), ("one", little), ("ome", ROWS[0][1])):
        assert differs(seeds(), seeds([row, ROWS[1]])) > DIFFERENT, row
    bars = [plots.bars(["a", "b"], [5_421, 6_742], ylabel="images") for _ in range(2)]
    bars[1].texts[0].set_text("5,427")
    assert differs(*bars) > DIFFERENT


def test_a_small_black_square_is_seen_and_another_size_too(tmp_path, differs):
    differs(seeds(), seeds())
    page = np.array(Image.open(tmp_path / "one.png"))
    page[100:112, 200:212] = (0, 0, 0, 255)
    Image.fromarray(page).save(tmp_path / "spot.png")
    assert largest_difference(tmp_path / "one.png", tmp_path / "spot.png") > DIFFERENT
    Image.fromarray(page[:-1]).save(tmp_path / "cut.png")
    assert largest_difference(tmp_path / "one.png", tmp_path / "cut.png") == float("inf")
