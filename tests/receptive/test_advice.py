"""Advice on a design: each rule on a network that needs it, and none where nothing is wrong."""

import re

import pytest
from networks import conv
from torch import nn

from mnist_utils import models
from receptive import describe
from receptive.__main__ import main


def net(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def tower(n, **options):
    return [conv(channels=(4, 4), **options) for _ in range(n)]


ADVISED = {  # network, the object's size, what is said
    "late": (net(conv(), *tower(5)), 9, "input of 4 sees all 9 .* 2 convolutions .* 36% .* 26%"),
    "early": (net(conv(), *tower(2)), 10, "^3 averages .*: 7 of its 10 pixels; 2 more 3×3 .* 2 p"),
    "holes": (net(conv(), *tower(1, dilation=4)), 9, "^a unit of 1 reads 81 of the 121 .* at 1:"),
    "padding": (net(conv(padding=1), *tower(14, padding=1)), 31, "of 14 sees, 73% .* in 15 layers"),
    "parameters": (nn.Sequential(conv(), nn.Flatten(), nn.Linear(2704, 9)), 3, "^2 holds 100% of"),
    "multiply-adds": (net(conv(), nn.MaxPool2d(4), *tower(1)), 10, "^0 holds 91% of the multiply-"),
}


@pytest.mark.parametrize("name", ADVISED)
def test_a_rule_fires_with_its_numbers(name):
    model, size, said = ADVISED[name]
    sentences = describe(model, (1, 28, 28)).advice(size)
    print(sentences)
    assert [s for s in sentences if re.search(said, s)]
    assert all(
        re.search(r": .*; notebooks/\w+\.ipynb$|; .*; notebooks/\w+\.ipynb$", s) for s in sentences
    )


@pytest.mark.parametrize("name", ["CourseNet", "SmallNet", "BestNet", "FieldNet22"])
def test_no_rule_fires_on_the_course_s_best_networks(name):
    assert describe(models.build(name)).advice(20) == []


def test_advice_stands_below_the_table_when_asked_for(command, refused):
    asked = command(main, "mnist_utils.models:Model2", "--advice", "--object", 20)[1]
    assert "\n- gap averages before a unit has seen the object: 14 of its 20 pixels;" in asked
    assert max(map(len, asked.splitlines())) <= 80
    assert "- gap" not in command(main, "mnist_utils.models:Model2")[1]
    assert "--json prints none" in refused(main, "mnist_utils.models:Model2", "--advice", "--json")
    assert "--advice" in refused(main, "mnist_utils.models:Model2", "--object", 20)
