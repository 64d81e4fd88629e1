"""One class, graded at once: good submissions, unusual ones, mistaken ones, and those that harm.

Each gets its own report, and none disturbs another.
"""

import csv
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from classroom.grade import grading, report, roster, rubric, spec, wall
from classroom.grade.__main__ import page_names
from classroom.grade.examine import examine
from classroom.grade.submission import MODELS
from mnist_utils.files import DATA, ROOT

GOOD = Path(__file__).with_name("good")
MODEL, FIELDS = (GOOD / "model.py").read_text(), (GOOD / "fields.csv").read_text()
ANALYSIS = (GOOD / "analysis.md").read_text()
TEMPLATE = ROOT / "notebooks" / "assignment" / "submission"


def history(rows=15, epochs=15, validation=5_000, held_out="validation", claimed=None, last=0.994):
    accuracies = [last - 0.001 * (rows - epoch) for epoch in range(1, rows + 1)]
    config = {"epochs": epochs, "validation": validation}
    found = [
        {"epoch": number, "held_out": held_out, "held_out_accuracy": accuracy}
        for number, accuracy in enumerate(accuracies, start=1)
    ]
    claimed = accuracies[-1] if claimed is None else claimed
    return json.dumps({"config": config, "epochs": found, "held_out_accuracy": claimed})


def model(text, *, at_top=True):
    return {"model.py": f"{text}\n{MODEL}" if at_top else f"{MODEL}\n{text}"}


def changed(old, new):
    assert old in MODEL
    return {"model.py": MODEL.replace(old, new)}


def in_forward(lines):
    return changed("        return self.head(", f"        {lines}\n        return self.head(")


def in_init(line, in_forward=""):
    """Model3 with a line more in its __init__, and a factor in its forward."""
    line = line.replace("TENSOR", "__import__('torch').ones(1)")
    text = MODEL.replace("        self.head =", f"        {line}\n        self.head =")
    return {
        "model.py": text.replace("self.head(self.blocks(", f"self.head({in_forward}self.blocks(")
    }


def german(table):
    return "\ufeff" + table.replace(",", ";").replace(".5", ",5").replace("\n", "\r\n")


def nested(*folders):
    return {"model.py": None, "fields.csv": None, "analysis.md": None} | {
        "/".join([*folders, name]): text
        for name, text in (("Model.py", MODEL), ("fields.csv", FIELDS), ("analysis.md", ANALYSIS))
    }


def rows_of(text, *, turned=False):
    """An analysis as a table: a line for each model, or a column."""
    cells = [[line.partition(": ")[2] for line in part.splitlines() if ": " in line]
             for part in text.split("# Model")[1:]]  # fmt: skip
    rows = [["", "Target", "Result", "Analysis"]]
    rows += [[model, *line] for model, line in zip(MODELS, cells, strict=True)]
    rows = [*zip(*rows, strict=True)] if turned else rows
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


NOTHING_YET = roster.NOTHING
ALL = {"budget": (1, "5,610"), "table": (1, "agree"), "steps": (1, "Three different")}
RUN = {"runs/a/history.json": history()}
NOTHING = "There is no Model3"

