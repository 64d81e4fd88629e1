"""The exercises of notebook 2b: the arithmetic of receptive fields."""

from classroom.checks.exercise import Exercise, Number, Numbers, Table, Wrong
from classroom.checks.recurrence import (
    IMAGE,
    MISTAKES,
    NAMED,
    Layer,
    Step,
    by_corners,
    causes,
    column_with,
    diagnose,
    pixels_read,
    table,
)
from mnist_utils.receptive_field import Window

CONV, POOL, MEAN = Layer(Window(3)), Layer(Window(2, stride=2), "pool"), Layer(Window(3), "mean")
PADDED = Layer(Window(3, padding=1))
MODEL3 = (CONV,) * 3 + (POOL,) + (CONV,) * 4 + (MEAN,)
NAMES = ("conv1", "conv2", "conv3", "pool", "conv4", "conv5", "conv6", "conv7", "mean")
MODEL3_PADDED = (PADDED,) * 3 + (POOL,) + (PADDED,) * 4


def _of_the_recurrence(layers, *more: Wrong) -> list[Wrong]:
    """Every answer for the last unit's field that a mistake of the recurrence leads to."""
    rows, found = table(layers), list(more)
    last = Step(rows[-2], layers[-1], (rows[-2], rows[-1], rows[-1]), IMAGE)
    for mistake in MISTAKES:
        for rule in mistake.rules if mistake.column == "receptive_field" else ():
            for value in (column_with(mistake, rule, layers)[-1], rule(last)):  # or there alone
                if value != rows[-1].receptive_field:
                    found.append(Wrong(mistake.name, value, mistake.says))
    return found


def _staircase(rows):
    """The staircase of a table as it was filled in; its title says where a wrong step begins."""
    from mnist_utils import plots

    wrong = [finding for finding in diagnose(rows, MODEL3) if finding.column == "receptive_field"]
    axes = plots.staircase(NAMES, [row.receptive_field for row in rows])
    title = f"a wrong step begins at {NAMES[wrong[0].row]}" if wrong else "every step is right"
    axes.set_title(title)
    return plots.show(axes, f"Your field by layer, as stairs; {title}, and the image's 28 pixels.")


def _adds(rows) -> str:
    """What to say of a right table."""
    said = "In conv7's row 11.5 + 2 = 13.5: its middle unit looks at the middle of the image."
    if by_corners(rows, MODEL3):
        said += " (You count from the first pixel's corner; from its centre, all are ½ less.)"
    return said + " A lone unit has no neighbour: its jump may be what it was, or three times that."


def _on_a_digit():
    """The fields of five layers' middle units, on a seven."""
    from mnist_utils import data, plots

    rows = table(MODEL3)
    boxes = {}
    for at in (2, 4, 6, 7, 8):
        middle = rows[at].start + rows[at].size // 2 * rows[at].jump
        first = round(middle - (rows[at].receptive_field - 1) / 2)
        boxes[NAMES[at]] = ((first, first + rows[at].receptive_field - 1),) * 2
    axes = plots.fields_on_digit(data.load(train=False).images[0] / 255, boxes)
    return plots.show(axes, "Your table on a seven: squares of 7, 12, 20, 24 and 28 pixels.")


def _tells(rows) -> str:
    """What is wrong with a table, cause by cause, and where each begins."""
    found, lines = diagnose(rows, MODEL3), []
    for name, entries in causes(found):
        first = entries[0]
        says = f"{name}. {NAMED[name].says}" if name else "no mistake that we know."
        lines.append(f"{NAMES[first.row]}, {first.column}: you have {first.yours:g}; {says}")
    more = [f"And {len(lines) - 3} more."] if len(lines) > 3 else []
    if any(finding.follows for finding in found):
        more.append("What merely follows from these is not counted again.")
    return "\n".join(lines[:3] + more)


def _has(name: str):
    """Whether a mistake is among those that explain a table."""
    return lambda rows: name in [cause for cause, _ in causes(diagnose(rows, MODEL3))]


