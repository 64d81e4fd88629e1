"""The described network as table, JSON and HTML; and the command line, bad input included."""

import json
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from networks import Written
from torch import nn

from mnist_utils import models
from mnist_utils.files import ROOT
from mnist_utils.models import Model3
from receptive import InputError, describe, show
from receptive.__main__ import load, main

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
    assert (last["jump"], last["start"], last["field_padding"], last["aligned"]) == (
        32,
        0,
        213,
        True,
    )
    assert last["output_shape"] == [2048, 7, 7]
    assert rows["layer4.2"]["kind"] == "Bottleneck"
    model = zoo.resnet50()
    assert last["parameters_inside"] == sum(p.numel() for p in model.layer4.parameters())
    assert sum(r["parameters"] for r in rows.values()) == sum(p.numel() for p in model.parameters())


def test_axes_that_differ_are_written_vertical_first():
    model = nn.Sequential(nn.Conv2d(1, 1, (3, 5), (2, 1), (0, 1)))
    row = describe(model, (1, 20, 30))["0"]
    assert (row.receptive_field, row.jump, row.start) == ([3, 5], [2, 1], 1)
    assert (row.kernel_size, row.stride, row.padding) == ([3, 5], [2, 1], [0, 1])
    assert row.field_padding == [0, 1]
    assert row.output_shape == [1, 9, 28]


def test_unknown_rows_are_null_with_a_reason():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ConvTranspose2d(1, 1, 1, 2), nn.ReLU())
    described = describe(model, (1, 8, 65))
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
    assert unreadable.macs == 6 * 63
    assert "it would be measured:\n  1: a transposed" in str(described)
    measured = describe(model, (1, 8, 8))
    assert (measured["1"].receptive_field, measured["1"].status) == (3, "measured")
    assert " ~3 " in str(measured)
    assert "disturbed after another:\n  1: a transposed" in str(measured)


def test_modules_that_eval_never_calls_are_counted_and_marked():
    with torch.device("meta"):
        model = zoo.googlenet(init_weights=False)
    described = describe(model)
    assert described["aux2.fc1"].status == "not called"
    assert described.parameters == sum(p.numel() for p in model.parameters())
    assert "(not called)" in str(described)


def test_squeeze_and_excitation_with_and_without(described):
    row = described("torchvision.models:mobilenet_v3_small")["features"]
    assert (row["receptive_field"], row["same_for_all_units"]) == (224, True)
    assert (row["local_field"], row["jump"]) == (639, 32)


def test_the_usual_image_is_guessed_from_the_first_convolution():
    assert describe(Model3()).input_shape == (1, 28, 28)
    with torch.device("meta"):
        assert describe(zoo.squeezenet1_0()).input_shape == (3, 224, 224)


def test_the_table_as_text(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "97")
    status, out, err = command(main, "mnist_utils.models:Model3")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    header = "layer kind k s p d output field jump start parameters MACs"
    assert " ".join(lines[0].split()) == header
    (row,) = [line for line in lines if line.startswith("block1.1.0")]
    assert " ".join(row.split()) == "block1.1.0 Conv2d 3 1 0 1 10×24×24 5 1 2 910 518,400"
    (pool,) = [line for line in lines if line.startswith("pool")]
    assert " ".join(pool.split()) == "pool MaxPool2d 2 2 0 1 10×11×11 8 2 3½"
    assert "Before gap a middle unit sees 24 of 28 pixels; the output sees all 28." in lines
    (total,) = [line for line in lines if line.startswith("6,016 parameters")]
    assert "1,164,180 MACs" in total
    assert any(line.startswith("= block1 ") and "(1,980)" in line for line in lines)
    assert not any(line.startswith("= block1.0") for line in lines)