# Name -> files instead of the good ones; what each check is to give: a share of its points, and
# words of its message.
CLASS = {
    "good": (RUN, ALL | {"honesty": (1, "One run, whole"), "epochs": (1, "15 epochs")}),
    # --- honest work of unusual form
    "german_spreadsheet": ({"fields.csv": german(FIELDS)}, ALL),
    "tabs_utf16": ({"fields.csv": FIELDS.replace(",", "\t").encode("utf-16")}, ALL),
    "capitals_and_empty_rows": (
        {"fields.csv": FIELDS.replace("model,layer,kernel_size", "Model, Layer, Kernel Size")
         .replace("Model1,", "model 1, ") + ",,,,,,,,,\n\n"}, ALL),
    "half_sign": ({"fields.csv": FIELDS.replace("3.5", "3½")}, ALL),
    "nested": (nested("Hand in", "final"), ALL),
    "torchvision": (model("import torchvision, mnist_utils.models"), ALL),
    "headings": ({"analysis.md": re.sub(r"^# (Model)(\d)$", r"**\1 \2**", ANALYSIS, flags=re.M)},
                 ALL),
    "underlined": ({"analysis.md": re.sub(r"^# (Model\d)$", r"\1\n======", ANALYSIS, flags=re.M)},
                   ALL),
    "windows_1252": ({"fields.csv": FIELDS.replace("stem.0", "größe").encode("cp1252")}, ALL),
    "titled": ({"fields.csv": "Table 1,,,,,,,,,\n\n" + FIELDS}, ALL),
    "few_words": ({"analysis.md": re.sub(r"(Result:).*", r"\1 99.1%", ANALYSIS)}, ALL),
    "model_1": ({"analysis.md": re.sub(r"# Model(\d)\n", r"## 1. Model_\1:\n", ANALYSIS)},
                ALL),
    "a_table": ({"analysis.md": rows_of(ANALYSIS)}, ALL),
    "a_table_of_columns": ({"analysis.md": rows_of(ANALYSIS, turned=True)}, ALL),
    "other_headings": (
        {"analysis.md": ANALYSIS.replace("# Model1", "## 2.1 Modell 1")
         .replace("# Model2", "<h2>Model2</h2>").replace("# Model3", "# Step 3: class Model3")
         .replace("- Target", "• Target").replace("- Result:", "- [x] `Result`:")}, ALL),
    "a_table_below_each": (
        {"analysis.md": re.sub(r"- (\w+): (.*)", r"| \1 | \2 |", ANALYSIS)}, ALL),
    "a_clone": (nested("notebooks", "assignment", "submission"), ALL),
    "faster": (
        {"model.py": "import torch\ntorch.set_num_threads(4)\n" + MODEL.replace(
            "self.head = nn", "self.head = torch.compile(nn").replace(
            "*head(32))", "*head(32)))")}, ALL),
    # --- mistakes
    "over": (changed("Step(32, 32))", "Step(32, 64), Step(64, 64), Step(64, 32))"),
             {"budget": (0, "Model3 has 1"), "table": (0.5, "your table has")}),
    "two_mistakes": (
        {"fields.csv": FIELDS.replace("Model1,6,2,2,0,1,11,8,2,3.5", "Model1,6,2,2,0,1,11,14,2,3.5")
         .replace("Model2,10,3,1,0,1,9,12,2,5.5", "Model2,10,3,1,0,1,9,10,2,5.5")},
        {"table": (0.5, "you have 14: a pool doubles the field")}),
    "carried_on": (
        {"fields.csv": FIELDS.replace("11,8,2,3.5\nModel1,7,3,1,0,1,9,12,2,5.5",
                                      "11,14,2,3.5\nModel1,7,3,1,0,1,9,18,2,5.5")},
        {"table": (0.5, "follow")}),
    "a_word": ({"fields.csv": FIELDS.replace("26,3,1,1", "26,three,1,1", 1)},
               {"table": (0, "line 2, column 8 (receptive_field): 'three' is not a number")}),
    "epochs_18": ({"training.toml": "epochs = 18"}, {"epochs": (0.5, "18 epochs asked")}),
    "epochs_100": ({"training.toml": "epochs = 100"}, {"epochs": (0, "Trained for 20")}),
    "own_seed": ({"training.toml": "seed = 5"}, {"epochs": (0, "seed, which the grader decides")}),
    "no_analysis": ({"analysis.md": None}, {"steps": (0.5, "analysis.md is missing")}),
    "no_table": ({"fields.csv": "model,layer\n"}, {"table": (0, "no column 'kernel_size'")}),
    "a_notebook": ({"model.py": None, "model.ipynb": "{}"}, {"budget": (0, "Executable Script")}),
    "folder_as_toml": ({"training.toml/a": "1"},
                       {"epochs": (0, "training.toml is not a file"), "table": (1, "agree")}),
    "endless_number": ({"training.toml": "epochs = " + "9" * 5_000},
                       {"epochs": (0, "training.toml"), "table": (1, "agree")}),
    "no_convolution": (
        {"model.py": MODEL + "\n\nclass Model3(nn.Sequential):\n    def __init__(self):\n"
         "        super().__init__(nn.Flatten(), nn.Linear(784, 10))\n"},
        {"table": (0, "3 are the least"), "steps": (0.5, "fewer than 3 convolutions")}),
    # --- points without work
    "empty": (dict.fromkeys(("model.py", "fields.csv", "analysis.md")),
              {"budget": (0, "model.py is missing"), "epochs": (0, NOTHING), "table": (0, ""),
               "steps": (0, ""), "honesty": (0, ""), "accuracy": (0, NOTHING)}),
    "template": ({"analysis.md": (TEMPLATE / "analysis.md").read_text()},
                 {"steps": (0, "in words of your own")}),
    "thrice": ({"model.py": MODEL + "\n\nclass Model1(Model3):\n    pass\n\n\n"
                "class Model2(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
                "        self.other = Model3()\n    def forward(self, x):\n"
                "        return nn.Identity()(self.other(x))\n"},
               {"steps": (0, "Model1 and Model3 are the same network")}),
    "turned_twice": (
        {"model.py": MODEL.replace("images)))", "images.flip(2).flip(2))))"),
         "fields.csv": re.sub(r"(Model3,.*,)\d+,\d+,[\d.]+$", r"\g<1>7,7,7", FIELDS, flags=re.M)},
        {"table": (0, "is not known to `describe`")}),
    "nothing_but_names": (
        {"model.py": MODEL + "".join(
            f"\n\nclass {m}(nn.Sequential):\n    def __init__(self):\n        super().__init__("
            f"nn.MaxPool2d(1), nn.MaxPool2d(1), nn.AvgPool2d(28), nn.Flatten(), nn.Linear(1, 10), "
            f"nn.Dropout(0.{m[-1]}))\n" for m in MODELS)},
        {"table": (0, "3 are the least"), "steps": (0, "fewer than 3 convolutions")}),
    "figures_alone": ({"analysis.md": re.sub(r"(Analysis:).*", r"\1 1", ANALYSIS)},
                      {"steps": (0, "in words of your own")}),
    "said_thrice": (
        {"analysis.md": "".join(f"# {m}\nTarget: a b c\nResult: a b c\nAnalysis: a b c\n"
                                for m in MODELS)}, {"steps": (0.5, "the same of two models")}),
    "a_word_thrice": ({"analysis.md": re.sub(r"(Analysis:).*", r"\1 yes yes yes", ANALYSIS)},
                      {"steps": (0, "in words of your own")}),
    "one_line": ({"runs/a/history.json": history(1, 1, 1, last=1.0)},
                 {"honesty": (0, "was evaluated on 1 digits")}),
    "impossible": ({"runs/a/history.json": history(last=0.99503)},
                   {"honesty": (0, "5,000 digits cannot give")}),
    "best_epoch": ({"runs/a/history.json": history(claimed=0.999)},
                   {"honesty": (0, "not its last epoch's")}),
    "resumed": ({"runs/a/history.json": history(rows=30)}, {"honesty": (0, "not one run of 15")}),
    "thirty": ({"runs/a/history.json": history(30, 30)}, {"honesty": (0, "ran 30 epochs")}),
    "on_test": ({"runs/a/history.json": history(validation=0, held_out="test")},
                {"honesty": (0, "evaluated on the test digits")}),
    "billion": ({"runs/a/history.json": history(epochs=10**9)},
                {"honesty": (0, "less than or equal to 10000")}),
    "no_history": ({"runs/a/history.json": "[" * 100_000},
                   {"honesty": (0, "is not a history")}),
    # --- what wants to do harm
    "twenty_gigabytes": (model("x = bytearray(20 << 30)"), {"budget": (0, "MemoryError")}),
    "fork": (model("import os\nos.fork()"), {"budget": (0, "temporarily unavailable")}),
    "thread": (model("import threading\nthreading.Thread(target=print).start()"),
               {"budget": (0, "can't start new thread")}),
    "os_exit": (model("import os; os._exit(0)"), {"budget": (0, "it ended by itself")}),
    "flood": (model("while True: print('x' * 10_000)"), {"budget": (0, "File too large")}),
    "writes_outside": (model(f"open({str(GOOD / 'hacked')!r}, 'w')"), {"budget": (0, "Error")}),
    "reads_labels": (model(f"import os; y = os.listdir({str(DATA)!r})"), {"budget": (0, "Error")}),
    "connects": (model("import socket; socket.create_connection(('127.0.0.1', 22), 1)"),
                 {"budget": (0, "Error")}),
    "patched_torch": (
        model("import torch\ntorch.argmax = torch.Tensor.argmax = lambda *a, **k: 1 / 0\n"
              "torch.nn.ReLU.extra_repr = lambda self: 1 / 0"),
        {"budget": (1, "5,610"), "accuracy": (0, "A quick look")}),
    "answers_itself": (
        model("import os\nos.write(3, b'{\"Model3\": {\"error\": \"\\\\u001b[2J50 of 50\"}}')\n"
              "os._exit(0)"), {"budget": (0, "")}),
    "across_the_batch": (
        changed("return self.head(self.blocks(self.stem(images)))",
                "return self.head(self.blocks(self.stem(images - images.mean(0))))"),
        {"accuracy": (0, "depends on the other digits of the batch")}),
    "huge_pool": (changed("nn.MaxPool2d(2), nn.BatchNorm2d(16)",
                          "nn.AdaptiveAvgPool2d(1_000), nn.BatchNorm2d(16)"),
                  {"budget": (0, "numbers an image|allocate memory")}),
    "runs_link": ({"runs": Path("/")}, {"honesty": (0, "runs/ is a link")}),
    "large_batch": ({"training.toml": "batch_size = 60000"}, {"epochs": (0, "512 are the most")}),
    "link": ({"analysis.md": Path("/etc/passwd")}, {"steps": (0.5, "analysis.md is a link")}),
    "code_link": ({"model.py": Path("/etc/passwd")}, {"budget": (0, "model.py is a link")}),
    "two_gigabytes": ({"fields.csv": 2 << 30}, {"table": (0, "2,147,483,648 bytes")}),
    "a_pipe": ({"analysis.md": "pipe"}, {"steps": (0.5, "analysis.md is not a file")}),
    "backtracks": ({"analysis.md": "# Model1\n" + "target result " * 60_000},
                   {"steps": (0, "no heading Model1")}),
    "hashes": ({"analysis.md": "#" * 1_000_000}, {"steps": (0, "no heading Model1")}),
    "escapes": (model("raise RuntimeError('\\x1b[2J\\x1b]0;x\\x07\\n50 of 50 points')"),
                {"budget": (0, "RuntimeError")}),
    "marks_up": (
        {"fields.csv": FIELDS.replace("Model1,0,3,1", "Model1,<script>alert(1)</script>,3,1")},
        {"table": (1, "agree")}),
    "=cmd()": ({}, {"table": (1, "agree")}),
}  # fmt: skip


