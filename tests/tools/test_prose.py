"""Figures in their sentences: beside the noun that they measure, and true where words tell them."""

import re
import tomllib

import pytest

from mnist_utils import results
from mnist_utils.files import RESULTS, ROOT
from mnist_utils.lab.expect import sweep
from mnist_utils.label_errors import LABEL_ERRORS
from mnist_utils.recipes import RECIPES
from mnist_utils.reproduce.plan import ABLATIONS, PLAN, SEEDS, ablation
from tools import house, ledger, setup

PAGES = {path: path.read_text() for path in (ROOT / "README.md", RESULTS / "README.md")}
GUIDES = [ROOT / "CONTRIBUTING.md", *(ROOT / "notebooks").glob("*.md")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Mark -> what stands right before and after it: two marks that change places are seen.
BESIDE = {
    "reference.early": ("Of the reference's errors", "lie among the first 5,000 digits"),
    "reference.late": ("digits and", "among the last"),
    "source.half_width": ("knows its network's rate to about", "either way"),
    "bench.fast": ("`fast` is", "as fast as the naive reference"),
    "bench.augmentation": ("a batch at a time is", "as fast as albumentations"),
    "bench.torch": ("`course` reads, per CPU second,", "digits"),
    "bench.onnx": ("in ONNX Runtime with the same weights it reads", ";"),
    "bench.torch.one": ("a single digit takes it", "ms"),
    "bench.onnx.one": ("and there", "ms"),
    "float32.course": ("without bfloat16 `make train` made", ", and after one epoch"),
    "float32.quick": ("the quick look,", ". Busy with"),
    "float32.cpu": ("that machine took", "CPU seconds, where"),
    "bench.course.cpu": ("where ours takes", ". None"),
    "source.test_accuracy": ("claims", "from one run"),
    "source.epoch1": ("after the first epoch the source has", "and we"),
    "reference.epoch1": ("and we", ", after the fifth"),
    "source.epoch5": ("after the fifth", "and"),
    "reference.epoch5": ("and", ". The test figure"),
    "reference.errors": ("This one makes", "errors of 10,000"),
    "reference.interval": ("with a 95% interval of", ": the claim lies"),
    "reference.gap1": ("of about a point:", "points after the first epoch"),
    "reference.gap5": ("epoch,", "after the fifth"),
    "reference.gap20": ("after the fifth,", "after the last"),
    "reference.rises": ("it rose in", "of 19 steps"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.parent.name)
def test_every_mark_stands_beside_its_noun(page):
    text = PAGES[page]
    marks = [mark for mark in ledger.MARK.finditer(text) if not mark[1].startswith("table.")]
    assert marks
    for mark in marks:
        sides = text[: mark.start()], text[mark.end() :]
        before, after = (" ".join(ledger.MARK.sub("", side).split()) for side in sides)
        assert before.endswith(BESIDE[mark[1]][0]), mark[1]
        assert after.startswith(BESIDE[mark[1]][1]), mark[1]


def accuracy(recipe):
    return results.summary(recipe)["mean"]


def best(recipe):
    return max(run["held_out_accuracy"] for run in results.runs(recipe))


def parameters(recipe):
    return results.summary(recipe)["parameters"]


def seconds(key):
    return float(ledger.claims()[f"bench.{key}.cpu"].value)


# A sentence that tells a measurement in words -> whether it is so.
IN_WORDS = {
    "in eleven notebooks": lambda: len([*(ROOT / "notebooks").glob("[01]*.ipynb")]) == 11,
    "Python 3.11 or newer": lambda: PROJECT["requires-python"] == ">=3.11",
    "over any torch from 2.8 on": lambda: setup.OLDEST["torch"] == (2, 8),
    "what accuracy 68 trained networks": lambda: len(sweep()) == 68,
    "in files of 280 lines at the most": lambda: all(
        len(path.read_text().splitlines()) <= 280
        for room, paths in house.rooms().items()
        for path in paths
        if not house.is_door(room)
    ),
    "is worth on the last 5,000 training digits": lambda: all(
        results.read(ablation(recipe, change))["config"]["validation"] == 5_000
        for recipe, changes in ABLATIONS.items()
        for change in ("", *changes)
    ),
    "One thread of an AMD EPYC with AVX-512, torch 2.15.0.": lambda: (
        results.history("course")["versions"]["torch"].startswith("2.15.0")
        and "EPYC" in str(results.history("course")["machine"])
    ),
    "then trained on all 60,000": lambda: all(
        recipe.validation == recipe.subset == 0 for recipe in RECIPES.values()
    ),
    "about a minute on 2 cores": lambda: 40 < seconds("course") < 80,
    "15 label errors": lambda: len(LABEL_ERRORS) == 15,
    "fewer parameters than the reference, and fewer errors": lambda: (
        parameters("course") < parameters("reference")
        and accuracy("course") > accuracy("reference")
    ),
    "the fewest errors, at the source's own limit": lambda: (
        max(RECIPES, key=accuracy) == "best" and 18_000 < parameters("best") < 20_000
    ),
    "as many errors as the source claims, give or take the luck of the seed": lambda: (
        abs(accuracy("small") - 0.994) < 2 * results.summary("small")["deviation"]
    ),
    "with a third of its parameters": lambda: (
        0.30 < parameters("small") / parameters("reference") < 0.35
    ),
    "likewise, within seconds": lambda: (
        abs(accuracy("fast") - 0.994) < 2 * results.summary("fast")["deviation"]
        and seconds("fast") < 10
    ),
    "sees only a quarter of the digits": lambda: RECIPES["fast"].share == 0.25,
    "not reached by any of our four trainings": lambda: (
        SEEDS["reference"] + SEEDS["reference_batch"] == 4
        and max(best("reference"), best("reference_batch")) < 0.994
    ),
    "that five seeds could see": lambda: (
        {PLAN[ablation(recipe, change)][1] for recipe, all_ in ABLATIONS.items() for change in all_}
        == {5}
    ),
    "on half of the digits each": lambda: (
        RECIPES["reference"].affine_p == RECIPES["reference"].holes_p == 0.5
    ),
}
# Shares that measure nothing of ours, or that another test holds.
NO_CLAIM = (
    "± half of its 95 per cent t interval",
    "less than half a gigabyte of a space's five",
    "by the third of these commands",
    "after the fifth",
)
SHARES = re.compile(r"\b(half|third|quarter|fifth|sixth|tenth|twice|double|dozens?|halves)\b")
NUMBER = r"\d+|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty"
COUNTS = re.compile(rf"\b({NUMBER}) (label errors|notebooks|trainings|seeds could)\b")


def prose(text):
    return " ".join(ledger.MARK.sub("", re.sub(r"```.*?```", "", text, flags=re.DOTALL)).split())


def test_what_words_measure_is_so():
    texts = [*PAGES.values(), *(path.read_text() for path in GUIDES)]
    pages = " ".join(ledger.MARK.sub("", "".join(texts)).split())
    for sentence, true in IN_WORDS.items():
        assert sentence in pages, sentence
        assert true(), sentence


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.parent.name)
def test_no_measurement_in_words_goes_unchecked(page):
    text = prose(PAGES[page])
    for sentence in (*IN_WORDS, *NO_CLAIM):
        text = text.replace(sentence, "")
    assert SHARES.findall(text) == []
    assert COUNTS.findall(text) == []
