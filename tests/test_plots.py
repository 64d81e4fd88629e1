"""The plots draw the numbers they are given."""

import base64
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from mnist_utils import plots

ROOT = Path(__file__).resolve().parent.parent
PICTURES = sorted((ROOT / "images").glob("*.png"))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_square_for_each_layer_covers_its_pixels():
    boxes = {"c1": ((3, 5), (4, 8)), "gap": ((-2, 29), (0, 27))}
    ax = plots.fields_on_digit(np.zeros((28, 28)), boxes)
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
    ax = plots.effective_field(weight, ((0, 27), (0, 27)), ax=given)
    assert ax is given
    assert np.allclose(ax.images[0].get_array(), weight / weight.max())
    assert ax.patches[0].get_width() == 28


def test_contours_over_a_digit():
    weight, digit = np.arange(784.0).reshape(28, 28), np.zeros((28, 28))
    box = ((0, 27), (0, 27))
    ax = plots.effective_field(weight, box, image=digit, contours={"half": 392.0})
    assert np.array_equal(ax.images[0].get_array(), digit)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["half", "what it can see"]


def test_the_staircase_and_its_marks():
    ax = plots.staircase(["c1", "c2", "gap"], [3, 5, 28])
    assert ax.lines[0].get_ydata().tolist() == [3, 5, 28]
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == [20, 28]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["c1", "c2", "gap"]
    assert len(plots.staircase(["a"], [3], marks={}).lines) == 1


# --- what people see ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_no_label_of_a_picture_is_cut_off(path):
    """Ink that touches the border has lost something beyond it."""
    opacity = plt.imread(path)[:, :, 3]
    border = np.concatenate([opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]])
    assert border.max() == 0


def test_a_label_beyond_the_canvas_makes_the_picture_larger(tmp_path):
    ax = plots.staircase(["c1"], [3])
    plots.save(ax, tmp_path / "fits.png")
    ax = plots.staircase(["c1"], [3])
    ax.annotate("far outside", (1.5, 0.5), xycoords="axes fraction")
    plots.save(ax, tmp_path / "grows.png")
    fits, grows = (plt.imread(tmp_path / name) for name in ("fits.png", "grows.png"))
    assert grows.shape[1] > fits.shape[1]
    assert grows[:, -1, 3].max() == 0


def test_text_is_readable_on_white_and_on_black():
    """WCAG's contrast, 3 at least for large text; grey text on a transparent picture."""

    def luminance(colour):
        share = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    for page in ("#FFFFFF", "#0D1117"):  # GitHub's light and dark
        for ink in (plots.GREY, plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED):
            one, two = luminance(page), luminance(ink)
            assert max(one, two) / min(one, two) > (4 if ink == plots.GREY else 2)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_s_pictures_are_those_of_images_and_say_what_they_show(path):
    kept = {picture.read_bytes() for picture in PICTURES}
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert base64.b64decode(output.data["image/png"]) in kept
                about = output.metadata["image/png"]
                assert len(about["alt"].split()) >= 8
                assert about["width"] < 1100


def test_drawing_leaves_the_caller_s_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    plots.staircase(["c1"], [3])
    assert dict(matplotlib.rcParams) == before


def test_keep_saves_where_it_is_asked_to_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_IMAGES", raising=False)
    plots.keep(plots.staircase(["c1"], [3]), "stairs", "One stair of three pixels.")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("MNIST_IMAGES", str(tmp_path))
    shown = plots.keep(plots.staircase(["c1"], [3]), "stairs", "One stair of three pixels.")
    assert (tmp_path / "stairs.png").read_bytes() == shown.data
    assert shown.alt == "One stair of three pixels."
    assert not plt.get_fignums()


def test_a_run_of_one_epoch_is_drawn_from_within():
    part = {"train_loss": 1.0, "train_accuracy": 0.5}
    within = [part | {"epoch": share} for share in (0.5, 1.0)]
    row = part | {
        "epoch": 1,
        "held_out": "test",
        "held_out_loss": 0.1,
        "held_out_accuracy": 0.99,
        "within": within,
    }
    training, held_out = plots.history([row]).axes[0].lines
    assert training.get_xdata().tolist() == [0.5, 1.0]
    assert held_out.get_xdata().tolist() == [1]
    training, _ = plots.history([row, row | {"epoch": 2}]).axes[0].lines
    assert training.get_xdata().tolist() == [1, 2]