# What is seen before a network is trained, here without a wall: files -> what Model3 is, in words.
CODE = {
    "helpers": ({"model.py": "from .blocks import a\nimport training.b\nprint('hello')\n" + MODEL,
                 "blocks.py": "a = 1", "training/__init__.py": "", "training/b.py": ""}, "5610"),
    "shapes": (in_forward("n, c, h, w = images.shape; assert images.shape[1:] == (1, 28, 28); "
                          "images = images.reshape(n * h, w).view(-1, c, h, w)"), "5610"),
    "softmax": (changed("nn.LogSoftmax(1)]", "nn.Softmax(1)]"), "5610"),
    "lazy_and_chunk": (
        {"model.py": MODEL.replace("nn.Conv2d(1, 16, 5", "nn.LazyConv2d(16, 5").replace(
            "self.stem(images)", "__import__('torch').cat(self.stem(images).chunk(2, 1), dim=1)")},
        "5610"),
    "numbers": (in_forward("images = sum(images * (i + 0.5) for i in range(360))"), "5970"),
    "slopes": (in_forward("for i in range(9): images = nn.functional.elu(images, i + 2)"), "5619"),
    "bounds": (in_forward("for i in range(9): images = images.clamp(-i, i + 1)"), "5627"),
    "bounds_of_layers": (in_forward("for i in range(9): images = nn.Hardtanh(-1, i + 2)(images)"),
                         "5619"),
    "into_a_slice": (in_forward("images = images.clone(); images[:, :, :4] += 1"),
                     "by way of a part of it"),
    "a_view": (in_forward("images = images * 2; images[:, :, :4].relu_()"), "by way of a part"),
    "a_hook": (in_init("self.stem[0].register_forward_hook(lambda m, i, o: -o)"),
               "by way of a part"),
    "in_eps": (in_forward("for i in range(9): images = nn.functional.layer_norm("
                          "images, (28, 28), eps=i + 1.5)"), "5619"),
    "divided": (in_forward("for i in range(9): images = nn.functional.avg_pool2d("
                           "images, 1, divisor_override=i + 2)"), "5619"),
    "added_up": (in_forward("images = sum([images, images])"), "5610"),
    "picked_twice": (in_forward("images = images[:, [0, 0, 0]].sum(1, keepdim=True)"), "5612"),
    "joined_to_itself": (
        in_forward("images = __import__('torch').stack([images] * 7).sum(0)"), "5616"),
    "true": (in_forward("images = images + True"), "5611"),
    "usual": (in_forward("images = nn.functional.elu(nn.functional.leaky_relu(images))"), "5610"),
    "where_it_lies": (in_forward("images = images.to(images.device).float().detach().clone()"),
                      "5610"),
    "gate": (in_forward("images = images * images.mean(2, True).expand_as(images).max(2, True)"
                        ".values"), "5610"),
    "from_a_notebook": (model("get_ipython()"), "leave out the line with get_ipython"),
    "reads_data": (model("open('digits.csv')"), "it cannot read data"),
    "by_value": (in_forward("images = -images if images.sum() > 0 else images"),
                 "its steps must not depend on them"),
    "syntax": ({"model.py": "class Model3(:"}, "SyntaxError"),
    "missing_package": (model("import tensorflow"), "No module named 'tensorflow'"),
    "nine_classes": (changed("nn.Conv2d(channels, 10, 1)", "nn.Conv2d(channels, 9, 1)"),
                     "ten numbers for each are wanted"),
    "not_text": ({"model.py": b"\xff\xfe\x00"}, "cannot be imported"),
    "shared_weights": (in_init("self.blocks[2][0].weight = self.blocks[3][0].weight"),
                       "are one tensor under several names"),
    "buffers": (in_init("self.register_buffer('w', TENSOR)", "self.w * "),
                "'w', a tensor that belongs to no layer"),
    "plain_tensors": (in_init("self.w = TENSOR", "self.w * "), "a tensor that belongs to no layer"),
    "constants": (
        changed("return self.head(", "return __import__('torch').arange(10.0) + self.head("),
        "a tensor that belongs to no layer"),
    "batch_statistics": (
        changed("nn.BatchNorm2d(16)", "nn.BatchNorm2d(16, track_running_stats=False)"),
        "batch's statistics"),
    "otherwise_in_eval": (
        changed("return self.head(", "images = images if self.training else -images\n"
                                     "        return self.head("),
        "something else in eval()"),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_code_is_read_or_refused_with_the_way_out(name, tmp_path, monkeypatch):
    files, words = CODE[name]
    hand_in(tmp_path / name, files)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in ("submission", "submission.model", "submission.blocks", "model", "training"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    described = json.loads(json.dumps(spec.networks(str(tmp_path / name), list(MODELS))))
    found = examine(described)["Model3"]
    assert words in (found.get("error") or str(found["parameters"]))


def hand_in(folder, files):
    shutil.copytree(GOOD, folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        elif isinstance(content, int):
            with path.open("wb") as file:
                file.truncate(content)
        elif content == "pipe":
            os.mkfifo(path)
        elif content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where the processes of these tests work: their command lines name it, and no others do."""
    tmp_path_factory.getbasetemp()  # stays where it is
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", place)
        yield place


@pytest.fixture(scope="module")
def graded(tmp_path_factory, work, walled):
    """The whole class, graded in one go, each as soon as it is ready."""
    place, ready = tmp_path_factory.mktemp("class"), []
    for name, (files, _) in CLASS.items():
        hand_in(place / name, files)
    options = grading.Options(quick=True, kept=place / "kept")
    paths = [place / name for name in CLASS]
    found = grading.grade(paths, rubric.read(), options, done=ready.append)
    assert sorted(one.name for one in ready) == sorted(CLASS)
    return {one.name: one for one in found}


@pytest.mark.parametrize("name", CLASS)
def test_each_gets_its_own_report(graded, name):
    marks = {mark.name: mark for mark in graded[name].marks}
    assert list(marks) == list(rubric.read().points)
    for check, (share, words) in CLASS[name][1].items():
        mark = marks[check]
        assert any(word in mark.message for word in words.split("|")), mark.message
        assert mark.points == pytest.approx(share * mark.of), mark.message


def test_a_harmful_one_leaves_nothing_behind(graded, work):
    assert sorted(path.name for path in GOOD.iterdir()) == ["analysis.md", "fields.csv", "model.py"]
    assert not running(work)


def running(words):
    """Processes whose command line holds some words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path] if words in path.read_text().replace("\0", " ") else []
    return found


@pytest.mark.parametrize("walled", [True, False])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("while True: pass", "computed for more than 4 seconds"),
        ("import signal, time; signal.signal(signal.SIGTERM, print); time.sleep(999)",
         "doing nothing for most of them"),
    ],
)  # fmt: skip
def test_a_process_that_does_not_end_is_ended(line, words, walled, tmp_path, monkeypatch, work):
    if walled and not wall.stands():
        pytest.skip("no wall here")
    (tmp_path / "model.py").write_text(line)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(wall, "PATIENCE", 3 if "sleep" in line else 60)
    said = wall.run(grading.SPEC, [str(tmp_path), *MODELS], threading.Event(),
                    shown=[tmp_path], seconds=4, wall=walled)  # fmt: skip
    assert words in said.ended
    end = time.monotonic() + 30
    while running(str(tmp_path)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(str(tmp_path))


def test_marking_that_takes_too_long_is_ended_and_costs_nobody_else(
    tmp_path, monkeypatch, work, walled
):
    def endless(evidence, rubric):
        while True:
            pass

    monkeypatch.setattr("classroom.grade.marks.steps", endless)
    monkeypatch.setattr(grading, "MARKING", 1)
    (tmp_path / "a").mkdir()
    options = grading.Options(quick=True, kept=tmp_path / "kept")
    (found,) = grading.grade([tmp_path / "a"], rubric.read(), options)
    assert {mark.message for mark in found.marks} == {"Marking took too long."}


def test_without_a_wall_nothing_is_run_unless_the_teacher_says_so(tmp_path, monkeypatch, work):
    monkeypatch.setattr(wall, "stands", lambda: False)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(grading.InputError, match="--no-wall"):
        grading.grade([tmp_path / "a"], rubric.read())
    assert not (tmp_path / "ran").exists()
    options = grading.Options(quick=True, wall=False, kept=tmp_path / "kept")
    (found,) = grading.grade([tmp_path / "a"], rubric.read(), options)
    assert (tmp_path / "ran").exists()  # as the words say
    assert "not walled in" in report.to_html([found], rubric.read(), walled=False)


def test_a_mistake_that_leads_on_is_counted_once(graded):
    (message,) = [m.message for m in graded["carried_on"].marks if m.name == "table"]
    assert message.count("a pool doubles the field") == 1
    says = {
        cell.says for row in graded["carried_on"].evidence.cells["Model1"] for cell in row.values()
    }
    assert "follows from an earlier entry" in says


def test_right_numbers_and_test_digits_are_for_teachers(graded):
    """Self-grading names the wrong entry and the belief: never what is right, and no test digit."""
    for one in (graded["two_mistakes"], graded["carried_on"]):
        assert "`describe` 8" not in report.text(one)
        assert "is right" not in report.to_html([one], rubric.read())
        assert not any("test" in key for training in one.evidence.trainings for key in training)


def test_what_students_wrote_is_shown_and_does_nothing(graded):
    names = ("good", "two_mistakes", "escapes", "marks_up", "link", "=cmd()")
    page = report.to_html([graded[name] for name in names], rubric.read())
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "root:" not in page
    assert 'class="number wrong" title="a pool doubles the field">14<' in page
    assert page.count('src="data:image/png') > 2
    assert not re.search(r"""(?:src|href|url)[=(]["']?\s*(?:http|//)""", page)
    texts = [page, roster.to_csv(list(graded.values()), rubric.read())]
    texts += [report.text(one) for one in graded.values()]
    assert not [text for text in texts if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)]
    (escapes,) = [m.message for m in graded["escapes"].marks if m.name == "budget"]
    assert "\n" not in escapes


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", " =1", "\n=1", "\r@a", "＝1"])
def test_no_cell_of_a_spreadsheet_is_a_formula(text):
    assert report.out(text, "csv")[0] == "'"


