"""The table of Model3 as an answer: rows of `size, receptive_field, jump, start`."""

from classroom.checks.answers import Form, Unreadable, numbers
from classroom.checks.recurrence import (
    COLUMNS,
    NAMED,
    Layer,
    by_corners,
    causes,
    diagnose,
    table,
)
from mnist_utils.receptive_field import Row, Window

CONV, POOL, MEAN = Layer(Window(3)), Layer(Window(2, stride=2), "pool"), Layer(Window(3), "mean")
MODEL3 = (CONV,) * 3 + (POOL,) + (CONV,) * 4 + (MEAN,)
NAMES = ("conv1", "conv2", "conv3", "pool", "conv4", "conv5", "conv6", "conv7", "mean")


class Table(Form):
    """Model3's table; a data frame or dict may order its columns.

    Starts may be counted from the corner of the first pixel, and a lone unit has no jump.
    """

    def read(self, answer) -> list[Row]:
        named = getattr(answer, "columns", answer if isinstance(answer, dict) else ())
        if any(name in named for name in COLUMNS):
            if missing := [name for name in COLUMNS if name not in named]:
                raise Unreadable(f"the table has no column {missing[0]!r}; it needs {COLUMNS}")
            columns = [numbers(answer[name]) for name in COLUMNS]
            if len({len(column) for column in columns}) > 1:
                raise Unreadable("the columns are not equally long")
            flat = [value for row in zip(*columns, strict=True) for value in row]
        else:
            flat = numbers(answer)
        rows, parts = len(MODEL3), answer.tolist() if hasattr(answer, "tolist") else answer
        if (
            isinstance(parts, (list, tuple))
            and [len(part) for part in parts if isinstance(part, (list, tuple))] == [rows] * 4
        ):
            raise Unreadable(f"these are columns; {rows} rows of 4 numbers are wanted")
        if len(flat) != 4 * rows:
            raise Unreadable(f"{rows} rows of 4 numbers are wanted, these are {len(flat)} numbers")
        return [Row(*flat[at : at + 4]) for at in range(0, len(flat), 4)]

    def right(self, answer) -> bool:
        return not diagnose(answer, MODEL3)

    def says(self, answer) -> tuple[str, str] | None:
        """What is wrong, cause by cause, and where each begins."""
        findings, lines = diagnose(answer, MODEL3), []
        explained = causes(findings)
        for name, (first, *_) in explained:
            told = f"{name}. {NAMED[name].says}" if name else "no mistake that we know."
            lines.append(f"{NAMES[first.row]}, {first.column}: you have {first.yours:g}; {told}")
        more = [f"And {len(lines) - 3} more."] if len(lines) > 3 else []
        if any(finding.follows for finding in findings):
            more.append("What merely follows from these is not counted again.")
        return " or ".join(name for name, _ in explained if name), "\n".join(lines[:3] + more)

    def adds(self, answer) -> str:
        corners = by_corners(answer, MODEL3)
        return " (You count from the first pixel's corner; its centre gives ½ less.)" * corners

    def picture(self, answer):
        """The staircase of a table as filled in; its title says where a wrong step begins."""
        from mnist_utils import plots

        wrong = [one for one in diagnose(answer, MODEL3) if one.column == "receptive_field"]
        axes = plots.staircase(NAMES, [row.receptive_field for row in answer])
        title = f"a wrong step begins at {NAMES[wrong[0].row]}" if wrong else "every step is right"
        axes.set_title(title)
        return plots.show(
            axes, f"Your field by layer, as stairs; {title}, and the image's 28 pixels."
        )

    def reward(self):
        """The fields of five layers' middle units, on a seven."""
        from mnist_utils import data, plots

        boxes = {}
        for name, row in zip(NAMES, table(MODEL3), strict=True):
            if name in ("conv3", "conv4", "conv6", "conv7", "mean"):
                middle = row.start + row.size // 2 * row.jump
                first = round(middle - (row.receptive_field - 1) / 2)
                boxes[name] = ((first, first + row.receptive_field - 1),) * 2
        axes = plots.fields_on_digit(data.load(train=False).images[0] / 255, boxes)
        return plots.show(axes, "Your table on a seven: squares of 7, 12, 20, 24 and 28 pixels.")
