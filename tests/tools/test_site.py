"""The site as its readers get it: whole, the same every time, and with nothing from elsewhere."""

import subprocess
import sys
from urllib.parse import unquote, urldefrag

import pytest
from gates import gate
from pages import Page

from mnist_utils.files import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-c", "tools/site",
         "-d", folder / "doctrees", ".", folder / "site"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_page_is_there_and_its_links_and_pictures_hold(site, pages):
    sources = [*ROOT.glob("notebooks/[01]*.ipynb"), *ROOT.glob("notebooks/exercises/*.ipynb")]
    expected = {site / source.relative_to(ROOT).with_suffix(".html") for source in sources}
    assert len(sources) > 20
    gate(expected - pages.keys(), "list it in tools/site/conf.py")
    assert (site / "index.html").read_text() == (site / "README.html").read_text()
    dead, outside, mute = [], [], []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(unquote(link))
            if not target.startswith(("https://", "mailto:")):
                leads = (path.parent / target).resolve() if target else path
                there = not anchor or leads.suffix != ".html" or anchor in pages[leads].anchors
                dead += [f"{path.name}: {link}"] * (not leads.exists() or not there)
        for what in page.fetched:  # the lab has no icon: data:,
            outside += [f"{path.name}: {what}"] * (":" in what.split("?")[0] and what != "data:,")
        mute += [f"{path.name}: {what}" for what, alt in page.pictures if len(alt.split()) < 3]
    assert sum(len(page.fetched) for page in pages.values()) > 100
    assert sum(len(page.pictures) for page in pages.values()) > 30
    gate(dead, "link to a page and a heading that are there")
    gate(outside, "a reader's browser fetches nothing from elsewhere: bring the file along")
    gate(mute, "say what the picture shows: plots.keep(drawing, name, alt)")


def test_in_a_browser_no_page_fails_or_shuts_anyone_out(site, pages, visit, barriers):
    """No error, no request to elsewhere, in both colours; and axe-core's rules."""
    with visit((site / "index.html").as_uri()) as browser:
        for number, path in enumerate(sorted(pages)):
            browser.emulate_media(color_scheme=("light", "dark")[number % 2])
            browser.goto(path.as_uri())
            assert barriers(browser, "'main, article'") == [], path.name


def test_on_its_page_the_lab_counts_and_reads(site, visit):
    with visit((site / "notebooks" / "LAB.html").as_uri()) as page:
        page.get_by_label("kernel size of row 1", exact=True).fill("3")
        assert "2,682 parameters" in page.inner_text(".totals")
        assert page.locator(".answer").inner_text().startswith("2 (")