LAYERS = {
    "padding same": (nn.Conv2d(1, 1, 3, padding="same", dilation=2), (3, 1, 2, 2)),
    "reflect": (nn.Conv2d(1, 1, 5, 2, 2, padding_mode="reflect"), (5, 2, 2, 1)),
    "circular": (nn.Conv2d(1, 1, 5, 1, 2, padding_mode="circular"), (5, 1, 2, 1)),
    "transposed": (nn.ConvTranspose2d(1, 1, 4, 2, 1), (4, 2, 1, 1)),
    "average": (nn.AvgPool2d(3, 2), (3, 2, 0, 1)),
    "functional": (Written(lambda s, x: F.max_pool2d(x, 2, dilation=3)), (2, 2, 0, 3)),
    "no window": (nn.ReLU(), (None,) * 4),
    "over the whole map": (nn.AdaptiveAvgPool2d(1), (None,) * 4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_kernel_stride_padding_and_dilation_are_shown_as_they_were_written(name):
    layer, expected = LAYERS[name]
    row = describe(nn.Sequential(layer), (1, 12, 12)).rows[0]
    assert (row.kernel_size, row.stride, row.padding, row.dilation) == expected


def test_holes_of_a_dilated_network_are_counted():
    """Two 3×3 convolutions, dilated twice, over pixels pooled by two: a hundred of 18 × 18."""
    described = describe(models.build("FieldNet18Dilated"))
    assert described["features.4"].pixels_read == [100, 324]
    assert " 18 (100/324) " in str(described)
    assert described["gap"].pixels_read is None
    assert describe(zoo.resnet18(), (3, 64, 64))["layer4"].pixels_read is None


def test_own_field_stands_beside_the_global_one():
    described = describe(zoo.mobilenet_v3_small())
    assert described["features.1"].local_field == 7
    assert " 7 / 224* " in str(described)
    assert described["features.0"].local_field is None
    assert describe(Model3())["gap"].local_field is None


def test_a_field_larger_than_the_image_is_marked():
    page = str(describe(zoo.resnet18(), (3, 1, 1)))
    assert " 435> " in page
    assert "> larger than the image" in page
    assert ">" not in str(describe(Model3()))


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        (nn.Conv2d(1, 1, 5), (1, 9, 9), "A middle unit of the last map sees 5 of 9 pixels."),
        (
            nn.Sequential(nn.Conv2d(1, 1, (3, 5)), nn.Flatten(), nn.Linear(6 * 6, 2)),
            (1, 8, 10),
            "Before 2 a middle unit sees 3×5 of 8×10 pixels; the output sees all 8×10.",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.AdaptiveMaxPool2d(1)),
            (1, 9, 9),
            "Before 2 a middle unit sees 3 of 9 pixels by itself, the rest by what is global; "
            "the output sees all 9.",
        ),
        (nn.Linear(5, 7), (1, 1, 5), "A middle unit of the last map sees all 1×5."),
        (nn.Conv2d(1, 1, 5), (1, 5, 5), ""),
    ],
)
def test_one_line_answers_the_design_question(model, shape, said):
    described = describe(model, shape)
    assert described.conclusion == said
    assert said in described.to_text(width=200)


def test_what_has_no_layer_gets_a_word():
    assert str(describe(nn.Identity())).startswith("Identity has no layer")
    assert describe(nn.Identity())._repr_html_().startswith("Identity has no layer")


def test_a_long_network_in_brief(command):
    lines = command(main, "torchvision.models:resnet50", "--brief")[1].splitlines()
    rows = [line.split()[0:2] for line in lines[2:26]]
    assert [r[0] for r in rows[:2]] == ["conv1", "maxpool"]
    assert ["=", "layer3.5"] in rows
    assert rows[-1][0] == "fc"
    assert set(lines[26]) == {"─"}
    assert lines[-1] == "in brief: 24 of 199 rows; --no-brief shows all"


@pytest.mark.parametrize(
    ("name", "brief", "rows"),
    [
        ("mobilenet_v3_large", True, 22),  # features.13, and not features.13.block beside it
        ("convnext_base", True, 39),  # features.5 is opened: 27 blocks, and most of the work
        ("vit_b_16", False, 144),
    ],
)
def test_a_table_fits_the_terminal(name, brief, rows):
    with torch.device("meta"):
        found = describe(zoo.get_model(name))
    for width in (80, 60):
        lines = found.to_text(brief, width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[rows + 2] == lines[1]
    assert (show.rounded(11_230_894_080), show.rounded(999_999)) == ("11.2 G", "999,999")


def test_brief_is_usual_on_a_terminal_for_a_long_network_only(command, monkeypatch):
    def said(*arguments):
        return command(main, *arguments)[1]

    assert "in brief" not in said("torchvision.models:resnet18")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "in brief" in said("torchvision.models:resnet18")
    assert "in brief" not in said("torchvision.models:resnet18", "--no-brief")
    assert "in brief" not in said("mnist_utils.models:Model2")


def test_markdown(command):
    lines = command(main, "mnist_utils.models:Model3", "--markdown", "--brief")[1].splitlines()
    assert lines[0].startswith("| layer | kind | k | s | p | d | output | field |")
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:20]} == {13}
    assert "| pool | MaxPool2d | 2 | 2 | 0 | 1 | 10×11×11 | 8 | 2 | 3½ |  |  |" in lines


