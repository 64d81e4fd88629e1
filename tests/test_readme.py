"""README as its readers see it: through GitHub's own parser."""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "results/README.md",
        "data/README.md",
        "notebooks/LAB.md",
        "notebooks/TEACHING.md",
        "notebooks/TEACHING_AWS.md",
        "mnist_utils/jobs/iam/README.md",
    )
]


class Page(HTMLParser):
    """Links, pictures, and the text outside code, of a rendered page."""

    def __init__(self, markdown: str):
        super().__init__()
        self.links, self.pictures, self.text, self.code = [], [], "", 0
        unsafe = cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE  # keep HTML, as GitHub does
        self.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, unsafe))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "a":
            self.links.append(attributes["href"])
        if tag == "img":
            self.pictures.append((attributes["src"], attributes.get("alt", "")))
        self.code += tag == "code"

    def handle_endtag(self, tag):
        self.code -= tag == "code"

    def handle_data(self, data):
        if not self.code:
            self.text += data


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request):
    return request.param, Page(request.param.read_text())


def test_every_link_and_picture_leads_somewhere(page):
    path, seen = page
    for target in [*seen.links, *(source for source, _ in seen.pictures)]:
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


def test_every_picture_has_a_text_in_its_place(page):
    assert all(len(alt.split()) >= 3 for _, alt in page[1].pictures)


def test_no_markdown_is_left_over(page):
    """Where a line began with a mark, GitHub took it for HTML and showed what followed raw."""
    assert not re.search(r"`|\*\*|\]\(|<!--", page[1].text)


def test_no_figure_s_mark_begins_a_line(page):
    """GitHub would end the paragraph there, even where no Markdown is left over."""
    lines = page[0].read_text().splitlines()
    torn = [
        line for line in lines if line.startswith("<!--=") and not line.startswith("<!--=table.")
    ]
    assert torn == []


def test_the_test_sees_a_mark_that_begins_a_line():
    broken = Page("Beyond\n<!--=a.b-->35 times<!--/--> `fast` is [dead](link).")
    assert "`fast` is [dead](link)" in broken.text
    assert not broken.links


def commands(text: str) -> list[list[str]]:
    """The command lines of a page, in blocks and between the lines, as words."""
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, flags=re.DOTALL))
    inline = "\n".join(re.findall(r"`((?:make|python) [^`]+)`", text))
    lines = f"{blocks}\n{inline}".splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(COMMANDS)]


COMMANDS = ("make ", "python -m ")
EVERY = [words for path in PAGES for words in commands(path.read_text())]
ASKED = sorted({words[2] for words in EVERY if words[0] == "python"})


def test_the_workflow_begins_with_the_oldest_python_that_is_promised():
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    workflow = (ROOT / ".github/workflows/test.yml").read_text()
    assert re.findall(r'python-version: \["([\d.]+)"', workflow) == [oldest]


def test_every_target_exists_also_in_the_workflows():
    runs = [re.findall(r"run: (make .*)", p.read_text()) for p in ROOT.glob(".github/workflows/*")]
    assert len(runs) == 3
    assert all(runs)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    asked = [words[1:] for words in EVERY if words[0] == "make"]
    asked += [run.split()[1:] for run_ in runs for run in run_]
    assert len(asked) > 6
    for words in asked:
        assert all(word in targets for word in words if "=" not in word), words


@pytest.mark.parametrize("module", ASKED)
def test_every_command_answers_help_and_has_the_options_that_a_page_gives_it(module):
    words = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    given = [word for words in EVERY if words[2:3] == [module] for word in words[3:]]
    sub = [word for word in given if re.fullmatch("[a-z]+", word) and word in done.stdout][:1]
    if sub:  # `jobs clean --older 2h`: the options of a command of its own
        words = [sys.executable, "-m", module, *sub, "--help"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    options = re.findall(r"--[\w-]+", done.stdout)
    assert [word for word in given if word.startswith("--") and word not in options] == []
