"""Rows: names, windows and who feeds whom; nothing changed, nothing guessed."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from networks import Written, find
from torch import nn

from mnist_utils.models import Model3
from receptive import InputError, describe, read
from receptive.fields import Unknown, fields
from receptive.follow import Reader
from receptive.steps import BROADCAST, POINT, Window


def shown(rows):
    return [row for row in rows if row.shown]


def test_model3_row_by_row():
    rows = read(Model3())
    leaves = [row for row in shown(rows) if not row.inside]
    kinds = ["Conv2d", "ReLU", "BatchNorm2d", "Dropout"]
    expected = kinds * 3 + ["MaxPool2d"] + kinds * 4 + ["AdaptiveAvgPool2d", "Conv2d"]
    assert [row.kind for row in leaves] == [*expected, "flatten", "log_softmax"]
    assert rows[find(rows, "block1.0.0")].windows == (Window(3), Window(3))
    assert rows[find(rows, "pool")].windows == (Window(2, 2), Window(2, 2))
    assert rows[find(rows, "gap")].windows == (Window(3, 3), Window(3, 3))
    assert rows[find(rows, "block2")].output_shape == (10, 5, 5)
    assert rows[find(rows, "block2")].inputs == (find(rows, "block2.2.3"),)
    assert rows[-1].output_shape == (10,)


def test_every_number_of_a_convolution_is_read():
    layer = nn.Conv2d(4, 6, (3, 5), (1, 2), (0, 1), (2, 3), groups=2)
    (row,) = shown(read(layer, (4, 40, 40)))
    assert row.windows == (Window(3, 1, 0, 2), Window(5, 2, 1, 3))
    assert row.output_shape == tuple(layer(torch.zeros(1, 4, 40, 40)).shape[1:])
    assert row.products == ((6, 2, 3, 5, *row.output_shape[1:]),)


def test_functional_calls_and_reuse_are_named():
    model = Written(
        lambda s, x: F.relu(s.a(F.relu(s.a(F.max_pool2d(x, 2))))).flatten(1) + 1,
        a=nn.Conv2d(2, 2, 1),
    )
    rows = shown(read(model, (2, 8, 8)))
    assert [row.name for row in rows] == [
        "max_pool2d",
        "a",
        "relu",
        "a_1",
        "relu_1",
        "flatten",
        "add",
    ]
    assert [bool(row.parameters) for row in rows] == [False, True, *[False] * 5]


def test_a_module_keeps_its_own_name_beside_a_function_called_alike():
    model = Written(lambda s, x: F.relu(s.relu_1(s.relu(x))), relu=nn.ReLU(), relu_1=nn.ReLU())
    rows = shown(read(model))
    assert [row.kind for row in rows] == ["ReLU", "ReLU", "relu"]
    assert [row.name for row in rows] == ["relu", "relu_1", "relu_2"]


def test_branches_feed_their_sum():
    rows = read(zoo.resnet18(), (3, 64, 64))
    add = rows[find(rows, "layer2.0.add")]
    names = {rows[i].name for i in add.inputs}
    assert names == {"layer2.0.bn2", "layer2.0.downsample.1"}
    assert rows[find(rows, "layer2.0.downsample.0")].windows == (Window(1, 2), Window(1, 2))
    assert rows[find(rows, "layer4")].output_shape == (512, 2, 2)


def test_lists_of_modules_get_a_row_too():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Conv2d(1, 1, 3) for _ in range(3))

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x.mean()

    rows = read(Blocks())
    assert [row.name for row in shown(rows)] == [
        *(f"blocks.{i}" for i in range(3)),
        "blocks",
        "mean",
    ]
    assert rows[find(rows, "blocks")].output_shape == (1, 22, 22)


def test_a_gate_is_broadcast_to_every_unit():
    model = Written(lambda s, x: x * x.mean((2, 3), keepdim=True))
    rows = read(model)
    across = rows[rows[-1].inputs[1]]
    (down,) = (rows[i] for i in across.inputs)
    assert (down.windows, across.windows) == ((BROADCAST, POINT), (POINT, BROADCAST))
    assert (down.shown, across.shown) == (False, False)
    assert rows[down.inputs[0]].windows == (Window(28, 28), Window(28, 28))
    assert rows[-1].windows == (POINT, POINT)


def _shifted(x):
    shifted = x.new_zeros(x.shape)
    shifted[:, :, 1:] = x[:, :, :-1]
    return shifted


UNREADABLE = {
    "read nothing": Written(lambda s, x: s.a(x), a=nn.ConvTranspose2d(1, 1, 1, 2)),
    "lost in rounding": Written(lambda s, x: F.interpolate(x, scale_factor=1.3)),
    "against aliasing": Written(
        lambda s, x: F.interpolate(x, 20, mode="bilinear", antialias=True)
    ),
    "pixel_shuffle": Written(lambda s, x: F.pixel_shuffle(F.pad(x, (0, 0, 0, 0, 0, 3)), 2)),
    "flip": Written(lambda s, x: x.flip(3)),
    "repeated columns": Written(lambda s, x: torch.cat([x, x], 3)),
    "axes lie differently": Written(lambda s, x: x + x.transpose(2, 3)),
    "flattened": Written(lambda s, x: s.a(x.flatten(2)), a=nn.Conv1d(1, 1, 3)),
    "computed from the image": Written(lambda s, x: F.conv2d(x, x.mean((2, 3), keepdim=True))),
    "written in parts": Written(lambda s, x: _shifted(x)),
    "grid_sampler": Written(lambda s, x: F.grid_sample(x, torch.zeros(1, 4, 4, 2).to(x.device))),
    "reordered rows": Written(lambda s, x: x.unfold(2, 2, 2).movedim(4, 2).flatten(2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("reason", UNREADABLE)
def test_what_cannot_be_read_is_named_and_poisons_the_rest(reason):
    model = nn.Sequential(nn.Conv2d(1, 1, 1), UNREADABLE[reason], nn.ReLU(), nn.Softmax(1))
    rows = read(model)
    found = fields(rows)
    assert not isinstance(found[1], Unknown)
    for row, field in zip(rows[-2:], found[-2:], strict=True):
        assert isinstance(field, Unknown), row
        assert field.source.startswith("1")
    assert any(reason in f"{row.kind}: {row.reason}" for row in rows if row.reason)


def written_in_pieces(s, x):
    y = torch.zeros_like(x)
    y[:, :, ::2] = x[:, :, ::2]
    return y


def written_over(s, x):
    y = s.a(x)
    y[:, :, 3:] = x[:, :, 5:, 2:]
    return y


def written_through_a_view(s, x):
    y = s.a(x)
    y[:, :, 1:-1].add_(F.max_pool2d(x, (5, 3), 1))
    return y


@pytest.mark.parametrize("forward", [written_in_pieces, written_over, written_through_a_view])
def test_memory_written_in_pieces_is_not_taken_for_what_it_was(forward):
    model = Written(forward, a=nn.Conv2d(1, 1, 3))
    assert isinstance(fields(read(model))[-1], Unknown)


def test_memory_written_whole_is_known():
    def forward(s, x):
        y = torch.empty_like(x[:, :, :26, :26])
        y[:] = s.a(x)
        return y.mul_(2)

    found = fields(read(Written(forward, a=nn.Conv2d(1, 1, 3))))[-1]
    assert (found[0].size, found[0].jump, found[0].padding) == (3, 1, 0)


@pytest.mark.parametrize(
    ("name", "known"), [("vit_b_32", True), ("swin_t", True), ("maxvit_t", False)]
)
def test_transformers(name, known):
    """MaxViT's grid attention shows a unit every seventh row of the image: it has no box."""
    with torch.device("meta"):
        model = zoo.get_model(name)
    described = describe(model, (3, 224, 224))
    assert described.rows[-1].output_shape == [1000]
    assert described.rows[-1].receptive_field == (224 if known else None)
    assert any(row.status == "unknown" for row in described.rows) is not known


