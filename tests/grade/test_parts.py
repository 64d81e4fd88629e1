"""The grader's parts: rubric, descriptions and what is built of them, marks, the command line."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from mnist_utils import models
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT
from mnist_utils.grade import grading, report, rubric, spec, submission
from mnist_utils.grade.__main__ import main
from mnist_utils.grade.marks import Evidence, accuracy, layers_of
from mnist_utils.grade.rebuild import LAYERS, rebuild
from mnist_utils.grade.training import judged_alone

GOOD = Path(__file__).with_name("good")
TEMPLATE = ROOT / "notebooks" / "assignment" / "submission"


# --- the rubric ---------------------------------------------------------------------------------


def test_the_rubric_gives_a_hundred_points():
    asked = rubric.read()
    assert sum(asked.points.values()) + sum(of for of, _ in asked.teacher.values()) == 100


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("epochs = 15", "", "[assignment] epochs is missing"),
        ("epochs = 15", "epochs = 15\nmagic = 1", "[assignment] magic is unknown"),
        ("budget = 10", "", "[points] budget is missing"),
        ("epochs = 15", "epochs = 'x'", "epochs = 'x'; int above 0"),
        ("seeds = 3", "seeds = 0", "seeds = 0; int above 0"),
        ('recipe = "course"', 'recipe = "magic"', "recipe 'magic' is not one of reference"),
        ("budget = 10", "budget = -1", "budget = -1; points are a number from 0 on"),
        ("analysis = [15,", "analysis = 15 #", "analysis = 15; [points, what to look for]"),
        ("[points]", "[points", "is not TOML"),
    ],
)
def test_a_rubric_that_cannot_be_says_why(old, new, word, tmp_path):
    text = rubric.DEFAULT.read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as refusal:
        rubric.read(tmp_path / "mine.toml")
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- networks, described and built again --------------------------------------------------------


@pytest.mark.parametrize("name", models.NETWORKS)
def test_the_course_s_networks_are_built_again_as_they_were(name):
    model = models.build(name)
    written = json.loads(json.dumps(spec.describe(model)))
    again = rebuild(written).eval()
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]
    again.load_state_dict(model.eval().state_dict())
    images = torch.randn(3, 1, 28, 28)
    assert torch.allclose(again(images), model(images), atol=1e-6)


class Functional(nn.Module):
    """What students write in forward, of all kinds."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.one(x)), 2)
        x = torch.cat([x, x + self.two(x).relu()], dim=1)
        x = nn.functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
        return nn.functional.log_softmax(self.head(x.reshape(x.shape[0], 8)), dim=-1)


def test_calls_of_functions_and_methods_are_built_again():
    model = Functional().eval()
    again = rebuild(json.loads(json.dumps(spec.describe(model)))).eval()
    again.load_state_dict(model.state_dict())
    images = torch.randn(2, 1, 28, 28)
    assert torch.allclose(again(images), model(images), atol=1e-6)


def test_a_layer_called_twice_counts_once():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), layer, layer, nn.AdaptiveAvgPool2d(1),
                          nn.Conv2d(4, 10, 1), nn.Flatten())  # fmt: skip
    again = rebuild(spec.describe(model))
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in again.parameters()) == count


def written(**changes):
    return spec.describe(models.build("Model2")) | changes


@pytest.mark.parametrize(
    ("description", "word"),
    [
        ({"nodes": [], "layers": {}, "shared": []}, "two digits give NoneType"),
        ({}, "cannot be built"),
        ({"nodes": 3, "layers": 4, "shared": 5}, "cannot be built"),
        (written(layers={}), "is not allowed"),
        (written(nodes=[["call_function", "x", "system", [], []]]), "'system', which is not"),
        (written(nodes=[["call_method", "x", "__reduce__", [], []]]), "'__reduce__', which"),
        (written(nodes=[["call_function", "x", "getattr", [{"node": "y"}, "__class__"], []]]),
         "forward reads"),
        (written(nodes=[["placeholder", f"x{i}", "x", [], []] for i in range(3_000)]),
         "3,000 calls"),
        (written(nodes=[["call_module", "y", "a", [], []]], layers={
            "a": ["Linear", {"in_features": 10**6, "out_features": 10**6}, ["weight", "bias"]]}),
         "more than the grader trains"),
        (written(nodes=[["call_module", "y", "a", [], []]], layers={"a": ["LSTM", {}, []]}),
         "a is a LSTM; allowed are Conv2d"),
        (written(nodes=[["call_function", "y", "mul", [[1], 10**10], []]]), "'mul' on a list"),
        (written(nodes=[["placeholder", "x", "x", [], []], ["call_function", "y", "mul",
                        [10**9, 10**9], []]]), "a number beyond"),
        (written(nodes=[["placeholder", "x", "x", [], []]] + [
            ["call_function", f"y{i}", "pad", [{"node": "x"}, [400] * 4], []] for i in range(4)]),
         "numbers an image"),
    ],
)  # fmt: skip
def test_a_forged_description_is_refused_in_a_line(description, word):
    with pytest.raises(InputError) as refusal:
        rebuild(description)
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_only_layers_of_one_digit_are_allowed_and_a_batch_s_answer_is_seen():
    assert not {"BatchNorm1d", "InstanceNorm2d", "LSTM"} & LAYERS.keys()
    images = torch.randn(8, 1, 28, 28)
    network = models.build("CourseNet").eval()
    assert judged_alone(network, images)
    assert not judged_alone(network.train(), images)