def test_the_terminal_s_text_names_points_and_reasons(graded):
    text = report.text(graded["two_mistakes"])
    assert text.startswith("two_mistakes: 35 of 50 points")
    assert "Model2, row 5, 10, receptive_field: you have 10" in text


# --- a class --------------------------------------------------------------------------------------


def test_the_class_s_page_says_which_beliefs_led_astray_and_what_is_alike(graded):
    found = list(graded.values())
    (first, students, where) = roster.beliefs(found)[0]
    assert (first, students) == ("a pool doubles the field", 2)
    assert "Model1 row 4 (2)" in where
    same = dict(roster.alike(found))
    assert {"good", "half_sign"} <= set(same["texts"])
    page = roster.to_html(found, rubric.read(), None, [f"{n}.html" for n in graded], NOTHING_YET)
    assert "a pool doubles the field" in page


def renamed(one, folder):
    given = type(one.evidence.submission)(Path(folder))
    return grading.Graded(type(one.evidence)(given), one.marks)


@pytest.mark.parametrize(
    "saved",
    [
        str.encode,
        lambda text: ("\ufeff" + text.replace(",", ";").replace("\n", "\r\n")).encode(),
        lambda text: text.replace(",", ";").encode("cp1252"),
        lambda text: text.replace(",", "\t").encode("utf-16"),
    ],
)
def test_the_teacher_s_points_stay_and_count_however_the_table_is_saved(saved, graded, tmp_path):
    """Two of one name keep their own; what is not points counts nothing; a formula is a name."""
    asked, good = rubric.read(), graded["good"]
    names = ("Ann Müller_11_assignsubmission_file_", "Ann Müller_12_assignsubmission_file_", "=x")
    found = [renamed(good, name) for name in names]
    table = roster.to_csv(found, asked)
    for own in ("8,12,-2,", "1,nan,inf,", ",8 late,5.5,"):
        table = table.replace("10,10,0,5,20,5,,,,", f"10,10,0,5,20,5,{own}", 1)
    (tmp_path / "class.csv").write_bytes(saved(table))
    before = roster.Before.read(tmp_path / "class.csv")
    again = [*csv.DictReader(io.StringIO(roster.to_csv(found, asked, before)))]
    assert [row["analysis"] for row in again] == ["12", "nan", "8 late"]
    assert [row["total"] for row in again] == ["68", "51", "55.5"]
    assert [text.partition(": ")[2].split()[0] for text in before.odd(found, asked)] == [
        "'-2'", "'nan'", "'inf'", "'8", "'5.5'",
    ]  # fmt: skip
    (tmp_path / "class.csv").write_text(roster.to_csv(found, asked, before))
    third = roster.to_csv(found, asked, roster.Before.read(tmp_path / "class.csv"))
    assert third == (tmp_path / "class.csv").read_text()  # as often as it is written
    assert not before.lost(found, asked)
    assert before.lost(found[1:], asked)