@pytest.mark.parametrize(
    "decide",
    [
        lambda s, x: x if x.mean() > 0 else -x,
        lambda s, x: x * x.max().item(),
        lambda s, x: x * float(x.sum()),
        lambda s, x: x[x > 0],
        lambda s, x: x[:, :, : len(x.nonzero())],
        lambda s, x: torch.from_numpy(x.numpy()) + 0,
        lambda s, x: torch.tensor(x.tolist()),
    ],
)
def test_control_flow_on_data_is_refused_in_one_line(decide):
    model = nn.Sequential(nn.Conv2d(1, 1, 1), Written(decide))
    with pytest.raises(InputError, match="^1 looks at the values of its input") as error:
        read(model)
    assert "\n" not in str(error.value)


def another_way(s, x):
    try:
        return x.view(1, -1, 5, 5)
    except RuntimeError:
        return x


def in_a_thread(s, x):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(F.relu, x).result() + x


@torch.inference_mode()
def without_history(s, x):
    return F.relu(x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (another_way, "fails, and the network catches"),
        (without_history, "inference_mode"),
        (in_a_thread, "forward starts a thread"),
    ],
)
def test_what_hides_operations_is_refused_in_one_line(forward, message):
    with pytest.raises(InputError, match=message) as error:
        read(nn.Sequential(nn.Conv2d(1, 1, 1), Written(forward)))
    assert "\n" not in str(error.value)


