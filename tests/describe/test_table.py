"""The described network as table, JSON and HTML; and the command line, bad input included."""

import json
import re
import subprocess
import sys

import pytest
import torch
import torchvision.models as zoo
from torch import nn

from mnist_utils.describe import describe
from mnist_utils.describe.__main__ import load, main
from mnist_utils.errors import InputError
from mnist_utils.models import Model3

KEYS = ["name", "kind", "output_shape", "receptive_field", "jump", "start", "parameters", "macs"]


@pytest.fixture
def described(command):
    """Run the command line with --json; return its objects by name."""

    def run(*arguments):
        status, out, err = command(main, *arguments, "--json")
        assert (status, err) == (0, "")
        rows = json.loads(out)
        assert len({row["name"] for row in rows}) == len(rows)
        return {row["name"]: row for row in rows}

    return run


def test_model3_as_json(described):
    rows = described("mnist_utils.models:Model3")
    assert sum(row["parameters"] for row in rows.values()) == 6_016
    assert sum(row["macs"] for row in rows.values()) == 1_164_180
    assert all(list(row)[:8] == KEYS for row in rows.values())
    values = {name: [row[k] for k in KEYS[2:6]] for name, row in rows.items()}
    assert values["block1.0.0"] == [[10, 26, 26], 3, 1, 1]
    assert values["block1"] == values["block1.2.3"] == [[10, 22, 22], 7, 1, 3]
    assert values["pool"] == [[10, 11, 11], 8, 2, 3.5]
    assert values["block3"] == [[12, 3, 3], 24, 2, 11.5]
    assert values["head"] == [[10, 1, 1], 28, 6, 13.5]
    assert values["log_softmax"] == [[10], 28, 6, 13.5]
    assert (rows["head"]["kind"], rows["head"]["parameters"], rows["head"]["macs"]) == (
        "Conv2d", 130, 120,
    )  # fmt: skip
    assert (rows["block1"]["parameters"], rows["block1"]["parameters_inside"]) == (0, 1_980)


def test_resnet50_as_json(described):
    rows = described("torchvision.models:resnet50", "--input", 3, 224, 224)
    fields = {n: rows[n]["receptive_field"] for n in ("layer2", "layer3", "layer4")}
    assert fields == {"layer2": 91, "layer3": 267, "layer4": 427}
    last = rows["layer4"]
    assert (last["jump"], last["start"], last["padding"], last["aligned"]) == (32, 0, 213, True)
    assert last["output_shape"] == [2048, 7, 7]
    assert rows["layer4.2"]["kind"] == "Bottleneck"
    model = zoo.resnet50()
    assert last["parameters_inside"] == sum(p.numel() for p in model.layer4.parameters())
    assert sum(r["parameters"] for r in rows.values()) == sum(p.numel() for p in model.parameters())


def test_axes_that_differ_are_written_vertical_first():
    model = nn.Sequential(nn.Conv2d(1, 1, (3, 5), (2, 1), (0, 1)))
    row = describe(model, (1, 20, 30))["0"]
    assert (row.receptive_field, row.jump, row.start, row.padding) == (
        [3, 5], [2, 1], 1, [0, 1],
    )  # fmt: skip
    assert row.output_shape == [1, 9, 28]


def test_unknown_rows_are_null_with_a_reason():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ConvTranspose2d(1, 1, 1, 2), nn.ReLU())
    described = describe(model, (1, 8, 8))
    known, unreadable, after = described.rows
    assert known.status == "known"
    for row in (unreadable, after):
        assert (row.receptive_field, row.jump, row.start, row.status) == (
            None,
            None,
            None,
            "unknown",
        )
    assert unreadable.reason.startswith("1: a transposed convolution")
    assert after.reason.startswith("after 1: a transposed convolution")
    assert unreadable.parameters == 2
    assert unreadable.macs == 6 * 6
    assert "? unknown, and so is all that comes after:\n  1: a transposed" in str(described)


def test_modules_that_eval_never_calls_are_counted_and_marked():
    with torch.device("meta"):
        model = zoo.googlenet(init_weights=False)
    described = describe(model)
    assert described["aux2.fc1"].status == "not called"
    assert described.parameters == sum(p.numel() for p in model.parameters())
    assert "(not called)" in str(described)


def test_squeeze_and_excitation_with_and_without(described):
    target = "torchvision.models:mobilenet_v3_small"
    whole = described(target)["features"]
    local = described(target, "--without-global-context")["features"]
    assert (whole["receptive_field"], whole["same_for_all_units"]) == (224, True)
    assert (local["receptive_field"], local["same_for_all_units"]) == (639, False)
    assert whole["jump"] == local["jump"] == 32


def test_the_usual_image_is_guessed_from_the_first_convolution():
    assert describe(Model3()).input_shape == (1, 28, 28)
    with torch.device("meta"):
        assert describe(zoo.squeezenet1_0()).input_shape == (3, 224, 224)


