"""The grader's parts: rubric, descriptions and what is built of them, marks, the command line."""

import copy
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from classroom.grade import grading, report, rubric, spec, submission
from classroom.grade.__main__ import main
from classroom.grade.examine import fingerprint, judged_alone, windows
from classroom.grade.marks import Evidence, accuracy
from classroom.grade.rebuild import LAYERS, allowed, rebuild
from mnist_utils import data, models
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT

GOOD = Path(__file__).with_name("good")
TEMPLATE = ROOT / "notebooks" / "assignment" / "submission"


# --- the rubric ---------------------------------------------------------------------------------


def test_the_rubric_gives_a_hundred_points():
    asked = rubric.read()
    assert sum(asked.points.values()) + sum(of for of, _ in asked.teacher.values()) == 100


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("epochs = 15", "", "epochs: Field required"),
        ("epochs = 15", "epochs = 15\nmagic = 1", "magic = '1': Extra inputs"),
        ("budget = 10", "", "budget is missing"),
        ("epochs = 15", "epochs = 'x'", "epochs = 'x': Input should be a valid integer"),
        ("seeds = 3", "seeds = 0", "seeds = '0': Input should be greater than 0"),
        ('recipe = "course"', 'recipe = "magic"', "recipe = 'magic': Input should be 'reference'"),
        ("budget = 10", "budget = -1", "budget = '-1': Input should be greater than or equal to 0"),
        ("analysis = [15,", "analysis = 15 #", "analysis = '15': Input should be a valid tuple"),
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


def again(model):
    """A network written down, sent as JSON, and built again with the same weights."""
    state = model.eval().state_dict()
    built = rebuild(json.loads(json.dumps(spec.describe(copy.deepcopy(model)))))
    names = [key for name in built.names for key in state if key.rpartition(".")[0] == name]
    built.module.load_state_dict(
        dict(zip(built.module.state_dict(), map(state.get, names), strict=True))
    )
    return built.module.eval()


@pytest.mark.parametrize("name", models.NETWORKS)
def test_the_course_s_networks_are_built_again_as_they_were(name):
    model = models.build(name)
    images = torch.randn(3, 1, 28, 28)
    assert torch.allclose(again(model)(images), model(images), atol=1e-6)


class Functional(nn.Module):
    """What students write in forward, of all kinds."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1)
        self.more = nn.ModuleDict({"out": nn.Conv2d(4, 2, 1), "tensor": nn.PReLU(2)})
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        n, channels, _, width = x.shape
        assert (channels, x.size(-1)) == (1, width), x.shape
        if x.dim() == 3:
            x = x.unsqueeze(1)
        x = F.max_pool2d(torch.relu(self.one(x)), 2)
        x = torch.cat([x, x + self.two(x).relu()], dim=1)
        left, right = x.chunk(2, dim=1)
        left = left * 2
        left += 2 - right / 2
        x = torch.cat((left, right, self.more["tensor"](self.more["out"](right[..., ::1]))), 1)
        x = F.dropout(F.interpolate(x, scale_factor=2), 0.1, self.training)
        x = torch.stack([x, x], 1).mean(1)
        x = F.adaptive_avg_pool2d(x, 1).view(n, -1)
        x = torch.cat([x, x.amax(1, keepdim=True), -x[:, :1]], -1)
        return F.log_softmax(self.head(x.reshape(x.shape[0], 12)), dim=-1)


def test_calls_of_functions_and_methods_are_built_again():
    model, images = Functional().eval(), torch.randn(2, 1, 28, 28)
    assert torch.allclose(again(model)(images), model(images), atol=1e-6)
    assert not again(model).train()(images).equal(model(images))  # dropout is at work


def test_a_layer_called_twice_counts_once():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), layer, layer, nn.AdaptiveAvgPool2d(1),
                          nn.Conv2d(4, 10, 1), nn.Flatten())  # fmt: skip
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in again(model).parameters()) == count


def test_a_softmax_at_the_end_is_trained_by_its_logarithm():
    for last in (nn.Softmax(1), nn.LogSoftmax(1)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), last)
        assert torch.allclose(again(model)(torch.zeros(2, 1, 28, 28)).exp().sum(1), torch.ones(2))


def deep(activation):
    return [layer() for _ in range(5) for layer in (lambda: nn.Conv2d(4, 4, 3), activation)]


class Dead(nn.Module):
    """A layer that is called for nothing."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        self.layer(x)
        return x


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (lambda: [nn.ReLU()], lambda: [nn.Identity(), nn.ReLU(), nn.Sequential()], True),
        (lambda: [nn.ReLU()], lambda: [nn.LeakyReLU(0.0)], True),
        (lambda: [nn.ReLU()], lambda: [nn.SiLU()], False),
        (lambda: [nn.Dropout(0.1)], lambda: [nn.Dropout(0.3)], False),
        (
            lambda: [nn.Conv2d(4, 4, 3, padding=1)],
            lambda: [nn.Conv2d(4, 4, 3, padding="same")],
            True,
        ),
        (lambda: [nn.Conv2d(4, 4, 3)], lambda: [nn.Conv2d(4, 4, 3, dilation=2)], False),
        (lambda: [nn.Conv2d(4, 4, 3)], lambda: [nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)], False),
        (lambda: [nn.BatchNorm2d(4)], lambda: [nn.BatchNorm2d(4, affine=False)], False),
        (lambda: deep(nn.ReLU), lambda: deep(nn.Identity), False),
        (lambda: deep(nn.LeakyReLU), lambda: deep(nn.ELU), False),
        (lambda: [nn.BatchNorm2d(4)], lambda: [nn.BatchNorm2d(4, eps=2e-5)], True),
        (lambda: [nn.PReLU(4, 0.25)], lambda: [nn.LeakyReLU(0.25)], False),
        (lambda: [], lambda: [nn.Dropout(1e-4)], True),
        (lambda: [], lambda: [Dead()], True),
        (lambda: [], lambda: [nn.Identity()], True),
    ],
)
def test_networks_are_the_same_if_they_compute_the_same(one, other, same):
    def found(layers):
        def ends():
            return [nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 10, 1), nn.Flatten()]

        models = [nn.Sequential(nn.Conv2d(1, 4, 3), *layers(), *ends(), *last)
                  for last in ([], [nn.LogSoftmax(1)])]  # fmt: skip
        (only,) = {fingerprint(rebuild(spec.describe(model)).module) for model in models}
        return only

    assert (found(one) == found(other)) is same


