"""What the notebooks tell in words, and the assert or the stored line that says so.

A sentence that changes, an assert that goes, a figure that moves: each breaks its pair.
"""

import math
import re

import jupytext
import pytest
from scipy.stats import t

from mnist_utils import models
from mnist_utils.describe import describe
from mnist_utils.evaluate import wilson_interval
from mnist_utils.files import ROOT
from mnist_utils.jobs.place import IMAGES
from mnist_utils.recipes import RECIPES
from mnist_utils.reproduce.plan import DIGITS, PLAN

LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("[01]*.ipynb"))

WORDS = {
    "01_data": {
        "four pixels of five are exactly 0": "assert 0.80 < background < 0.82",
        "the 47 million training pixels": "assert pixels.numel() == 47_040_000",
        "0.1307 and 0.3081, are not magic": "(data.MEAN, data.STD) == (0.1307, 0.3081)",
        "black is no longer 0": "assert round(black, 2) == -0.42",
        "Practically every digit measures 20 pixels": "(longer == 20).double().mean() > 0.999",
        "**black** on bytes": 'assert corners["uint8, 0..255"] < 0.005',
        "**white** on floats in 0..1": 'assert corners["float, 0..1"] == 1',
        "**mid-grey** once": 'assert 0.4 < corners["after Normalize"] < 0.5',
        "two workers make the same 12 draws": "assert found[False][0] == 12",
        "three images in four are repeats": "12 of 48 images of one digit",
        "hardly any is an exact repeat": "assert 380 < found[False][1] < 400",
    },
    "02a_training": {
        "All three cost about the same, two or three tenths of a point": (
            "assert 0.0015 < min(one_alone) < max(one_alone) < 0.0035"
        ),
        "most of the way down": 'assert found["all three"] - last["train_accuracy"] < 0.3 * (',
        "lie above the test digits, not below": 'assert found["as they are"] > last["held_out_acc',
        "BatchNorm is missed most, by a tenth of a point or two, and one seed of three disagrees": (
            "no_BatchNorm      less all, by seed: +0.10, -0.20, -0.38"
        ),
        "BatchNorm is missed most": 'assert mean(validation["no_BatchNorm"]) == min(map(mean,',
        "with each of the three seeds": "assert all(a > b for a, b in zip(validation[name], valid",
        "a point with all of them, a fifth of that with BatchNorm alone": (
            "the gap: 1.0 points with all, 0.2 with BatchNorm alone"
        ),
    },
    "02b_architecture": {
        "The last one sees 28 pixels": "assert sizes == [3, 5, 7, 8, 12, 16, 20, 24, 28]",
        "end on the line of the image": "assert fields == [*sizes, 28]",
        "None. Here is what the middle unit": "assert not sums",
        "cuts three digits in four, at 24 one in eight": "the middle unit  24%, some unit  47%",
        "half of the weight falls on less than a sixth of the pixels": "assert half < 784 / 6",
        "nearly as wide as the theory says": "all(abs(sigma - logit**0.5) < 0.3 for sigma in exp",
        "training widens the bump by a fifth": "min(explain.spread(weight)) > 1.2 * logit**0.5",
        "a tenth of the parameters": "assert model2[0] < model1[0] / 10",
        "brings back seven tenths": "0.7 back",
        "Model1's accuracy at a sixth of its size": "assert model3[0] < model1[0] / 6",
        "three points of accuracy are gone": "assert 2.5 < model1[1] - model2[1] < 3.5",
        "the best of the three": "assert model2[1] < model3[1] < model1[1]",
        "a dense head can still put together": (
            'assert repaired["Model2Dense"][1] > repaired["Model2BatchNorm"][1] > model2[1] + 1.5'
        ),
        "climbs steeply to 14 pixels": "assert all(later[1] - sooner[1] > 0.2 for sooner, later",
        "two layers gain nothing that three seeds could see, four layers half a point": (
            "assert by_field[0] < 0.2 < 0.5 < by_field[1] < 0.6"
        ),
        "twice the layers bring a point at 10 pixels": "assert min(by_layers) > 0.95",
        "blind to half of the image": "assert blind == [400, 784]",
        "19,000 parameters read worse than 3,000": "assert large[10] < at_20",
        "by more than three digits in a thousand": "assert max(wide) - min(wide) < 0.003",
    },
    "03_parameter_counting": {
        "6,016 parameters and 1.16 million multiply-adds": "435,600 of 1,164,180 MACs",
        "five terms of arithmetic": "assert total == sum(p.numel() for p in model.parameters())",
        "Three quarters sit in five equal layers": "assert 0.75 < middle / total < 0.76",
        "costs more than three Model3s": "assert dense == 32 * 8 * 8 * 10 + 10 == 20_490 > 3 * to",
        "nearly nine tenths of it happen before the pool": (
            'assert 0.85 < network["block1"].macs_inside / network.macs < 0.9'
        ),
        "its 15,674 parameters need less work": "assert fast.macs < network.macs",
        "FastNet is nearly twice as fast": 'assert speeds["FastNet"] > 1.5 * speeds["CourseNet"]',
        "Model1 is some 15% slower": 'assert speeds["Model1"] > 0.8 * speeds["Model3"]',
        "On two others they do not": "assert ours == true != theirs",
    },
    "05_misclassification": {
        "carries about ± 0.15": "assert 0.0013 < (high - low) / 2 < 0.0017",
        "Not in 95%: both tests have luck": "assert 0.82 < inside.mean() < 0.85",
        "of `reference` and `course` overlap": "assert course[0] < reference[1]",
        "less than once in twenty times": "p = 0.014",
        "For 15 digits, fewer than three of the five": "of its 52 errors are on these 15 digits",
        "On 10 of these a majority agreed": "assert len(CORRECTABLE) == 10",
        "Every interval reaches the line": "assert b.interval[0] <= b.confidence <= b.interval[1]",
        "to within ten or twenty points": "44 digits, sure to 69.57% on average: right 70.45%, in",
        "below 1 it spreads them": "assert temperature < 1",
        "another loss": "assert sharpened.loss < as_trained.loss",
        "The same answers": "assert torch.equal(as_trained.mistakes, sharpened.mistakes)",
        "loses one or two points": (
            'assert 0.01 < turned["reference"][0] - turned["reference"][2] < 0.02'
        ),
        "less than half a point": 'assert turned["course"][0] - turned["course"][2] < 0.005',
        "at 45° a third of the digits and a fifth": "67.2%   22.2%",
        "loses a fifth at 4 pixels": "98.9%   97.3%   77.3%",
        "loses two in a hundred": 'assert moved["reference"][2] < 0.85 < 0.96 < moved["course"][2]',
    },
    "06_augmentation": {
        "0.14 points of accuracy, one error in four": "all five  +0.14 ± 0.05 points, n = 5 *",
        "about halves the errors": "1,000 digits: 2.53% errors plain, 1.31% augmented, 1.9 times",
        "with 20,000 and 55,000 it takes a quarter and a sixth": "0.67% errors plain, 0.49% augm",
        "add up to 0.56 points, and together they bring 0.14": "elastic   +0.16 ± 0.09 points",
        "Elastic distortion and the holes just pass": "holes     +0.07 ± 0.04 points, n = 5 *",
        "Nothing here is more than luck might do": "all, less elastic alone  -0.02 ± 0.08 points",
    },
    "07_learning_rate": {
        "misreads 5 of the 5,000 validation digits fewer": "constant, all twelve +5.1 ± 3.0",
        "about a seventh of the errors here (2 to 8 of 35)": "all twelve +5.1 ± 3.0 errors",
        "(31.0 and 30.7 errors, three seeds)": "32.0 (rate 0.01)   30.7 (rate 0.001)",
        "on a scale from 0.00001 to 1": "[1e-5 * 1.03**step for step in range(390)]",
        "31 errors in place of 35": "0.01: [31, 31, 28, 34] errors with the average, [34, ",
        "that one it brings to 30": "0.1: [29, 30, 30, 31] errors with the average, [31, ",
        "a constant rate leaves 89 errors, step 41, one cycle 31": "40      37      34      31",
        "at each of the five rates, by one at 0.003": "averaged          34      41      31",
        "34 errors in place of 50 on average, a third fewer": "[57, 45, 47] errors of 5,000",
        "the three gains, 23, 8 and 16": "[34, 37, 31] errors of 5,000",
        "Neither figure is told from Muon's by five seeds": "at 0.02  -0.06 ± 0.11 points, n = 5",
    },
    "08_pruning": {
        "less than one error on average": "50% zeros: [25, 23, 27] errors of 5,000",
        "double between eight and nine in ten": "80% zeros: [32, 37, 41] errors of 5,000, mean 37",
        "twice those of the whole head": "90% zeros: [48, 58, 48] errors, mean 51",
        "in place of five times": "90% zeros: [90, 145, 120] errors of 5,000, mean 118",
        "As many bytes": "nine tenths zeros  81,920 bytes",
        "a third of the parameters, half as many errors again": "pruned        1,914 parameters, 9",
        "34.2 errors each": "99.32 ± 0.09%, 34.2 errors, 5 seeds",
        "shows no gain after 20 epochs more": "pruned, less from scratch    +0.00 ± 0.14 points",
        "about four errors lower": "pruned, less SmallNet        -0.09 ± 0.46 points, n = 3",
        "The errors stay": "assert wrong <= 30",
    },
    "09_interpretability": {
        "The equality is exact": "assert torch.allclose(activation.mean((2, 3)), logits, atol=",
        "Two pictures seem to be the same for every network, 0.99": "random numbers         0.99",
        "45% of the digits": "occlusion              45%   +38 ± 8 points fewer",
        "with the brightest ink gone first, four in five": "by the brightest ink: 82%",
        "Occlusion is far ahead": 'assert mean["occlusion"] > 25 > mean["integrated gradients"] >',
        "any patches are no faster than any ink": 'assert mean["any patches"] < 0',
        "Saliency is as good as chance": '(kept["saliency"] - kept["any ink"])[at].mean()) < 0.05',
        "change the answer for a fifth of the digits": "5, 10, 20 pixels whitened: 96%, 82%, 62%",
        "for nearly a third": "5, 10, 20 pixels whitened: 84%, 68%, 52%",
    },
    "10_ensembles": {
        "one misreads 48 of the 10,000 test digits": "errors, mean 48.1",
        "five together 37": "five together: [37, 42, 32] errors",
        "11 fewer than their own members": "11.1 fewer than their members, 95% 5.7 to 16.6",
        "brings nearly half of all that fifteen bring": "1: 48.1  2: 42.4",
        "and five bring four fifths": "5: 38.3  7: 38.0  10: 37.5  15: 36.0",
        "Ten digits are misread by all fifteen": "139 digits are misread by one network or more",
        "six of those labels are doubtful": "6 of these are among notebook 5's 15 doubtful labels",
        "37 errors on average here, 39.3 there": "WideNet: [37, 37, 44] errors, mean 39.3",
        "−8 to 13": "WideNet, less five together: 95% -8 to 13 errors",
        "6 to 17": "95% 5.7 to 16.6",
        "no pair has p < .05": "11 digits only the five misread, 23 only WideNet: p = 0.06",
        "err less alike": "five recipes: 29 errors, φ = 0.43",
        "far more errors than they make": "promises 65 errors, makes 42",
    },
}  # fmt: skip