def test_the_table_as_text(command):
    status, out, err = command(main, "mnist_utils.models:Model3")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert " ".join(lines[0].split()) == "layer kind output receptive field jump parameters MACs"
    (row,) = [line.split() for line in lines if line.startswith("block1.1.0")]
    assert row == ["block1.1.0", "Conv2d", "10×24×24", "5", "1", "910", "518,400"]
    (total,) = [line for line in lines if line.startswith("6,016 parameters")]
    assert "1,164,180 MACs" in total
    assert any(line.startswith("= block1 ") and "(1,980)" in line for line in lines)
    assert not any(line.startswith("= block1.0") for line in lines)


def test_totals_tell_frozen_and_trainable():
    model = Model3()
    model.head.requires_grad_(False)
    described = describe(model)
    assert (described.parameters, described.frozen, described.trainable) == (6_016, 130, 5_886)
    assert "130 of them frozen" in str(described)
    assert described.activation_bytes == sum(row.activation_bytes for row in described.rows)


def test_the_table_as_html_is_escaped():
    class Odd(nn.Module):
        def forward(self, x):
            return x * 2

    Odd.__name__ = "<Odd & co>"
    page = describe(nn.Sequential(Odd(), nn.Conv2d(1, 1, 3)))._repr_html_()
    assert page.count("<tr>") == 1 + 3
    assert "&lt;Odd &amp; co&gt;" in page
    assert "<Odd" not in page


def test_a_row_is_found_by_its_path():
    assert describe(Model3())["block2"].receptive_field == 20
    with pytest.raises(KeyError, match="block9"):
        describe(Model3())["block9"]


MINE = """
import torch
from torch import nn

class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Loud(nn.Module):
    def forward(self, x):
        print("loud")
        return x.relu()

def leaves():
    raise SystemExit(3)

class Needy(nn.Module):
    def __init__(self, channels):
        super().__init__()

ready = nn.Sequential(nn.Conv2d(1, 4, 5, 2))
number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_networks", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_networks:number"], "is of type int; name an nn.Module or its builder"),
        (["my_networks:torch"], "is of type module; name an nn.Module"),
        (["my_networks:Needy"], "cannot be built without arguments: TypeError"),
        (["my_networks:leaves"], "cannot be built without arguments: SystemExit: 3"),
        (["torch:classes.no.such"], "'torch' has no 'classes.no.such'"),
        (["my_networks:Branching"], "Branching looks at the values of its input"),
        (["my_networks:nothing"], "'my_networks' has no 'nothing'"),
        (["my_networks"], "is not module:name"),
        (["my_networks:"], "is not module:name"),
        (["no_such_room:Net"], "'no_such_room' cannot be imported"),
        (["broken:Net"], "'broken' cannot be imported: SyntaxError"),
        (["mnist_utils.models:Model3", "--input", 3, 28, 28], "does not take an image"),
        (["mnist_utils.models:Model3", "--input", 28, 28], "expected 3 arguments"),
        (["mnist_utils.models:Model3", "--input", 1, 0, 28], "all above 0|whole numbers above 0"),
        (["mnist_utils.models:Model3", "--input", "a", "b", "c"], "invalid int value"),
        ([], "the following arguments are required: target"),
    ],
)
def test_bad_input_costs_one_line(mine, refused, arguments, message):
    assert re.search(message, refused(main, *arguments))


def test_a_module_that_is_ready_made(mine, described):
    assert described("my_networks:ready")["0"]["receptive_field"] == 5
    assert isinstance(load("my_networks:ready"), nn.Sequential)
    with pytest.raises(InputError):
        load("my_networks:number")


def test_no_weights_are_downloaded_for_a_description(described):
    name = "torchvision.models.segmentation:lraspp_mobilenet_v3_large"
    rows = described(name, "--input", 3, 64, 64)
    assert rows["classifier.high_classifier"]["output_shape"] == [21, 8, 8]


def test_what_a_network_prints_stays_out_of_the_json(mine, command):
    status, out, err = command(main, "my_networks:Loud", "--json")
    assert status == 0
    assert json.loads(out)[0]["name"] == "relu"
    assert "loud" in err


def test_help_explains(command):
    status, out, _ = command(main, "--help")
    assert status == 0
    for word in ("module:name", "--input", "--json", "effective stride", "multiply-adds"):
        assert word in " ".join(out.split())


def test_the_command_in_its_own_process():
    target = "mnist_utils.models:Model4"
    command = [sys.executable, "-m", "mnist_utils.describe", target]
    bad = subprocess.run(command, capture_output=True, text=True)
    assert bad.returncode == 2
    assert bad.stderr == "error: 'mnist_utils.models' has no 'Model4'; is the name spelt right?\n"