def test_numbers_in_arithmetic_are_parameters():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(784, 10)

        def forward(self, x):
            x = 0.3 * x + x * 7 - 1  # three
            return self.head(F.pad(x, (1, 1), value=2.0)[..., 1:-1].flatten(1))  # and one

    assert rebuild(spec.describe(Weighted())).numbers == 4


def written(**changes):
    last = {"result": {"place": [len(changes["calls"])]}} if "calls" in changes else {}
    return spec.describe(models.build("Model2")) | last | changes


X = {"place": [0]}


@pytest.mark.parametrize(
    ("description", "word"),
    [
        ({}, "cannot be built"),
        ({"calls": 3, "layers": 4, "shared": 5, "result": 6}, "cannot be built"),
        ({"calls": [], "layers": {}, "shared": [], "result": X}, "cannot be built|two digits give"),
        (written(layers={}), "cannot be built"),
        (written(calls=[["system", [X], {}]]), "'system', which is not"),
        (written(calls=[["__reduce__", [X], {}]]), "'__reduce__', which is not"),
        (written(calls=[["__class__", [X], {}]]), "'__class__', which is not"),
        (written(calls=[["relu", [X], {}]] * 3_000), "3,000 calls"),
        (written(calls=[[{"layer": "a"}, [X], {}]], layers={
            "a": ["Linear", {"in_features": 10**6, "out_features": 10**6}, ["weight", "bias"]]}),
         "more than the grader trains"),
        (written(calls=[[{"layer": "a"}, [X], {}]], layers={"a": ["LSTM", {}, []]}),
         "a is a LSTM, which is not among"),
        (written(calls=[["mul", [X, 10**10], {}]]), "a number beyond"),
        (written(calls=[["mul", [X, float("nan")], {}]]), "a number beyond"),
        (written(calls=[["view", [X, -1, {"digits": 10**9}], {}]]), "forward fails|beyond"),
        (written(calls=[["pad", [X, [400] * 4], {}]] * 4), "numbers an image"),
        (written(calls=[["add", [X, X], {"out": X}]]), "forward fails|two digits|numbers an image"),
        (written(result={"place": [999]}), "cannot be built"),
        (written(result=["a"]), "cannot be built"),
    ],
)  # fmt: skip
def test_a_forged_description_is_refused_in_a_line(description, word):
    with pytest.raises(InputError) as refusal:
        rebuild(description)
    assert any(one in str(refusal.value) for one in word.split("|")), refusal.value
    assert "\n" not in str(refusal.value)


def strings(written, path=()):
    """Where each string of a description stands, a key's as well as a value's."""
    if isinstance(written, dict):
        for key, value in written.items():
            yield (*path, key), True
            yield from strings(value, (*path, key))
    elif isinstance(written, (list, tuple)):
        for at, value in enumerate(written):
            yield from strings(value, (*path, at))
    elif isinstance(written, str):
        yield path, False


def forged(written, path, is_key, text):
    """A description with one of its strings replaced."""
    written = copy.deepcopy(written)
    place = written
    for step in path[:-1]:
        place = place[step]
    if is_key:
        place[text] = place.pop(path[-1])
    else:
        place[path[-1]] = text
    return written


