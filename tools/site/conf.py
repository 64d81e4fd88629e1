"""The course as a site: `make site` renders README, notebooks and exercises into `site/`.

Nothing is run: pages show the outputs that the notebooks store. A reader's browser fetches nothing
but the site's own files. README is the first page; what it leads to is appended here, unseen by
whoever reads it elsewhere, and so is the lab, which needs a script, to its page.
"""

import shutil
from pathlib import Path

import nbformat
from docutils import nodes

from classroom.lab import page

project = html_title = "Convolutional network design on MNIST"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "receptive/README.md",
    "notebooks/[01]*.ipynb",
    "notebooks/assignment/assignment.ipynb",
    "notebooks/exercises/*.ipynb",
    "notebooks/LAB.md",
    "notebooks/TEACHING.md",
    "notebooks/TEACHING_AWS.md",
    "results/README.md",
    "results/CLAIMS.md",
]
CONTENTS = """

```{toctree}
:hidden:
:glob:
:caption: Lessons
notebooks/[01]*
notebooks/LAB
```
```{toctree}
:hidden:
:glob:
:caption: Exercises
notebooks/exercises/*
notebooks/assignment/assignment
```
```{toctree}
:hidden:
:caption: Behind it
notebooks/TEACHING
notebooks/TEACHING_AWS
results/README
results/CLAIMS
data/README
receptive/README
CONTRIBUTING
```
"""

# Long lines and wide tables are scrolled by keyboard, too.
SCROLLED = """addEventListener("DOMContentLoaded", () => {
  for (const wide of document.querySelectorAll("article pre, .table-wrapper")) wide.tabIndex = 0;
});"""

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = nb_code_prompt_hide = "code that only checks, or sets up"
myst_heading_anchors = 3  # as GitHub makes them

html_theme = "furo"
_QUIET = {  # of folds, which furo takes for admonitions
    "color-admonition-title": "var(--color-background-border)",
    "color-admonition-title-background": "transparent",
}
html_theme_options = {"light_css_variables": _QUIET, "dark_css_variables": _QUIET}
html_favicon = "favicon.svg"
html_copy_source = html_show_sourcelink = html_show_copyright = html_use_index = False


def setup(app):
    """Called by Sphinx: README gets its contents, pictures their words, the site its index."""
    app.connect("source-read", append_contents)
    app.connect("doctree-read", say_what_pictures_show)
    app.connect("html-page-context", name_folds)
    app.connect("build-finished", make_index)
    app.add_js_file(None, body=SCROLLED)


def name_folds(app, name: str, template: str, context: dict, doctree) -> None:
    """A fold is called what stands on it, not by another label for those who cannot see."""
    label = ' aria-label="Toggle hidden content"'
    context["body"] = context.get("body", "").replace(f"<summary{label}>", "<summary>")


def append_contents(app, docname: str, source: list[str]) -> None:
    if docname == root_doc:
        source[0] += CONTENTS
    if docname == "notebooks/LAB":
        source[0] += f"\n``````{{raw}} html\n{page.fragment()}``````\n"


def say_what_pictures_show(app, doctree) -> None:
    """Give a notebook's pictures the texts that are stored beside them, for who cannot see."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix == ".ipynb":
        cells = nbformat.read(source, as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        stored = [output.metadata["image/png"] for output in outputs if _is_picture(output)]
        for picture, about in zip(doctree.findall(nodes.image), stored, strict=True):
            picture["alt"] = about["alt"]


def _is_picture(output) -> bool:
    return "image/png" in output.get("data", {})


def make_index(app, error: Exception | None) -> None:
    if error is None:
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")
