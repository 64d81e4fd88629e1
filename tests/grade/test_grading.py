"""One class, graded at once: a good submission, mistaken ones, and those that want to do harm.

Each gets its own report, and none disturbs another.
"""

import csv
import io
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mnist_utils.grade import grading, report, rubric, sandbox

GOOD = Path(__file__).with_name("good")
MODEL, FIELDS = (GOOD / "model.py").read_text(), (GOOD / "fields.csv").read_text()
DATA = Path(__file__).parents[2] / "data"


def history(rows=15, epochs=15, validation=5_000, held_out="validation", claimed=None):
    accuracies = [0.98 + 0.001 * epoch for epoch in range(rows)]
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


def in_init(line, in_forward=""):
    """Model3 with a line more in its __init__, and a factor in its forward."""
    line = line.replace("TENSOR", "__import__('torch').ones(1)")
    text = MODEL.replace("        self.head =", f"        {line}\n        self.head =")
    return {
        "model.py": text.replace("self.head(self.blocks(", f"self.head({in_forward}self.blocks(")
    }


# Name -> files instead of the good ones; what each check is to give: a share of its points, and
# words of its message.
CLASS = {
    "good": ({"runs/a/history.json": history()},
             {"honesty": (1, "One run, whole"), "table": (1, "agree")}),
    "over": (changed("Step(32, 32))", "Step(32, 64), Step(64, 64), Step(64, 32))"),
             {"budget": (0, "Model3 has 1"), "table": (0.5, "your table has")}),
    "two_mistakes": (
        {"fields.csv": FIELDS.replace("Model1,6,2,2,0,1,11,8,2,3.5", "Model1,6,2,2,0,1,11,14,2,3.5")
         .replace("Model2,10,3,1,0,1,9,12,2,5.5", "Model2,10,3,1,0,1,9,10,2,5.5")},
        {"table": (0.5, "you have 14, `describe` 8: a pool doubles the field")}),
    "carried_on": (
        {"fields.csv": FIELDS.replace("11,8,2,3.5\nModel1,7,3,1,0,1,9,12,2,5.5",
                                      "11,14,2,3.5\nModel1,7,3,1,0,1,9,18,2,5.5")},
        {"table": (0.5, "follow")}),
    "epochs_18": ({"training.toml": "epochs = 18"}, {"epochs": (0.5, "18 epochs asked")}),
    "epochs_100": ({"training.toml": "epochs = 100"}, {"epochs": (0, "Trained for 20")}),
    "own_seed": ({"training.toml": "seed = 5"}, {"epochs": (0, "seed, which the grader decides")}),
    "no_analysis": ({"analysis.md": None}, {"steps": (0.5, "analysis.md is missing")}),
    "no_table": ({"fields.csv": "model,layer\n"}, {"table": (0, "no column 'kernel_size'")}),
    # --- what wants to do harm
    "missing_package": (model("import tensorflow"),
                        {"budget": (0, "ModuleNotFoundError: No module named 'tensorflow'")}),
    "endless_loop": (model("while True: pass"), {"budget": (0, "ran for more than")}),
    "sleeps": (model("import time; time.sleep(1000)"), {"budget": (0, "ran for more than")}),
    "twenty_gigabytes": (model("x = bytearray(20 << 30)"), {"budget": (0, "MemoryError")}),
    "fork_bomb": (model("import os\nwhile True: os.fork()"), {"budget": (0, "was not described")}),
    "os_exit": (model("import os; os._exit(0)"), {"budget": (0, "exit status 0")}),
    "flood": (model("while True: print('x' * 10_000)"), 
              {"budget": (0, "File too large|printed more than 1 MiB")}),
    "fills_the_disk": (
        model("import sys\nfor i in range(10**6):\n"
              "    open(f'{sys.argv[2]}{i}', 'wb').write(bytes(9**7))"),
        {"budget": (0, "wrote more than 64 MiB|PermissionError")}),
    "writes_outside": (model(f"open({str(GOOD / 'hacked')!r}, 'w')"), {"budget": (0, "Error")}),
    "reads_labels": (model(f"import os; y = os.listdir({str(DATA)!r})"), {"budget": (0, "Error")}),
    "syntax": ({"model.py": "class Model3(:"}, {"budget": (0, "SyntaxError")}),
    "not_text": ({"model.py": b"\xff\xfe\x00"}, {"budget": (0, "cannot be imported")}),
    "patched_torch": (
        model("import torch\ntorch.argmax = torch.Tensor.argmax = lambda *a, **k: 1 / 0\n"
              "torch.nn.Conv2d.forward = lambda self, x: 1 / 0"),
        {"budget": (1, "5,610"), "accuracy": (0, "A quick look")}),
    "shared_weights": (in_init("self.blocks[2][0].weight = self.blocks[3][0].weight"),
                       {"budget": (0, "are one tensor under several names")}),
    "buffers": (in_init("self.register_buffer('w', TENSOR)", "self.w * "),
                {"budget": (0, "'w', a tensor that belongs to no layer")}),
    "bare_parameter": (in_init("self.w = nn.Parameter(TENSOR)", "self.w * "),
                       {"budget": (0, "'w', a tensor that belongs to no layer")}),
    "constants": (
        changed("return self.head(", "return __import__('torch').arange(10.0) + self.head("),
        {"budget": (0, "a tensor that belongs to no layer")}),
    "batch_statistics": (
        changed("nn.BatchNorm2d(16)", "nn.BatchNorm2d(16, track_running_stats=False)"),
        {"budget": (0, "batch's statistics")}),
    "across_the_batch": (
        changed("return self.head(self.blocks(self.stem(images)))",
                "return self.head(self.blocks(self.stem(images - images.mean(0))))"),
        {"accuracy": (0, "depends on the other digits of the batch")}),
    "otherwise_in_eval": (
        changed("return self.head(", "images = images if self.training else -images\n"
                                     "        return self.head("),
        {"budget": (0, "something else in eval()")}),
    "huge_pool": (changed("nn.MaxPool2d(2), nn.BatchNorm2d(16)",
                          "nn.AdaptiveAvgPool2d(100_000), nn.BatchNorm2d(16)"),
                  {"budget": (0, "numbers an image")}),
    "nine_classes": (changed("nn.Conv2d(channels, 10, 1)", "nn.Conv2d(channels, 9, 1)"),
                     {"budget": (0, "ten numbers for each are wanted")}),
    "best_epoch": ({"runs/a/history.json": history(claimed=0.999)},
                   {"honesty": (0, "not its last epoch's")}),
    "resumed": ({"runs/a/history.json": history(rows=30)}, {"honesty": (0, "not one run of 15")}),
    "thirty": ({"runs/a/history.json": history(30, 30)}, {"honesty": (0, "ran 30 epochs")}),
    "on_test": ({"runs/a/history.json": history(validation=0, held_out="test")},
                {"honesty": (0, "evaluated on the test digits")}),
    "no_history": ({"runs/a/history.json": "[" * 100_000}, {"honesty": (0, "is no history")}),
    "runs_link": ({"runs": Path("/")}, {"honesty": (0, "runs/ is a link")}),
    "large_batch": ({"training.toml": "batch_size = 60000"}, {"epochs": (0, "512 are the most")}),
    "link": ({"analysis.md": Path("/etc/passwd")}, {"steps": (0.5, "analysis.md is a link")}),
    "code_link": ({"model.py": Path("/etc/passwd")}, {"budget": (0, "model.py is a link")}),
    "two_gigabytes": ({"fields.csv": 2 << 30}, {"table": (0, "2,147,483,648 bytes")}),
    "a_pipe": ({"analysis.md": "pipe"}, {"steps": (0.5, "analysis.md is no file")}),
    "marks_up": (
        {"fields.csv": FIELDS.replace("Model1,0,3,1", "Model1,<script>alert(1)</script>,3,1")},
        {"table": (1, "agree")}),
    "=cmd()": ({}, {"table": (1, "agree")}),
}  # fmt: skip


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
def work():
    """Where the processes of these tests work: their command lines name it, and no others do."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        Path(place).chmod(0o755)  # run as root, grading becomes nobody, who must get there
        patch.setattr(tempfile, "tempdir", place)
        yield place


@pytest.fixture(scope="module")
def graded(tmp_path_factory, work):
    """The whole class, graded in one go."""
    place = tmp_path_factory.mktemp("class")
    for name, (files, _) in CLASS.items():
        hand_in(place / name, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "SECONDS", 20)
        began = time.monotonic()
        found = grading.grade(
            [place / name for name in CLASS], rubric.read(), quick=True, kept=place / "kept"
        )
        print(f"{time.monotonic() - began:.0f} s")
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("while True: pass", "it ran for more than 20 seconds"),
        (
            "import os, time\nfor _ in range(80):\n"
            "    if not os.fork(): time.sleep(30); os._exit(0)\n"
            "time.sleep(30)",
            "more than 64 processes|ran for more than",
        ),
        (
            "import os, time\nif not os.fork(): time.sleep(30)\nos._exit(3)",
            "it ended with exit status 3",
        ),
        ("while True: print('x' * 10_000)", "File too large|printed more than 1 MiB"),
    ],
)
def test_where_no_wall_can_be_built_limits_hold_and_the_report_says_so(
    text, words, tmp_path, monkeypatch, work
):
    monkeypatch.setattr(sandbox, "walls", lambda: "limits only")
    monkeypatch.setattr(sandbox, "SECONDS", 20)
    hand_in(tmp_path / "one", model(text))
    (found,) = grading.grade([tmp_path / "one"], rubric.read(), quick=True, kept=tmp_path / "kept")
    assert any(word in found.marks[0].message for word in words.split("|"))
    assert "not walled in" in report.to_html([found], rubric.read())
    assert not running(work)


def test_a_mistake_that_leads_on_is_counted_once(graded):
    (message,) = [m.message for m in graded["carried_on"].marks if m.name == "table"]
    assert message.count("a pool doubles the field") == 1
    says = {
        cell.says for row in graded["carried_on"].evidence.cells["Model1"] for cell in row.values()
    }
    assert "follows from an earlier entry" in says


def test_json_is_a_list_with_an_object_a_submission(graded):
    asked = rubric.read()
    found = json.loads(report.to_json(list(graded.values()), asked))
    assert [one["submission"] for one in found] == list(CLASS)
    for one in found:
        assert one["points"] == sum(check["points"] for check in one["checks"])
        assert one["of"] == sum(check["of"] for check in one["checks"])
        assert all(set(check) == {"name", "points", "of", "message"} for check in one["checks"])
        assert {item["name"] for item in one["by_teacher"]} == set(asked.teacher)


def test_csv_has_a_line_a_submission_and_starts_no_formula(graded):
    rows = list(csv.DictReader(io.StringIO(report.to_csv(list(graded.values()), rubric.read()))))
    assert len(rows) == len(CLASS)
    assert rows[0]["table"] == "20"
    assert not any(row["submission"].startswith("=") for row in rows)


def test_the_page_shows_what_students_wrote_and_does_not_run_it(graded):
    page = report.to_html(list(graded.values()), rubric.read())
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "root:" not in page
    assert 'class="number wrong" title="a pool doubles the field; 8 is right">14 (8)' in page
    assert 'src="data:image/png' in page
    assert not re.search(r"""(?:src|href|url)[=(]["']?\s*(?:http|//)""", page)


def test_the_terminal_s_text_names_points_and_reasons(graded):
    text = report.text(graded["two_mistakes"])
    assert text.startswith("two_mistakes: 35 of 50 points")
    assert "Model2, row 5, 10, receptive_field: you have 10" in text
