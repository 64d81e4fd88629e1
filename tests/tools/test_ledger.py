import re
import shutil

import pytest

from mnist_utils import plots
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS, ROOT
from tools import ledger
from tools.pictures import DIFFERENT, largest_difference

IMAGES, README = ROOT / "images", ROOT / "README.md"


@pytest.fixture(scope="module")
def found():
    return ledger.claims()


def test_the_pages_and_the_ledger_are_what_the_results_give(found):
    for page in ledger.PAGES:
        assert ledger.render(page.read_text(), found) == page.read_text()
    assert ledger.ledger(found) == ledger.CLAIMS.read_text()


def test_one_changed_digit_in_the_readme_is_seen(found):
    readme = README.read_text()
    changed = readme.replace(found["course.accuracy"].value, "99.99 ± 0.01%")
    assert changed != readme
    assert ledger.render(changed, found) == readme


def test_the_check_refuses_a_page_that_differs_and_writes_nothing(refused, monkeypatch):
    readme = README.read_text()
    monkeypatch.setattr(ledger, "render", lambda text, found: text + "more")
    assert "README.md differs from results/; run `make report`" in refused(ledger.main, "--check")
    assert README.read_text() == readme


def test_one_changed_measurement_is_seen(found, tmp_path):
    shutil.copytree(RESULTS, tmp_path / "results")
    path = tmp_path / "results" / "recipes" / "course.json"
    path.write_text(re.sub(r'("held_out_accuracy": 0\.9)9', r"\g<1>8", path.read_text(), count=1))
    readme = README.read_text()
    assert ledger.render(readme, ledger.claims(tmp_path / "results")) != readme


def test_the_pictures_are_what_the_results_give(tmp_path):
    for name, drawing in ledger.pictures().items():
        plots.save(drawing, tmp_path / f"{name}.png")
        drawn, kept = (folder / f"{name}.png" for folder in (tmp_path, IMAGES))
        assert largest_difference(drawn, kept) < DIFFERENT, f"images/{name}.png: run `make report`"


def test_a_changed_seed_changes_the_picture(tmp_path):
    shutil.copytree(RESULTS, tmp_path / "results")
    path = tmp_path / "results" / "recipes" / "fast.json"
    path.write_text(re.sub(r'("held_out_accuracy": 0\.99)\d', r"\g<1>0", path.read_text(), count=1))
    plots.save(ledger.pictures(tmp_path / "results")["results"], tmp_path / "changed.png")
    assert largest_difference(tmp_path / "changed.png", IMAGES / "results.png") > DIFFERENT


# A number with the unit of a measurement, in prose.
FIGURE = re.compile(
    r"\d[\d.,]*(?: million)?\s?"
    r"(?:%|points|parameters|multiply-adds|MACs|errors|pixels|CPU s|CPU seconds|times)(?!\w)"
)


@pytest.mark.parametrize("page", ledger.PAGES, ids=lambda page: page.parent.name)
def test_no_figure_of_a_page_stands_outside_a_mark(page):
    text = ledger.MARK.sub("", page.read_text())
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = text.replace("95% interval", "")  # the level, chosen and not measured
    assert FIGURE.search("99.4% of")
    assert FIGURE.findall(text) == []


def test_a_mark_without_a_measurement_is_refused(found):
    with pytest.raises(InputError, match="'made.up', which no measurement stands behind"):
        ledger.render("<!--=made.up-->5<!--/-->", found)


def test_every_claim_names_its_command(found):
    assert all(claim.command for claim in found.values())
    assert all(claim.value for claim in found.values())


def test_only_what_has_an_interval_prints_one(found):
    """A number of parameters has none, nor have CPU seconds."""
    having = {key for key, claim in found.items() if "to" in claim.interval.split()}
    kinds = ("accuracy", "errors", "interval")
    assert having == {
        key
        for key in found
        if not key.startswith(("source.", "bench."))
        and not key.endswith(("gap", "train_accuracy"))
        and key != "reference.accuracy"  # of one seed
        and (key.endswith(kinds) or key.startswith("ablation."))
    }


def test_every_claim_is_printed_on_a_page(found):
    """The ledger holds what a reader can see, and nothing else."""
    named = {key: claim._replace(value=f"[{key}]") for key, claim in found.items()}
    text = "".join(ledger.render(page.read_text(), named) for page in ledger.PAGES)
    assert [key for key in found if f"[{key}]" not in text] == []
