import re
import shutil

import pytest
from gates import gate

from mnist_utils import plots
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS, ROOT
from tools import ledger
from tools.pictures import DIFFERENT, largest_difference

IMAGES, README = ROOT / "images", ROOT / "README.md"


@pytest.fixture(scope="module")
def found():
    return ledger.claims()


def test_the_pages_and_the_ledger_are_what_the_results_give(found, refused, monkeypatch):
    pages = {page: ledger.render(page.read_text(), found) for page in ledger.PAGES}
    pages[ledger.CLAIMS] = ledger.ledger(found)
    stale = [p.relative_to(ROOT) for p, text in pages.items() if p.read_text() != text]
    gate(stale, "run `make report`")
    gate((key for key, c in found.items() if not c.value or not c.command), "complete the claim")
    readme = README.read_text()
    changed = readme.replace(found["course.both"].value, "99.99 ± 0.01%")
    assert changed != readme
    assert ledger.render(changed, found) == readme
    with pytest.raises(InputError, match="'made.up', which no measurement stands behind"):
        ledger.render("<!--=made.up-->5<!--/-->", found)
    monkeypatch.setattr(ledger, "render", lambda text, found: text + "more")
    assert "README.md differs from results/; run `make report`" in refused(ledger.main, "--check")
    assert README.read_text() == readme


def test_the_pictures_are_what_the_results_give(tmp_path):
    stale = []
    for name, drawing in ledger.pictures().items():
        plots.save(drawing, tmp_path / f"{name}.png")
        if largest_difference(tmp_path / f"{name}.png", IMAGES / f"{name}.png") >= DIFFERENT:
            stale.append(f"images/{name}.png")
    gate(stale, "run `make report`")


def test_a_changed_measurement_changes_the_page_and_the_picture(tmp_path):
    folder = shutil.copytree(RESULTS, tmp_path / "results")
    path = folder / "recipes.json"
    changed = re.sub(
        r'("fast": .*?"held_out_accuracy": 0\.99)\d',
        r"\g<1>0",
        path.read_text(),
        count=1,
        flags=re.S,
    )
    path.write_text(changed)
    readme = README.read_text()
    assert ledger.render(readme, ledger.claims(folder)) != readme
    plots.save(ledger.pictures(folder)["results"], tmp_path / "changed.png")
    assert largest_difference(tmp_path / "changed.png", IMAGES / "results.png") > DIFFERENT


# A number with the unit of a measurement, in prose.
FIGURE = re.compile(
    r"\d[\d.,]*(?: million)?\s?"
    r"(?:%|points|parameters|multiply-adds|MACs|errors|pixels|CPU s|CPU seconds|times)(?!\w)"
)


def test_no_figure_of_a_page_stands_outside_a_mark():
    assert FIGURE.search("99.4% of")
    outside = []
    for page in (
        page for page in ledger.PAGES if page != ledger.TEACHING
    ):  # whose are the rubric's
        text = re.sub(r"```.*?```", "", ledger.MARK.sub("", page.read_text()), flags=re.DOTALL)
        text = text.replace("95% interval", "")  # the level, chosen and not measured
        outside += [f"{page.relative_to(ROOT)}: {figure}" for figure in FIGURE.findall(text)]
    gate(outside, "put it between marks, <!--=key-->…<!--/-->, and compute it in tools/ledger.py")