def test_reading_within_inference_mode():
    with torch.inference_mode():
        assert sum(len(row.products) for row in read(Model3())) == 8


def test_code_that_looks_at_shapes_and_at_its_own_constants_is_read():
    class Shapely(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("times", torch.tensor(2))
            self.conv = nn.Conv2d(1, 1, 3)

        def forward(self, x):
            for _ in range(int(self.times) + (x.shape[-1] > 20) + len(x) - 1):
                x = self.conv(x)
            assert x.size(1) == 1
            return x

    assert fields(read(Shapely()))[-1][0].size == 7


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (Model3(), (3, 28, 28), "Model3 does not take an image of shape 3 28 28 at block1.0.0"),
        (Model3(), (1, 12, 12), "Model3 does not take an image of shape 1 12 12"),
        (Model3(), (3, 10**7, 10**7), "Model3 does not take an image of shape 3 10000000 10000000"),
        (Model3(), (1, 10**11, 10**11), "does not take an image"),
        (Model3(), (1, 10**20, 1), "does not take an image"),
        (Model3(), (28, 28), "is not .channels, height, width."),
        (Model3(), (1, 28, 0), "is not .channels, height, width."),
        (Model3(), (1, 28.0, 28), "is not .channels, height, width."),
        (Model3, (1, 28, 28), "pass an nn.Module"),
        (3, (1, 28, 28), "3 is of type int; pass an nn.Module"),
        (nn.LazyConv2d(1, 1), (1, 28, 28), "lazy"),
        (Written(lambda s, x: undefined), (1, 28, 28), "NameError"),  # noqa: F821
        (nn.Bilinear(1, 1, 1), (1, 28, 28), "TypeError"),
        (Written(None, made=(i for i in "ab")), (1, 28, 28), "cannot be copied"),
    ],
)
def test_bad_input_costs_one_line(model, shape, message):
    with pytest.raises(InputError, match=message) as error:
        read(model, shape)
    assert "\n" not in str(error.value)


def test_a_class_in_place_of_a_network_is_refused():
    with pytest.raises(InputError, match="pass an nn.Module"):
        describe(Model3)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(zoo.resnet18().train(), nn.Dropout())
    model[0].bn1.eval()
    model[0].fc.requires_grad_(False)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    random = torch.get_rng_state()
    versions = [p._version for p in model.parameters()]
    read(model, (3, 64, 64))
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [m.training for m in model.modules()]
    assert versions == [p._version for p in model.parameters()]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert not model[0].fc.weight.requires_grad
    assert model[0].conv1.weight.requires_grad


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_networks_of_other_makes():
    model, normed = Model3().eval(), Model3()
    nn.utils.parametrizations.weight_norm(normed.block2[1][0])
    nn.utils.parametrizations.spectral_norm(normed.head)
    expected = fields(read(model))[-1]
    for other in (
        normed,
        nn.DataParallel(model),
        torch.compile(model),
        torch.fx.symbolic_trace(model),
        torch.jit.script(model),
        copy.deepcopy(model).half(),
        copy.deepcopy(model).to(memory_format=torch.channels_last),
    ):
        rows = read(other)
        assert fields(rows)[-1] == expected, other
        used = [name for row in rows for name in row.parameters]
        names = [name for name, _ in getattr(other, "_orig_mod", other).named_parameters()]
        assert sorted(used) == sorted(names)


def test_the_example_of_follow_reads_as_its_docstring_says():
    class Example(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, images):
            maps = torch.cat([images, self.conv(images)], 1)
            return maps.flatten(2)[:, 1:3].mean(2)

    rows = Reader(Example().eval(), (2, 4, 4), "cpu", False).run()
    assert [row.inputs for row in rows[1:5]] == [(0,), (0,), (1,), (2, 3)]
    assert [w.kernel_size for row in rows[-3:-1] for w in row.windows] == [4] * 4
    assert [own[0].size for own in fields(rows)[-3:-1]] == [4, 6]