def test_no_string_of_a_description_becomes_code(tmp_path):
    """Each string forged, one after the other: refused in a line or harmless, and never run."""
    canary = tmp_path / "canary"
    act = f"open({str(canary)!r}, 'w').close()"
    payloads = (
        act, f"x={act}", f"x\n{act}\n", f'a") if {act} else getattr(self, "a', f"x): {act} #",
        f"{{{act}}}", "__class__", "__import__", "\0'\"\\\n", "x" * 10_000,
    )  # fmt: skip
    description = json.loads(json.dumps(spec.describe(Functional())))
    places, images = list(strings(description)), torch.zeros(2, 1, 28, 28)
    assert len(places) > 150
    for path, is_key in places:
        for text in payloads:
            try:
                network = rebuild(forged(description, path, is_key, text)).module
                network(images)
                windows(network)
            except InputError:
                pass
            assert not canary.exists(), (path, text)


def test_an_answer_of_another_kind_is_refused():
    """Numbers from behind the wall are finite and in range, and held to each other."""
    network = {"parameters": 1, "numbers": 0, "fingerprint": "a", "image": [28, 1, 1, 0.0],
               "windows": [], "description": {}}  # fmt: skip
    assert grading.checked_network(network)["parameters"] == 1
    for odd in ({"parameters": "1"}, {"parameters": float("nan")}, {"parameters": 1e300},
                {"image": [True]}, {"windows": [[[1e999], "conv", [], ""]]},
                {"windows": 3}):  # fmt: skip
        with pytest.raises(InputError):
            grading.checked_network(network | odd)
    labels = data.load(train=True).labels[-5_000:].tolist()
    job = {"settings": {"epochs": 1}, "test": False}
    answer = {"accuracies": [1.0], "validation": labels}
    assert grading.checked_training(answer, job)["mistakes"] == []
    for odd in ({"accuracies": [0.9]}, {"accuracies": [1.0, 1.0]}, {"validation": labels[1:]},
                {"accuracies": [float("inf")]}, {"validation": [12] * 5_000},
                {"test": [0] * 10_000}, {"validation": "7" * 5_000}):  # fmt: skip
        with pytest.raises(InputError):
            grading.checked_training(answer | odd, job)


def test_only_layers_of_one_digit_are_allowed_and_a_batch_s_answer_is_seen():
    assert not {"LSTM", "MultiheadAttention"} & LAYERS.keys()
    images = torch.randn(8, 1, 28, 28)
    network = models.build("CourseNet").eval()
    assert judged_alone(network, images)
    assert not judged_alone(network.train(), images)


def test_the_assignment_lists_what_is_allowed():
    text = (ROOT / "notebooks" / "assignment" / "assignment.py").read_text()
    assert allowed() in text


def test_the_table_starts_from_what_a_crop_leaves():
    found = windows(models.build("CourseNet"))
    assert found["image"][0] == 24
    assert found["windows"][0][3] == "stem.0"
    assert found["windows"][0][2][3] == 4  # 2 pixels cut off, then the middle of 5


# --- marks --------------------------------------------------------------------------------------


def trained(*seeds):
    return [{"accuracies": list(epochs), "test_errors": 50} for epochs in seeds]


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


def test_the_template_runs_and_says_what_is_still_to_write(tmp_path, walled):
    options = grading.Options(quick=True, kept=tmp_path)
    (found,) = grading.grade([TEMPLATE], rubric.read(), options)
    assert found.points == 0
    assert report.text(found).count("write Model3") == 1
    assert "no line below its first" in report.text(found)


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "nothing to grade"),
        (["nowhere"], "nowhere is neither a folder nor a zip"),
        (["--class", "nowhere"], "nowhere is not a folder"),
        (["--class", GOOD], "holds no folder and no zip"),
        (["--class", GOOD.parent, GOOD], "leave out"),
        (["--class", GOOD.parent, "--roster", GOOD / "fields.csv"], "no column is called"),
        ([GOOD, "--roster", GOOD / "fields.csv"], "--roster goes with --class"),
        ([GOOD, GOOD], "named twice"),
        ([GOOD, "--rubric", "nowhere.toml"], "No such file"),
        ([GOOD, "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_input_is_one_line(arguments, word, refused):
    assert word in refused(main, *arguments)


def test_a_training_that_is_stored_is_not_run_again_and_ctrl_c_loses_nothing(tmp_path, walled):
    shutil.copytree(GOOD, tmp_path / "anna")
    mine = rubric.DEFAULT.read_text().replace("epochs = 15 ", "epochs = 1 ")
    mine = mine.replace("last_epochs = 3", "last_epochs = 1").replace("seeds = 3", "seeds = 2")
    (tmp_path / "mine.toml").write_text(mine)
    (tmp_path / "anna" / "training.toml").write_text("epochs = 1\nshare = 0.05\nclean_epochs = 0")
    command = [sys.executable, "-m", "classroom.grade", "anna", "--rubric", "mine.toml",
               "--html", "marks.html"]  # fmt: skip
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
    assert began.returncode == 130, err.decode()
    assert b"the same command goes on from there" in err
    assert not (tmp_path / "marks.html").exists()
    stored = {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert stored
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=240)
    assert len(list(kept.glob("*.json"))) == 3  # what was described, and two trainings
    assert all(path.stat().st_mtime_ns == when for path, when in stored.items())
    assert "<h1>anna</h1>" in (tmp_path / "marks.html").read_text()
