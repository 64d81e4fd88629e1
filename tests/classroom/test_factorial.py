"""The factorial's designs are what its table says: field, depth, size, and what each way keeps."""

import re
from collections import defaultdict
from itertools import product

import pytest
import torch

from classroom.factorial import CANVAS, DESIGNS, OBJECTS, SIZES, TOO_LARGE
from classroom.lab.design import numbers
from mnist_utils import chains
from mnist_utils.receptive_field import Window, receptive_field
from tools.reproduce.plan import SCALED


def before_gap(notation):
    """The rows before GAP, and what `describe` says of each."""
    rows = chains.rows(notation)
    gap = [row["kind"] for row in rows].index("gap")
    return rows[:gap], numbers(rows)[:gap]


def windows(notation):
    rows, _ = before_gap(notation)
    values = [chains.KINDS[row["kind"]] | row for row in rows if "k" in chains.KINDS[row["kind"]]]
    return [Window(v["k"], v["s"], v["p"], v.get("d", 1)) for v in values]


def has_holes(notation):
    """Whether a dilation exceeds what the layers before it have filled."""
    layers = windows(notation)
    before = [receptive_field(layers[:i]) for i in range(len(layers))]
    steps = [layer.dilation * jump for layer, (_, jump) in zip(layers, before, strict=True)]
    return any(step > field for step, (field, _) in zip(steps, before, strict=True))


def parameters(notation):
    return sum(line["parameters"] for line in numbers(chains.rows(notation)))


def test_a_design_has_the_field_the_depth_and_the_size_of_its_cell_and_no_holes():
    assert has_holes("8C5-MP2-8C3p3d4")
    assert not has_holes("8C5-MP2-8C3p2d3")
    for design in DESIGNS:
        rows, lines = before_gap(design.notation)
        field, _ = receptive_field(windows(design.notation))
        assert lines[-1]["field"] == field == design.field, design
        assert sum(row["kind"] == "conv" for row in rows) == design.depth, design
        assert parameters(design.notation) == pytest.approx(design.size, rel=0.05), design
        assert not has_holes(design.notation), design
    cells = {(design.way, design.depth, design.size) for design in DESIGNS}
    assert cells == set(product("ABC", (2, 4, 6), SIZES))


def families(way):
    """The designs of a way that its change alone tells apart, by size and convolutions."""
    found = defaultdict(list)
    for design in DESIGNS:
        if design.way == way:
            rows, _ = before_gap(design.notation)
            convs = [(row["out"], row["k"]) for row in rows if row["kind"] == "conv"]
            found[design.size, *convs].append(design)
    return list(found.values())


def test_the_pool_s_way_and_dilation_s_keep_parameters_and_dilation_s_maps_and_macs_too():
    for way, number in (("B", 3), ("C", 5)):
        assert len(families(way)) == number * len(SIZES)
        for family in families(way):
            assert len({design.field for design in family}) >= 3
            assert len({parameters(design.notation) for design in family}) == 1
            lines = [before_gap(design.notation)[1] for design in family]
            kept = [[(x["side"], x["macs"], x["jump"]) for x in each] for each in lines]
            assert way == "B" or kept == kept[:1] * len(kept)


@pytest.mark.parametrize("way", OBJECTS)
def test_networks_for_objects_differ_in_the_field_alone(way):
    maps = set()
    for notation, field in OBJECTS[way].items():
        rows, lines = before_gap(notation)
        assert receptive_field(windows(notation))[0] == lines[-1]["field"] == field
        assert parameters(notation) == pytest.approx(SIZES[0], rel=0.05)
        assert sum(row["kind"] == "conv" for row in rows) == 4
        assert lines[-1]["jump"] == {"B": 4, "C": 2}[way]
        assert not has_holes(notation)
        maps.add(chains.build(rows, side=CANVAS)(torch.zeros(1, 1, CANVAS, CANVAS)).shape)
    assert len({parameters(notation) for notation in OBJECTS[way]}) == 1
    assert len(maps) == {"B": 3, "C": 1}[way]


def test_an_object_s_shifts_are_its_own_size_s():
    for name, settings in SCALED.items():
        assert name == f"{settings.side} {settings.model}"
        assert (settings.shift / settings.side, settings.canvas) == pytest.approx((0.025, CANVAS))


def test_a_family_is_alike_but_for_its_way_s_change():
    """B: layers and pools are the same ones in another order; C: without dilation and padding."""
    kept = {
        "B": lambda notation: sorted(re.sub(r"MP\d", "MP", notation).split("-")),
        "C": lambda notation: re.sub(r"p\d|d\d", "", notation),
    }
    for way, rest in kept.items():
        for design in DESIGNS:
            others = [d for d in DESIGNS if d.family == design.family and d.way == way]
            assert len({str(rest(d.notation)) for d in others}) <= 1


def test_the_shape_is_the_notation_without_its_channels():
    shapes = {d.notation: d.shape for d in DESIGNS}
    assert shapes["13C5-MP2-11C3p1d2-11C3p2d3-11C1"] == "C5-MP2-C3p1d2-C3p2d3-C1"


def test_what_is_cut_keeps_the_first_layers_and_its_width_gives_back_the_parameters():
    (longest, field), *others = TOO_LARGE.items()
    assert field == 60
    for notation, seen in TOO_LARGE.items():
        assert before_gap(notation)[1][-1]["field"] == seen
    for notation, _ in others:
        narrow = notation.startswith("10C")
        assert longest.startswith(notation) == narrow
        assert narrow or parameters(notation) == pytest.approx(parameters(longest), rel=0.02)
