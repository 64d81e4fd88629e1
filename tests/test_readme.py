"""README and its sisters as their readers see them: through GitHub's own parser."""

import re
import shlex
import subprocess
import sys

import cmarkgfm
from gates import gate
from pages import Page

from mnist_utils.files import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "results/README.md", "data/README.md", "notebooks/LAB.md",
         "notebooks/TEACHING.md", "notebooks/TEACHING_AWS.md",
         "cloud/jobs/iam/README.md", "receptive/README.md"]  # fmt: skip
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}


def rendered(markdown):
    unsafe = cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE  # keep HTML, as GitHub does
    return Page(cmarkgfm.github_flavored_markdown_to_html(markdown, unsafe))


def test_every_link_and_picture_leads_somewhere_and_every_picture_has_a_text():
    dead, mute = [], []
    for page, text in TEXTS.items():
        seen = rendered(text)
        for target in [*seen.links, *(source for source, _ in seen.pictures)]:
            if not target.startswith("https://"):
                there = (ROOT / page).parent.joinpath(target.split("#")[0]).exists()
                dead += [] if there else [f"{page}: {target}"]
        mute += [f"{page}: {source}" for source, alt in seen.pictures if len(alt.split()) < 3]
    gate(dead, "link to a file that is there")
    gate(mute, "say in alt= what the picture shows")


def left_over(markdown):
    """Where a line begins with a mark, GitHub takes it for HTML and shows what follows raw."""
    torn = re.findall(r"^<!--=(?!table\.).*", markdown, re.M)
    return torn + re.findall(r".*(?:`|\*\*|\]\(|<!--).*", rendered(markdown).text)


def test_no_markdown_is_left_over_and_no_figure_s_mark_begins_a_line():
    assert left_over("Beyond\n<!--=a.b-->35 times<!--/--> `fast` is [dead](link).")
    assert left_over("Beyond\n\n<!-- --> `fast`")
    wrong = [f"{page}: {line}" for page, text in TEXTS.items() for line in left_over(text)]
    gate(wrong, "no mark may begin a line: break the line elsewhere")


COMMANDS = ("make ", "python -m ")


def commands(text: str) -> list[list[str]]:
    """The command lines of a page, in blocks and between the lines, as words."""
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, flags=re.DOTALL))
    inline = "\n".join(re.findall(r"`((?:make|python) [^`]+)`", text))
    lines = f"{blocks}\n{inline}".splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(COMMANDS)]


EVERY = [(page, words) for page, text in TEXTS.items() for words in commands(text)]


def test_the_workflow_tries_every_python_that_is_promised():
    told = (ROOT / "pyproject.toml").read_text()
    low, beyond = map(int, re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', told).groups())
    tried = re.search(
        r"python-version: \[(.*)\]", (ROOT / ".github/workflows/test.yml").read_text()
    )
    assert re.findall(r'"3\.(\d+)"', tried[1]) == [str(n) for n in range(low, beyond)]
    assert f"Python 3.{low}\nto 3.{beyond - 1}" in TEXTS["README.md"]


def test_every_target_exists_also_in_the_workflows():
    asked = [(page, words[1:]) for page, words in EVERY if words[0] == "make"]
    for path in ROOT.glob(".github/workflows/*"):
        runs = re.findall(r"run: make (.*)", path.read_text())
        assert runs, f"{path.name} makes nothing"
        asked += [(path.name, run.split()) for run in runs]
    assert len(asked) > 6
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    gate(
        (
            f"{page}: make {word}"
            for page, words in asked
            for word in words
            if "=" not in word and word not in targets
        ),
        "name one of Makefile's targets",
    )


def test_every_command_answers_help_and_has_the_options_that_a_page_gives_it():
    helps, wrong = {}, []
    for page, words in EVERY:
        if words[0] == "python":
            module, *given = words[2:]
            sub = given[:1] if module.endswith(".jobs") and given[:1] != ["--rehearse"] else []
            module = " ".join([module, *(word for word in sub if word.isalpha())])
            if module not in helps:
                ask = [sys.executable, "-m", *module.split(), "--help"]
                done = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False)
                failed = f"{page}: python -m {module} fails: {done.stderr}"
                wrong += [failed] * bool(done.returncode)
                helps[module] = re.findall(r"--[\w-]+", done.stdout)
            options = [word for word in words[3:] if word.startswith("--")]
            wrong += [f"{page}: {module} {o}" for o in options if o not in helps[module]]
    assert len(helps) >= 3
    gate(wrong, "name a command and options that there are")