CANVAS = ["Student", "ID", "SIS User ID", "SIS Login ID"]
CLAIMS = {  # columns, lines, folders -> the folder of each line
    "an_end": (["name", "login"], ["Anna,anna", "Anna B,anna-b"], ["digits-anna-b"],
               [None, "digits-anna-b"]),
    "no_login_yet": (["name", "login"], ["Jo Lee,lee", "Ann,", "Bo,bo", "Cy,cy"],
                     ["digits-ann-lee", "digits-bo", "digits-cy"],
                     [None, None, "digits-bo", "digits-cy"]),
    "run_together": (["name"], ["Ann Alee"], ["Anna Lee"], [None]),
    "two_accents": (["name"], ["Ann M\u00fcller"], ["Ann Mu\u0308ller"], ["Ann Mu\u0308ller"]),
    "gradescope": (["Name", "Submission ID"], ["Ann,45678"], ["submission_45678"],
                   ["submission_45678"]),
    "twice_handed_in": (["Identifier", "Full name"], ["Participant 77,Ann"],
                        ["Ann_77_assignsubmission_file_", "Ann_77_assignsubmission_file_2"],
                        [None]),
    "turned": (["name"], ["Lee Ann", "Ann Lee"], ["Ann Lee", "Lee Ann"], ["Lee Ann", "Ann Lee"]),
    "one_name": (["Identifier", "Full name"], ["Participant 11,Ann Lee", "Participant 12,Ann Lee"],
                 ["Ann Lee_12_assignsubmission_file_"],
                 [None, "Ann Lee_12_assignsubmission_file_"]),
    "nobody_knows": (["name"], ["Ann Lee", "Ann Lee"], ["Ann Lee"], [None, None]),
    "again": (CANVAS, ["V,101,1,vic", "C,102,2,che"], ["c_102_99_model-1.zip"],
              [None, "c_102_99_model-1.zip"]),
    "a_number": (CANVAS, ["V,101,7,vic", "C,102,8,che"], ["assignment 7.zip"], [None, None]),
    "a_login_in_a_file_s_name": (CANVAS, ["V,101,7,vic", "C,102,8,che"], ["c_102_99_-vic.zip"],
                                 [None, "c_102_99_-vic.zip"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CLAIMS)
def test_nobody_gets_another_s_line_of_the_roster(name, graded):
    columns, lines, folders, whose = CLAIMS[name]
    lines = [dict(zip(columns, line.split(","), strict=True)) for line in lines]
    found = [renamed(graded["good"], folder) for folder in folders]
    given = roster.matched(roster.Roster(columns, lines), found)
    assert [given[at].evidence.submission.path.name if at in given else None
            for at in range(len(lines))] == whose  # fmt: skip


SHEETS = {
    "moodle.csv": "Identifier,Full name,Email address,Grade,Last modified (grade),"
                  "Feedback comments\nParticipant 77,Ann Good,a@x.org,,-,\n"
                  "Participant 78,Bob Lee,b@x.org,,-,\n",
    "canvas.csv": "Student,ID,SIS User ID,SIS Login ID,Section,Old (3)\n"
                  "    Points Possible,,,,,5\n"
                  "\"Good, Ann\",901,,ann,A,4\n\"Lee, Bob\",902,,bob,A,3\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("sheet", "folder"),
    [
        ("moodle.csv", "Ann Good_77_assignsubmission_file_"),
        ("moodle.csv", "Ann Good"),
        ("canvas.csv", "goodann_901_5555_submission"),
        ("canvas.csv", "Ann_Good"),
        ("canvas.csv", "hw-ann"),
    ],
)
def test_a_platform_s_own_sheet_comes_back_filled_in(sheet, folder, graded, tmp_path):
    (tmp_path / sheet).write_text(SHEETS[sheet])
    names = roster.read(tmp_path / sheet)
    mine = renamed(graded["good"], tmp_path / folder)
    sheets = roster.worksheets([mine], rubric.read(), names)
    assert list(sheets) == [sheet]
    rows = list(csv.DictReader(io.StringIO(sheets[sheet])))
    column = "Grade" if sheet == "moodle.csv" else roster.COLUMN
    grades = {row.get("Full name") or row["Student"]: row[column] for row in rows}
    assert sorted(grades.values(), reverse=True)[0] == "50"
    assert [name for name, grade in grades.items() if grade] in (["Ann Good"], ["Good, Ann"])
    assert "Bob" in roster.to_html([mine], rubric.read(), names, ["a.html"], NOTHING_YET)


def test_gradescope_gets_its_results(graded):
    found = json.loads(report.to_gradescope(graded["good"]))
    assert found["score"] == sum(test["score"] for test in found["tests"]) == 50
    assert {"name", "score", "max_score", "output"} == set(found["tests"][0])


def test_a_link_to_another_s_work_hands_in_nothing(tmp_path):
    shutil.copytree(GOOD, tmp_path / "secret")
    for name in ("a", "b", "c"):
        (tmp_path / "class" / name).mkdir(parents=True)
    (tmp_path / "class" / "a" / "mine").symlink_to(tmp_path / "secret")
    shutil.copy(GOOD / "model.py", tmp_path / "class" / "b")
    (tmp_path / "class" / "b" / "lib").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "class" / "c" / "pipe.zip")
    (tmp_path / "class" / "d").symlink_to(tmp_path / "secret")
    paths = roster.hand_ins(tmp_path / "class")
    assert [path.name for path in paths] == ["a", "b", "c"]
    found = [grading.submission.read(path) for path in paths]
    assert [list(one.code) for one in found] == [[], ["model.py"], []]


def test_an_archive_writes_nothing_outside_its_own_folder(tmp_path, work):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../outside.py", "1")
        archive.writestr("/absolute.py", "1")
        archive.writestr("deep/down/model.py", MODEL)
        link = zipfile.ZipInfo("analysis.md")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("deep/down/large.py", "#" * (5 << 20))
    found = grading.submission.read(tmp_path / "a.zip")
    assert found.code["model.py"] == MODEL.encode()
    assert sorted(found.code) == ["model.py"]
    assert "root:" not in found.analysis
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"{number}.py", bytes(1 << 20))
    assert "hand in less" in grading.submission.read(tmp_path / "c.zip").problems["model.py"]
    whole = (tmp_path / "a.zip").read_bytes()
    for broken in (b"PK no archive", whole[:-9], whole.replace(b"Model", b"Nodel", 1)):
        (tmp_path / "b.zip").write_bytes(broken)
        said = grading.submission.read(tmp_path / "b.zip").problems["model.py"]
        assert "cannot be unpacked" in said
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as outer:
        for number in range(9):
            outer.write(tmp_path / "c.zip", f"{number}.zip")
    assert "is missing" in grading.submission.read(tmp_path / "d.zip").problems["model.py"]