def test_a_notebook_folds_the_containers_of_a_long_network():
    page = describe(zoo.resnet50())._repr_html_()
    assert page.count("<details><summary><b>layer") == 4
    assert "<b>layer2</b> · Bottleneck" not in page
    assert "<b>layer2</b> · Sequential · 512×28×28 · field 91 · 1,219,584 parameters" in page
    assert "<details>" not in describe(Model3())._repr_html_()


def test_totals_tell_frozen_and_trainable():
    model = Model3()
    model.head.requires_grad_(False)
    described = describe(model)
    assert (described.parameters, described.frozen) == (6_016, 130)
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


class Rows(nn.Module):
    """A recurrent layer over the rows of an image, or over its pixels, and its last step."""

    def __init__(self, layer, pixels=False, **options):
        super().__init__()
        self.layer, self.pixels = (
            layer(1 if pixels else 28, 16, batch_first=True, **options),
            pixels,
        )

    def forward(self, image):
        rows = image.flatten(2).transpose(1, 2) if self.pixels else image[:, 0]
        return self.layer(rows)[0][:, -1]


class Looping(nn.Conv2d):
    def forward(self, image):
        for _ in range(18):
            image = image + super().forward(image)
        return image


LOOPING = {  # network, multiply-adds, its output's field; the reader must end, too
    "LSTM": (lambda: Rows(nn.LSTM), 28 * 4 * 16 * (28 + 16), 28),
    "LSTM in float64": (lambda: Rows(nn.LSTM).double(), 28 * 4 * 16 * (28 + 16), 28),
    "LSTM, two layers both ways": (
        lambda: Rows(nn.LSTM, num_layers=2, bidirectional=True),
        28 * 2 * 4 * 16 * (28 + 16 + 32 + 16),
        28,
    ),
    "GRU": (lambda: Rows(nn.GRU), 28 * 3 * 16 * (28 + 16), 28),
    "GRU over pixels": (lambda: Rows(nn.GRU, pixels=True), 784 * 3 * 16 * (1 + 16), 28),
    "RNN over pixels": (lambda: Rows(nn.RNN, pixels=True), 784 * 16 * (1 + 16), 28),
    "convolution": (lambda: Looping(1, 1, 3, padding=1), 18 * 9 * 784, 37),
}


@pytest.mark.parametrize("name", LOOPING)
def test_what_goes_round_within_a_layer_is_counted_and_ends(name):
    model, macs, field = LOOPING[name]
    onednn = torch.backends.mkldnn.enabled
    found = describe(model(), (1, 28, 28))
    assert (found.macs, found.rows[-1].receptive_field) == (macs, field)
    assert torch.backends.mkldnn.enabled == onednn


def test_weights_that_are_packed_away_get_a_word():
    frozen = torch.jit.freeze(torch.jit.script(Model3().eval()))
    assert "frozen layers are packed away, and not counted" in str(describe(frozen, (1, 28, 28)))
    assert "packed" not in str(describe(torch.jit.script(Model3().eval()), (1, 28, 28)))