def test_the_table_starts_from_what_a_crop_leaves():
    image, names, layers, rows = layers_of(models.build("CourseNet"))
    assert image.size == 24
    assert names[0] == "stem.0"
    assert len(names) == len(layers) == len(rows)
    assert rows[0].start == 4  # 2 pixels cut off, then the middle of 5


# --- marks --------------------------------------------------------------------------------------


def trained(*seeds):
    runs = [[{"held_out_accuracy": share} for share in epochs] for epochs in seeds]
    return [{"epochs": epochs, "test_errors": 50} for epochs in runs]


@pytest.mark.parametrize(
    ("trainings", "points", "word"),
    [
        (trained([0.9, 0.994, 0.995, 0.996], [0.994] * 4, [0.994] * 4), 20, "99.43% of the"),
        (trained([0.999] * 3, [0.999] * 3, [0.999, 0.999, 0.991]), 10, "The least is 99.10%"),
        (trained([0.992] * 3, [0.993] * 3, [0.994] * 3), 10, "99.30% of the"),
        (trained([0.99] * 3, [0.99] * 3, [0.99] * 3), 0, "99.00% to 99.00%|99.00 to 99.00%"),
        ([{"error": "it exploded"}], 0, "it exploded"),
    ],
)
def test_accuracy_is_the_mean_over_seeds_and_last_epochs(trainings, points, word):
    evidence = Evidence(submission.Submission(GOOD), trainings=trainings)
    mark = accuracy(evidence, rubric.read())
    assert mark.points == points
    assert any(one in mark.message for one in word.split("|"))


def test_the_template_runs_and_says_what_is_still_to_write():
    (found,) = grading.grade([TEMPLATE], rubric.read(), quick=True)
    assert found.points == 10  # nothing is asked of training.toml
    assert "write Model3" in report.text(found)
    assert "no line below its first" in report.text(found)


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "the following arguments are required: DIR"),
        (["nowhere"], "nowhere is no folder"),
        ([GOOD, GOOD], "named twice"),
        ([GOOD, "--rubric", "nowhere.toml"], "No such file"),
        ([GOOD, "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_input_is_one_line(arguments, word, refused):
    assert word in refused(main, *arguments)


def test_a_training_that_is_stored_is_not_run_again_and_ctrl_c_loses_nothing(tmp_path):
    shutil.copytree(GOOD, tmp_path / "anna")
    mine = rubric.DEFAULT.read_text().replace("epochs = 15 ", "epochs = 1 ")
    (tmp_path / "mine.toml").write_text(mine.replace("last_epochs = 3", "last_epochs = 1"))
    (tmp_path / "anna" / "training.toml").write_text("epochs = 1\nshare = 0.05\nclean_epochs = 0")
    command = [sys.executable, "-m", "mnist_utils.grade", "anna", "--rubric", "mine.toml",
               "--json", "marks.json"]  # fmt: skip
    began = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    )  # fmt: skip
    kept = tmp_path / "grades"
    end = time.monotonic() + 240
    while not list(kept.glob("*.json")) and time.monotonic() < end:
        time.sleep(0.1)
    began.send_signal(signal.SIGINT)
    _, err = began.communicate(timeout=60)
    assert began.returncode == 130
    assert b"the same command goes on from there" in err
    assert not (tmp_path / "marks.json").exists()
    stored = {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert stored
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=240)
    assert len(list(kept.glob("*.json"))) == 3
    assert all(path.stat().st_mtime_ns == when for path, when in stored.items())
    (marks,) = json.loads((tmp_path / "marks.json").read_text())
    assert marks["submission"] == "anna"