def _table_with(mistake, rule):
    column = column_with(mistake, rule, MODEL3)
    rows = zip(table(MODEL3), column, strict=True)
    return [row._replace(**{mistake.column: value}) for row, value in rows]


def _wrong_tables() -> list[Wrong]:
    """Model3's table with each mistake that it can show."""
    found = []
    for mistake in MISTAKES:
        for rule in mistake.rules:
            rows = _table_with(mistake, rule)
            shown = [cause for cause, _ in causes(diagnose(rows, MODEL3))]
            if shown == [mistake.name]:
                says = f"In the column {mistake.column}: {mistake.says}"
                found.append(Wrong(mistake.name, rows, says, _has(mistake.name)))
                break
    return found


EXERCISES = (
    Exercise(
        "pool",
        Number(),
        lambda: table((CONV, CONV, CONV, POOL))[-1].receptive_field,
        lambda: _of_the_recurrence((CONV, CONV, CONV, POOL)),
        (
            "What do two neighbours of the map before it see? How far are they apart?",
            "Each of the two sees 7 pixels, and the second lies one pixel to the right of the "
            "first.",
        ),
        "It is the jump that doubles: the next 3×3 kernel will add 4.",
    ),
    Exercise(
        "two_strides",
        Number(),
        lambda: table((Layer(Window(3, 2)),) * 2)[-1].receptive_field,
        lambda: _of_the_recurrence(
            (Layer(Window(3, 2)),) * 2,
            Wrong(
                "the map's size",
                table((Layer(Window(3, 2)),) * 2)[-1].size,
                "So many units are left of the 28; the question was how many pixels one of them "
                "sees.",
            ),
        ),
        (
            "The first sees 3. How far apart are its units?",
            "Their jump is 2, so that the second kernel adds (3 − 1)·2.",
        ),
        "The second stride has not been felt yet: it would widen what a third layer adds.",
    ),
    Exercise(
        "padding",
        Numbers(3),
        lambda: [
            (last := table(MODEL3_PADDED)[-1]).receptive_field,
            last.size,
            table((*MODEL3_PADDED, MEAN))[-1].receptive_field,
        ],
        (
            Wrong(
                "padding enlarges the field",
                [31, 14, 50],
                "Padding moves a field and fills its edge with zeros. Before the mean it stays "
                "what it was without.",
                lambda given: given[0] in (28, 31, 35, 38, 46),
            ),
            Wrong(
                "padding ignored",
                [24, 3, 50],
                "With padding 1 a 3×3 convolution keeps the map as large as it was.",
                lambda given: given[1] == 3,
            ),
            Wrong(
                "the mean's jump forgotten",
                [24, 14, 24 + 13],
                "The mean's units lie 2 pixels apart, so that it reaches 13 times 2 further.",
            ),
            Wrong(
                "the mean sees nothing new",
                [24, 14, 24],
                "The mean reads all units of the map, and their fields do not coincide.",
                lambda given: given[2] == given[0],
            ),
            Wrong(
                "the whole kernel added",
                [24, 14, 24 + 14 * 2],
                "The first unit of the mean is already in the field; 13 others add to it.",
            ),
            Wrong(
                "the pool forgotten",
                [24, 28, 24 + 27 * 2],
                "The pool halves the map, padding or not.",
                lambda given: given[1] == 28,
            ),
            Wrong(
                "never more than the image",
                [24, 14, 28],
                "A field may be larger than the image; the rest of it is padding.",
                lambda given: given[2] == 28,
            ),
        ),
        (
            "Look at the recurrence: does padding occur in it? Which of the three numbers can it "
            "change?",
            "The map stays 28, is halved by the pool, and stays. The mean is a window over what "
            "is left, at jump 2.",
        ),
        "The logit sees 50 pixels, of which the image has 28.",
    ),
    Exercise(
        "start",
        Numbers(3),
        lambda: [
            (last := table((Layer(Window(5, 2, 1)), CONV))[-1]).size,
            last.start,
            last.start - (last.receptive_field - 1) / 2,
        ],
        (
            Wrong(
                "padding ignored",
                [10, 4, 0],
                "The map has one more place at either end before the kernel is laid on.",
                lambda given: given[0] == 10,
            ),
            Wrong(
                "rounded up",
                [12, 3, -1],
                "A place that the kernel cannot cover whole is left out: round down.",
                lambda given: given[0] == 12,
            ),
            Wrong(
                "padding forgotten in the start",
                [11, 4, 0],
                "Padding moves the first unit's field to the left.",
                lambda given: given[0] == 11 and given[1] == 4,
            ),
            Wrong(
                "jump ignored in the start",
                [11, 2, -2],
                "The second kernel's middle lies one unit further, and a unit is 2 pixels.",
                lambda given: given[1] == 2,
            ),
            Wrong(
                "jump before start",
                [11, 4, 0],
                "The first layer's own stride does not count for its own start.",
                lambda given: given[1] == 4,
            ),
            Wrong(
                "centre for edge",
                [11, 3, 3],
                "That is the centre of the field, which reaches half of its size further.",
                lambda given: given[2] == given[1],
            ),
            Wrong(
                "half of the field",
                [11, 3, -1.5],
                "A field of 9 is its middle pixel and 4 to either side.",
                lambda given: given[2] == -1.5,
            ),
        ),
        (
            "Row by row: map 13, field 5, jump 2, start (5 − 1)/2 − 1 for the first layer.",
            "Then map 13 − 2, field 5 + 2·2, start 1 + 1·2; the field reaches (9 − 1)/2 to the "
            "left.",
        ),
        "The first unit sees one column of zeros, which padding put there.",
    ),
    Exercise(
        "pool_first",
        Number(),
        lambda: table((POOL, CONV, CONV, CONV))[-1].receptive_field,
        lambda: _of_the_recurrence(
            (POOL, CONV, CONV, CONV),
            Wrong(
                "order does not matter",
                table((CONV, CONV, CONV, POOL))[-1].receptive_field,
                "A layer reaches as far as the jump *before* it; so it matters what came earlier.",
            ),
            Wrong(
                "the whole image",
                28,
                "28 is the image, and twice too much. Go through it layer by layer.",
            ),
        ),
        (
            "What is the jump after the pool?",
            "Begin with the pool: size 2, jump 2. What does each convolution add?",
        ),
        "It sees more for less than a fifth of the multiply-adds, and has thrown three pixels in "
        "four away before it looked at them.",
    ),
    Exercise(
        "table",
        Table(MODEL3),
        lambda: table(MODEL3),
        _wrong_tables,
        (
            "Fill in the jump first, down to the bottom; then the size of the map; then the field.",
            "field += (k − 1)·jump before; start += (k − 1)/2·jump before; the mean has k = 3.",
        ),
        _adds,
        picture=_staircase,
        tells=_tells,
        reward=_on_a_digit,
    ),
    Exercise(
        "holes",
        Number(),
        lambda: len(pixels_read((POOL, *(Layer(Window(3, dilation=2)),) * 2))) ** 2,
        (
            Wrong(
                "the box for what is read",
                18 * 18,
                "That is the box that is spanned. Between the weights of a dilated kernel lie "
                "units that nobody reads.",
            ),
            Wrong(
                "one layer of two",
                36,
                "That is what a unit of the first of the two reads.",
            ),
            Wrong(
                "the mean forgotten",
                25,
                "So many units of the mean's map are read; how many pixels is each of them?",
            ),
            Wrong(
                "two kernels multiplied",
                81,
                "Nine places of nine; but do not some of them coincide?",
            ),
        ),
        (
            "Along one axis: which units of the mean's map does the second layer reach?",
            "0, 2 or 4 further on from each of 0, 2, 4: how many different units, of two pixels "
            "each?",
        ),
        "As many as without dilation, only further apart.",
    ),
    Exercise(
        "mixed_holes",
        Numbers(2),
        lambda: [
            table(mixed := (POOL, CONV, Layer(Window(3, dilation=2))))[-1].receptive_field,
            len(pixels_read(mixed)) ** 2,
        ],
        (
            Wrong(
                "dilation forgotten",
                [10, 100],
                "Dilation 2 makes the second kernel reach twice as far.",
                lambda given: given[0] == 10,
            ),
            Wrong(
                "dilation twice",
                [18, 324],
                "One of the two has dilation 1: it adds 4, the other 8.",
                lambda given: given[0] == 18,
            ),
            Wrong(
                "holes are left",
                [14, 100],
                "Dilation 1 before it fills gaps that dilation 2 leaves. List the offsets along "
                "one axis.",
                lambda given: given[1] == 100,
            ),
        ),
        (
            "The mean sees 2 at jump 2. What do the two add?",
            "2 + 4 + 8. Then list the offsets along one axis: 0, 1, 2 of 0, 2, 4.",
        ),
        "So choose dilations: none steps further than what the layers before it have filled.",
    ),
    Exercise(
        "two_paths",
        Number(),
        lambda: table((*MODEL3[:4], PADDED, PADDED))[-1].receptive_field,
        (
            Wrong(
                "the short path",
                8,
                "What is added is seen as well: the sum depends on all that either path sees.",
            ),
            Wrong(
                "both paths added",
                24,
                "Their fields lie on top of each other, around the same centre.",
            ),
            Wrong("jump ignored", 12, "Behind the pool a kernel of 3 adds 2 · 2 pixels."),
            Wrong("the mean of the paths", 12, "A sum sees all that either sees, not the average."),
            Wrong("the pool forgotten", 11, "The pool adds a pixel, and doubles the jump."),
        ),
        (
            "Which of the two paths sees more?",
            "8, then twice (3 − 1)·2; the other path's 8 pixels lie in the middle of these.",
        ),
        "And both paths have jump 2 and start 3.5, or they could not be added.",
    ),
    Exercise(
        "large_kernel",
        Numbers(2, 0.006),
        [11, 11**2 / (5 * 3**2)],
        (
            Wrong(
                "kernels added",
                [15, 5],
                "Kernels overlap: each after the first adds 2.",
                lambda given: given[0] == 15,
            ),
            Wrong(
                "the first unit forgotten",
                [10, 100 / 45],
                "Five times 2 come on top of the one pixel that was there.",
                lambda given: given[0] == 10,
            ),
            Wrong(
                "one layer of five",
                [11, 121 / 9],
                "It takes the place of all five.",
                lambda given: abs(given[1] - 121 / 9) < 0.01,
            ),
            Wrong(
                "along one axis",
                [11, 11 / 15],
                "A kernel is square: its weights grow with the square of its side.",
                lambda given: abs(given[1] - 11 / 15) < 0.01,
            ),
        ),
        (
            "What do five convolutions of 3×3 see, at jump 1?",
            "1 + 5·2 = 11; 11·11 weights in place of five times 3·3.",
        ),
        "And there are four ReLUs fewer: what is one sum of products can do less.",
    ),
    Exercise(
        "tokens",
        Number(),
        lambda: table((Layer(Window(4, 4)), CONV, CONV))[-1].receptive_field,
        (
            Wrong(
                "every patch with every other",
                28,
                "So it would be if attention were global. Here a patch looks at its neighbours.",
            ),
            Wrong("one layer of two", 12, "The second layer reads patches that have looked."),
            Wrong("jump ignored", 8, "Neighbouring patches lie 4 pixels apart."),
            Wrong("fields multiplied", 36, "Fields overlap: each layer adds to the field."),
            Wrong("a patch alone", 4, "That is what a patch is before attention."),
        ),
        (
            "Attention to 3×3 patches: which window is that, at which jump?",
            "Patches: field 4, jump 4. Each layer adds (3 − 1)·4.",
        ),
        "Only attention to everything sees everything; the recurrence holds for the rest.",
    ),
)