REFERENCE, COURSE = RECIPES["reference"], RECIPES["course"]


def parameters(name):
    return sum(p.numel() for p in models.build(name).parameters())


def last_map(name):
    maps = [row for row in describe(models.build(name)).rows if row.kind == "Conv2d"]
    return [row for row in maps if row.output_shape[-1] > 1][-1]


LAST_MAP = last_map("Model3")
LOW, HIGH = wilson_interval(37, 10_000)


# What a lesson takes from elsewhere: the words -> whether it is so; None: a source's, AWS's,
# algebra, a task, or what the student's own picture shows.
ELSEWHERE = {
    "01_data": {"turns by up to 7°": REFERENCE.rotation == 7},
    "02a_training": {
        "The accuracy is that of 1,000 digits": None,
        "with 20 epochs, batches of 32": (REFERENCE.epochs, REFERENCE.batch_size) == (20, 32),
        "after 20 epochs, on the right": REFERENCE.epochs == 20,
        "for 10 epochs instead of 20": PLAN["regularizers/all"][0].epochs == 10,
    },
    "02b_architecture": {
        "more than half of its parameters sit in the head": 20_490 / parameters("Model1") > 0.5,
        "the source has 24, the best networks of this course 22": (
            [last_map(name).receptive_field for name in ("Model3", "CourseNet", "BestNet")]
            == [24, 22, 22]
        ),
        "more than 98.5% can be expected": None,
    },
    "03_parameter_counting": {
        "one processor core, batches of 1,000": None,
        "1/9 + 1/(channels out) of the weights": None,
    },
    "04_sagemaker_training": {
        "about 30 minutes": None,
        "PyTorch 2.6, which AWS patched until 30 June": IMAGES["inference"][1].startswith("2.6"),
        "the image's CUDA 13 is too new": None,
        "the newest image of CUDA 12": None,
    },
    "05_misclassification": {
        "one test on 150,000 digits": PLAN["recipes/course"][1] * 10_000 == 150_000,
        "about 2.1 standard deviations / √15": round(t.ppf(0.975, 14), 1) == 2.1,
        "2.1 and not 2": round(t.ppf(0.975, 14), 1) == 2.1,
        "everybody else's 99.x%": None,
        "shifts of up to 1.5 pixels": COURSE.shift == 1.5,
    },
    "06_augmentation": {
        "(*shear*) by up to 9°": round(math.degrees(math.atan(COURSE.shear))) == 9,
        "by about 0.6 pixels": COURSE.elastic == 0.6,
        "p < .05/7 of the smallest p": None,
        "about 3,900 *steps* of 128 digits, which makes 484 epochs of 1,000": (
            (DIGITS[1_000][0], COURSE.batch_size) == (484, 128)
            and all(3_850 < e * math.ceil(n / 128) < 3_950 for n, (e, _) in DIGITS.items())
        ),
    },
    "07_learning_rate": {
        "for 15% of the steps": RECIPES["fast"].warmup == 0.15,
        "one cycle whose peak is 0.004": PLAN["schedules/source_annealed"][0].lr == 0.004,
        "begins to fall at about 0.00003": None,
        "level from 0.01 to 0.07, and rises for good from about 0.35": None,
    },
    "08_pruning": {
        "20,490 of its 36,858 parameters": parameters("Model1") == 36_858,
        "for as long, 40 epochs": PLAN["pruning/from_scratch"][0].epochs == 40,
        "a single cycle of 40 epochs": PLAN["pruning/from_scratch"][0].epochs == 40,
        "such a machine made 45 errors": None,
        "as Model1 at 36,858": parameters("Model1") == 36_858,
    },
    "09_interpretability": {
        "start 11.5, jump 2.": (LAST_MAP.start, LAST_MAP.jump) == (11.5, 2),
        "each unit sees 24 pixels": LAST_MAP.receptive_field == 24,
    },
    "10_ensembles": {
        "for networks of 5,610 parameters": parameters("CourseNet") == 5_610,
        "Five networks of 5,610 parameters have 28,050": 5 * parameters("CourseNet") == 28_050,
        "with 80 channels in place of 32: 27,450 parameters": parameters("WideNet") == 27_450,
        "seeds 0 to 4, 5 to 9, 10 to 14": PLAN["recipes/course"][1] == 15,
        "± 0.12 points besides": round(50 * (HIGH - LOW), 2) == 0.12,
        "18,378 parameters": parameters(RECIPES["best"].model) == 18_378,
        "about 99.8% for one and 99.9% for an ensemble": None,
    },
}  # fmt: skip


