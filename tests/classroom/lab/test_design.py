"""A design has the same numbers, code and answers in the page, in describe and in PyTorch."""

import random

import pytest
import torch
from torch import nn

from classroom.lab import design
from classroom.lab.design import base64
from mnist_utils import chains
from mnist_utils.errors import InputError
from mnist_utils.explain import sharing_ties

DESIGNS = 400


def random_row(draw: random.Random) -> dict:
    kind = draw.choice(["conv"] * 6 + list(chains.KINDS))
    if kind == "conv":
        row = {"out": draw.choice([1, 4, 6, 8]), "k": draw.choice([1, 2, 3, 5])}
        row |= {"s": draw.choice([1, 1, 2]), "p": draw.choice([0, 0, 1, 2])}
        row |= {"d": draw.choice([1, 1, 2, 3]), "groups": draw.choice([1, 1, 1, 2])}
        row["bias"] = draw.random() < 0.5
    elif kind in ("maxpool", "avgpool"):
        row = {"k": draw.choice([2, 2, 3]), "s": draw.choice([1, 2, 2, 3])}
        row["p"] = draw.choice([0, 0, 1, 2])
    elif kind == "pad":
        row = {"p": draw.choice([-2, -1, 1, 2])}
    else:
        row = {}
    return {"kind": kind} | {name: v for name, v in row.items() if draw.random() < 0.9}


def random_design(seed: int) -> list[dict]:
    draw = random.Random(seed)
    return [random_row(draw) for _ in range(draw.randint(1, 9))]


@pytest.fixture(scope="module")
def designs():
    return [random_design(seed) for seed in range(DESIGNS)]


def numbers_or_problem(rows):
    try:
        return design.numbers(rows)
    except InputError as error:
        return str(error)


IN_THE_PAGE = """(rows, lab) => {
  const lines = lab.describe(rows), bad = lines.findIndex((line) => line.problem);
  if (bad >= 0) return `row ${bad + 1}: ${lines[bad].problem}`;
  return lines.map(({ sees, ...line }) =>
    ({ ...line, pixels: lab.pixelsRead({ ...line, sees }) }));
}"""


def test_the_page_has_chains_kinds_and_counts_as_describe_does(designs, javascript):
    assert javascript("(given, lab) => lab.KINDS", [0]) == [chains.KINDS]
    expected = [numbers_or_problem(rows) for rows in designs]
    assert sum(isinstance(e, list) for e in expected) > DESIGNS / 4
    assert sum(isinstance(e, str) for e in expected) > DESIGNS / 20
    for rows, said, truth in zip(designs, javascript(IN_THE_PAGE, designs), expected, strict=True):
        assert said == truth, rows


@pytest.fixture(scope="module")
def sound(designs):
    return [rows for rows in designs if isinstance(numbers_or_problem(rows), list)][:80]


def test_the_code_that_is_copied_builds_this_network(sound, javascript):
    for rows, code in zip(sound, javascript("(rows, lab) => lab.code(rows)", sound), strict=True):
        exec(code, names := {})
        built = names["network"]
        assert str(built) == str(chains.build(rows))
        assert [chains.KINDS[row["kind"]] | row for row in rows] == [
            chains.KINDS[row["kind"]] | row for row in design.rows_of(built)
        ]


def images(n):
    """Random pixels on the left; on the right a constant background, where pools have ties."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(n, 1, 28, 28, generator=generator) * 3 - 0.4
    pixels[..., 14:] = -0.4
    return pixels


FORWARD = """([rows, weights, image], lab) => {
  const tensors = lab.readWeights(rows, lab.floats(weights));
  return Array.from(lab.forward(rows, tensors, Float32Array.from(image)).maps.at(-1));
}"""
GRADIENT = """([rows, weights, image], lab) => {
  const tensors = lab.readWeights(rows, lab.floats(weights)), last = lab.describe(rows).at(-1);
  const middle = Math.floor(last.side / 2), unit = [middle, middle];
  return Array.from(lab.gradient(rows, tensors, Float32Array.from(image), rows.length - 1, unit));
}"""


def alive(rows: list[dict], seed: int) -> nn.Module:
    """A network whose BatchNorm does something, in eval()."""
    torch.manual_seed(seed)
    network = chains.build(rows).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.normal_(1, 0.3)
            norm.running_var.uniform_(0.5, 2)
    return network


def test_forward_and_backward_are_torch_s(sound, javascript):
    given, outputs, gradients = [], [], []
    for seed, rows in enumerate(sound[:40]):
        network, image = alive(rows, seed), images(1).requires_grad_()
        output = sharing_ties(network)(image)
        middle = [s // 2 for s in output.shape[2:]]
        values = output[(0, slice(None), *middle)]
        gradients.append(torch.autograd.grad(values[values.argmax()], image)[0].flatten().tolist())
        outputs.append(output.detach().flatten().tolist())
        pixels = image.detach().flatten().tolist()
        given.append([rows, base64(design.weights_of(network)), pixels])
    for function, expected, rtol in ((FORWARD, outputs, 1e-4), (GRADIENT, gradients, 1e-3)):
        for (rows, *_), *both in zip(given, javascript(function, given), expected, strict=True):
            ours, theirs = (torch.tensor(values, dtype=torch.float32) for values in both)
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-5, msg=str(rows))


NOTATIONS = ["16C5-MP2-16C3", "8C3p1-AP3s2p1-4C3d2-4C1", "8C3s2"]


def test_a_design_s_address_gives_its_rows_back_and_a_plain_one_is_chains_own(designs, javascript):
    again = "(rows, lab) => lab.readDesign(lab.written(rows))"
    full = [[chains.KINDS[row["kind"]] | row for row in rows] for rows in designs]
    read = javascript(again, designs)
    assert [[chains.KINDS[row["kind"]] | row for row in rows] for rows in read] == full
    plain = [chains.rows(text) for text in NOTATIONS]
    assert javascript("(text, lab) => lab.readDesign(text)", NOTATIONS) == plain
    assert javascript("(rows, lab) => lab.written(rows)", plain) == NOTATIONS
    odd = ["", "results", "16C", "=16C5-what", "16C5--MP2", "-"]
    assert javascript("(text, lab) => lab.readDesign(text)", odd) == [None] * len(odd)