def test_behind_the_wall_nothing_can_be_mounted_started_seen_or_killed(tmp_path, work, walled):
    """A namespace of one's own would be a place for more files than the wall allows."""
    (beside := tmp_path.with_name(f"{tmp_path.name}-secret")).write_text("another's")
    (tmp_path / "model.py").write_text(
        "import ctypes, errno, os\nsystem = ctypes.CDLL(None, use_errno=True)\n"
        "for call in (lambda: system.unshare(0x10020000),\n"
        "             lambda: system.mount(b'none', b'/tmp', b'tmpfs', 0, None),\n"
        f"             lambda: os.fork(), lambda: os.stat({str(beside)!r})):\n"
        "    try:\n        assert call() == -1 and ctypes.get_errno() == errno.EPERM\n"
        "    except OSError:\n        pass\n"
        "try:\n    os.kill(1, 9)  # of an ordinary user's: the kernel lets nothing come of it\n"
        "except OSError:\n    pass\n"
        "raise ValueError('nothing')\n"
    )
    tmp_path.chmod(0o755)
    said = wall.run(grading.SPEC, [str(tmp_path), *MODELS], threading.Event(), shown=[tmp_path])
    assert "ValueError: nothing" in said.output.decode(), said


def test_a_page_that_cannot_be_written_is_not_the_class_s_end(tmp_path, work, walled):
    for name in ("a" * 250, "ü" * 120, "b"):
        (tmp_path / "class" / name).mkdir(parents=True)
    said = []
    options = grading.Options(quick=True, kept=tmp_path / "kept")

    def done(one):
        if one.name == "b":
            raise OSError("disk full")

    paths = roster.hand_ins(tmp_path / "class")
    assert len(grading.grade(paths, rubric.read(), options, told=said.append, done=done)) == 3
    assert any("disk full" in text for text in said)
    pages = page_names(paths)
    assert len({*pages.values()}) == 3
    assert max(len(page.encode()) for page in pages.values()) < 250
