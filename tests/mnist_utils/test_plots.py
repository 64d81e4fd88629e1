"""Pictures are whole, readable, kept and told in words; nbval compares what they draw."""

import base64

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from gates import gate

from mnist_utils import plots
from mnist_utils.files import ROOT
from tools import pairs

PICTURES = sorted((ROOT / "images").glob("*.png"))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_label_beyond_the_canvas_makes_the_picture_larger_and_rcparams_stay(tmp_path):
    before = dict(matplotlib.rcParams)
    for name in ("fits", "grows"):
        ax = plots.staircase(["c1"], [3])
        if name == "grows":
            ax.annotate("far outside", (1.5, 0.5), xycoords="axes fraction")
        plots.save(ax, tmp_path / f"{name}.png")
    fits, grows = (plt.imread(tmp_path / name) for name in ("fits.png", "grows.png"))
    assert grows.shape[1] > fits.shape[1]
    assert grows[:, -1, 3].max() == 0
    assert dict(matplotlib.rcParams) == before


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


def test_a_notebook_s_pictures_are_those_of_images_whole_and_say_what_they_show():
    wrong, kept = [], {picture.read_bytes(): picture for picture in PICTURES}
    for path in PICTURES:
        opacity = plt.imread(path)[:, :, 3]
        border = np.concatenate([opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]])
        if border.max() > 0:  # ink that touches the border has lost something beyond it
            wrong.append(f"{path.name}: a label is cut off")
    for source in (source for source in pairs.every() if source.parent == pairs.FOLDER):
        path = source.with_suffix(".ipynb")
        cells = nbformat.read(path, as_version=4).cells
        for output in (output for cell in cells for output in cell.get("outputs", [])):
            if picture := output.get("data", {}).get("image/png"):
                name = kept.get(base64.b64decode(picture))
                about = output.metadata["image/png"]
                if not name:
                    wrong.append(f"{path.name}: a picture that is not in images/")
                elif len(about["alt"].split()) < 8 or about["width"] >= 1100:
                    wrong.append(f"{path.name}: {name.name} is too wide or without a text")
    gate(wrong, "draw it by plots.keep(drawing, name, alt), and run `make notebooks`")


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
    row = part | {"within": [part | {"epoch": share} for share in (0.5, 1.0)], "epoch": 1}
    row |= {"held_out": "test", "held_out_loss": 0.1, "held_out_accuracy": 0.99}
    training, held_out = plots.history([row]).axes[0].lines
    assert training.get_xdata().tolist() == [0.5, 1.0]
    assert held_out.get_xdata().tolist() == [1]
    training, _ = plots.history([row, row | {"epoch": 2}]).axes[0].lines
    assert training.get_xdata().tolist() == [1, 2]