def told(name):
    """(prose, code and outputs) of a lesson."""
    cells = jupytext.read(ROOT / "notebooks" / f"{name}.ipynb").cells
    prose = " ".join(
        " ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown"
    )
    lines = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for cell in cells:
        for output in cell.get("outputs", []):
            lines += output.get("text") or output.get("data", {}).get("text/plain", "")
    return prose, lines


@pytest.mark.parametrize("name", WORDS)
def test_what_words_tell_is_held_by_a_line_of_the_notebook(name):
    prose, lines = told(name)
    for words, line in WORDS[name].items():
        assert words in prose, words
        assert line in lines, f"{words}: {line}"


# Digits that measure nothing of ours: code, links, years, other notebooks, minutes, a level.
NO_FIGURE = re.compile(
    r"`[^`]*`|\]\([^)]*\)|\[\d+ · |\b(19|20)\d\d(\.\d+)?\b|95% interval|\| [^|]* to read \|"
    r"|notebooks? [\dab]+(, [\dab]+)*( and [\dab]+)?"
)
NUMBER = re.compile(r"(?<![\w.])\d[\d,_]*(?:\.\d+)?")
SPLITS = {60_000, 55_000, 10_000, 5_000}


def numbers(text):
    return {float(re.sub("[,_]", "", number)) for number in NUMBER.findall(text)}


@pytest.mark.parametrize("name", LESSONS)
def test_every_number_in_a_lesson_s_prose_is_in_its_cells(name):
    prose, lines = told(name)
    prose = NO_FIGURE.sub("", prose)
    for words, true in ELSEWHERE[name].items():
        assert words in prose, words
        assert true in (None, True), words
        prose = prose.replace(words, "")
    for words in WORDS.get(name, {}):
        prose = prose.replace(words, "")
    assert numbers(prose) - numbers(lines) - SPLITS == set()
