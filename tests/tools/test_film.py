"""README's film: the whole digit is drawn, and every window and the answer are the network's."""

import re

from mnist_utils import data
from tools import film


def test_a_pen_reaches_every_inked_pixel_once_and_begins_at_the_stroke_s_left_end():
    digit = data.load(train=False).images[0] / 255
    order = film.strokes(digit)
    assert {*order} == {(int(r), int(c)) for r, c in (digit > 0.1).nonzero()}
    assert len(order) == len({*order})
    assert order[0][1] == min(c for _, c in order)


def test_the_film_s_windows_are_model3_s_and_its_answer_is_seven():
    svg = film.film()
    sees = re.findall(r"a unit of (\w+ \d) sees (\d+) × \d+ pixels", svg)
    assert [int(size) for _, size in sees] == [3, 5, 7, 8, 12, 16, 20, 24, 28]
    maps = re.findall(r": (\d+) × \d+</text>", svg)
    assert [int(units) for units in maps] == [26, 24, 22, 11, 9, 7, 5, 3, 1]
    assert re.search(r'class="answer"[^>]*>7<', svg)
    stored = film.FILE.read_text()
    plain = [
        re.sub(r'href="[^"]+"', "", text) for text in (svg, stored)
    ]  # maps may round otherwise
    assert plain[0] == plain[1], "run `make report`"
