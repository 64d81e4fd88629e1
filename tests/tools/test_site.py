"""The site as its readers get it: whole, the same every time, and with nothing from elsewhere."""

import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest

from mnist_utils.files import ROOT


class Page(HTMLParser):
    """A page's anchors, its links, the pictures' texts, and what a browser fetches for it."""

    def __init__(self, html: str):
        super().__init__()
        self.anchors, self.links, self.fetched, self.texts = set(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link":
            self.fetched.append(attributes["href"])
        if "src" in attributes:
            self.fetched.append(attributes["src"])
        if tag == "img":
            self.texts.append(attributes.get("alt", ""))


def build(folder):
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-c", "tools/site",
         "-d", folder / "doctrees", ".", folder / "site"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_lesson_and_exercise_has_its_page(site):
    sources = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("notebooks/exercises/*.ipynb")]
    assert len(sources) > 20
    for source in sources:
        assert (site / source.relative_to(ROOT).with_suffix(".html")).exists()
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_every_link_within_the_site_leads_to_a_page_and_a_place_on_it(pages):
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(unquote(link))
            if target.startswith(("https://", "mailto:")):
                continue
            leads = (path.parent / target).resolve() if target else path
            assert leads.exists(), (path.name, link)
            if anchor and leads.suffix == ".html":
                assert anchor in pages[leads].anchors, (path.name, link)


def test_a_browser_fetches_nothing_from_elsewhere(pages):
    fetched = [(path.name, what) for path, page in pages.items() for what in page.fetched]
    assert len(fetched) > 100
    outside = [pair for pair in fetched if ":" in pair[1].split("?")[0]]
    assert [pair for pair in outside if pair[1] != "data:,"] == []  # the lab's icon: none


def test_every_picture_says_what_it_shows(pages):
    texts = [text for page in pages.values() for text in page.texts]
    assert len(texts) > 30
    assert all(len(text.split()) >= 3 for text in texts)


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