EXAMPLES = {
    "two": (lambda s, x, y: s.a(x) + y.mean(), lambda x: (x, torch.ones(1, 3))),
    "a dict": (lambda s, x: s.a(x["image"]), lambda x: {"image": x}),
    "measured": (lambda s, x, y: s.a(x).flip(2) * y, lambda x: (x, torch.ones(1))),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_takes_more_than_an_image_is_described_by_example(name):
    class Net(Written):
        def forward(self, *inputs):
            return self.written(self, *inputs)

    forward, inputs = EXAMPLES[name]
    model = Net(forward, a=nn.Conv2d(2, 1, 3))
    found = describe(model, inputs=inputs(torch.zeros(1, 2, 9, 12)))
    assert (found.rows[-1].receptive_field, found.input_shape) == (3, (2, 9, 12))
    with pytest.raises(InputError, match=r"describe\(model, inputs=\(a, b\)\), by example$"):
        describe(model)


def test_a_description_is_data():
    found = describe(Model3())
    assert json.loads(json.dumps(found.to_dict()))["rows"] == json.loads(found.to_json())
    assert found.to_frame().loc["pool", "receptive_field"] == 8


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

class Forgetful(nn.Module):
    pass

class Tall(nn.Module):
    def forward(self, x):
        return x.reshape(1, 1, 0, -1)

class Endless(nn.Module):
    def forward(self, x):
        return self.forward(x)

class Threads(nn.Module):
    def forward(self, x):
        import threading
        threading.Thread(target=x.relu).start()
        return x

class Chance(nn.Module):
    def forward(self, x):
        return x[:, :, int(torch.randint(0, 3, ())):]

class Two(nn.Module):
    def forward(self, x, y):
        return x + y

class Broken(nn.Module):
    def forward(self, x):
        return torch.nn.functional.no_such_thing(x)

class Inference(nn.Module):
    def forward(self, x):
        with torch.inference_mode():
            return x.relu()

class Uncopied(nn.Module):
    def __deepcopy__(self, memo):
        raise RuntimeError("one of a kind")

class Leaving(nn.Module):
    def forward(self, x):
        raise SystemExit(7)

line = nn.Conv1d(1, 1, 3)
solid = nn.Conv3d(1, 1, 3)
lazy = nn.LazyConv2d(3, 3)

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
        (["my_networks:Forgetful"], '.Forgetful. is missing the required "forward" function'),
        (["my_networks:Tall"], "Tall does not take an image of shape 1 28 28"),
        (["my_networks:Endless"], "Endless does not take an image.*RecursionError"),
        (["my_networks:Threads"], "forward starts a thread"),
        (["my_networks:Chance"], "draws random numbers and goes by them"),
        (["my_networks:Two"], r"Two does not take an image .*missing 1 required .* 'y'"),
        (["my_networks:Broken"], "does not take an image .*no_such_thing"),
        (["my_networks:Inference"], "take that off"),
        (["my_networks:Uncopied"], "Uncopied cannot be copied: RuntimeError: one of a kind"),
        (["my_networks:Leaving"], "Leaving does not take an image .*SystemExit: 7"),
        (["my_networks:line"], "Conv1d does not take an image .*Expected 2D"),
        (["my_networks:solid"], "Conv3d does not take an image .*Kernel size"),
        (["my_networks:lazy"], "lazy parameters without a size; run one batch through it"),
        (["torchvision.models:resnet18", "--input", 1, 28, 28], "expected input.* to have 3 chan"),
        (["torchvision.models:resnet18", "--json", "--markdown"], "not allowed with argument"),
        (["torchvision.models:resnet18", "--input", 3, -1, 28], "whole numbers above 0|argument"),
        (["mnist_utils.models:Model3", "--bref"], "unrecognized arguments: --bref"),
        (["mnist_utils.models:Model3.forward"], "cannot be built without arguments"),
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
    command = [sys.executable, "-m", "receptive", target]
    bad = subprocess.run(command, capture_output=True, text=True)
    assert bad.returncode == 2
    assert bad.stderr == "error: 'mnist_utils.models' has no 'Model4'; is it spelt right?\n"


def test_a_unit_that_reads_padding_alone_has_no_holes_and_is_no_crash():
    between = nn.Conv2d(1, 1, 2, padding=1, dilation=2)  # on one unit: its weights lie beside it
    found = describe(nn.Sequential(nn.Conv2d(1, 1, 28), between))
    assert found["1"].receptive_field == 30
    assert found["1"].pixels_read is None


def test_the_example_in_the_readme_prints_what_stands_below_it(capsys):
    text = (ROOT / "receptive/README.md").read_text()
    code, printed = re.search(r"```python\n(class.*?)```\n\n```\n(.*?)```", text, re.S).groups()
    exec(code, {"nn": nn, "torch": torch, "describe": describe})
    assert capsys.readouterr().out.rstrip() == printed.rstrip()
