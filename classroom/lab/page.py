"""The lab in one HTML file, which opens from disk: no kernel, no server, nothing fetched."""

import json
from html import escape
from pathlib import Path

from torch import nn

from classroom.lab.design import base64, rows_of, weights_of
from classroom.lab.expect import alike, surface
from mnist_utils import data, models, results
from receptive import describe

HERE = Path(__file__).parent
SCRIPT, STYLE = HERE / "lab.js", HERE / "lab.css"
TITLE = "The lab: design a network for digits"
START = "16C5-MP2-16C3"
TRAINED = {"Model3": "reference"}  # network -> recipe: the first one reads what is drawn


def _vgg() -> nn.Module:
    """VGG's first two blocks (Simonyan and Zisserman 2015), for grey digits, with GAP behind."""
    layers, channels = [], 1
    for width in (64, 64, None, 128, 128, None):
        if width is None:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 10, 1))


PRESETS = {
    "small: two layers": lambda: models.build(START),
    "Model 1 of the ladder": lambda: models.build("Model1"),
    "Model 2": lambda: models.build("Model2"),
    "Model 3, the source's": lambda: models.build("Model3"),
    "CourseNet": lambda: models.build("CourseNet"),
    "VGG's first blocks": _vgg,
    "dilated by 2": lambda: models.build("FieldNet18Dilated"),
}

# Those that were measured -> where. The others' accuracy is expected of what is like them.
KNOWN = {
    "Model 1 of the ladder": "ladder/Model1",
    "Model 2": "ladder/Model2",
    "Model 3, the source's": "recipes/reference_batch",
    "CourseNet": "recipes/course",
    "dilated by 2": "fields/FieldNet18Dilated",
}


def _known(name: str) -> str:
    """An accuracy with its interval, n, and how it was measured."""
    row, config = results.summary(name), results.read(name)["config"]
    low, high = row["of_both"] or row["of_seeds"]
    digits = f"{config['validation']:,} held-out" if config["validation"] else "the test"
    return (
        f"{100 * row['mean']:.2f} ± {50 * (high - low):.2f}% on {digits} digits, n = {row['n']}, "
        f"{row['epochs']} epochs"
    )


def about(own: nn.Module | None = None) -> dict:
    """What the page needs besides its script: presets, weights, a digit of each kind, the sweep.

    `own` is a network whose weights the page shall use where the design is its.
    """
    split = data.load(train=False)
    first = [int((split.labels == digit).nonzero()[0]) for digit in range(10)]
    trained = [(f"the trained {name}", results.network(of)) for name, of in TRAINED.items()]
    trained += [("your network", own)] if own is not None else []
    return {
        "presets": {name: rows_of(build()) for name, build in PRESETS.items()},
        "trained": [
            {"name": name, "rows": rows_of(network), "weights": base64(weights_of(network))}
            for name, network in trained
        ],
        "digits": [base64(split.images[i].numpy()) for i in first],
        "labels": list(range(10)),
        "sweep": surface(),
        "known": {preset: _known(name) for preset, name in KNOWN.items()},
        "measured": {
            n.notation: [n.field, n.parameters, round(n.accuracy, 4), len(n.accuracies)]
            for n in alike()
        },
    }


def fragment(name: str = START) -> str:
    """A place for the lab, its style and its script; without a script, the network's table."""
    network = models.build(name)
    start = json.dumps(rows_of(network), separators=(",", ":"))
    known = json.dumps(about(), separators=(",", ":"))
    script = SCRIPT.read_text()
    return f"""<style>
{STYLE.read_text()}</style>
<div id="lab"></div>
<noscript><p>The lab needs a browser that runs its script. This is where it begins:</p>
<pre>{escape(describe(network).to_text(width=120))}</pre></noscript>
<script type="module">
{script}
standalone(document.getElementById("lab"), {known}, {start});
</script>
"""


def page() -> str:
    """The whole file."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{TITLE}</title>
<link rel="icon" href="data:,">
<style>body {{ margin: 16px; font: 15px/1.5 system-ui, sans-serif; }}</style>
</head>
<body>
<main>
<h1>{TITLE}</h1>
{fragment()}</main>
</body>
</html>
"""
