"""How a description is shown: as text, as Markdown, and in a notebook."""

import html
import shutil
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from textwrap import wrap

LONG = 40  # rows; a longer network is shown in brief on a terminal, and folded in a notebook
COLUMNS = ("layer", "kind", "k", "s", "p", "d", "output", "field", "jump", "start")
COLUMNS += ("parameters", "MACs")
MARKS = {
    "measured": "~ measured, one row or column of the image disturbed after another:",
    "unknown": "? unknown; in an image of up to 64 pixels it would be measured:",
}
LEFT = ("layer", "kind", "output")
SPARE = ("", "start", "d", "p", "s", "k", "jump", "kind")  # go first where a table is too wide


# --- Cells ----------------------------------------------------------------------------------------


def cells(line, pixels: Sequence[int], short: bool = False) -> tuple[str, ...]:
    """One row of the table; `pixels` are the image's height and width."""
    slid = [line.kernel_size, line.stride, line.padding, line.dilation]
    count = rounded if short else "{:,}".format
    numbers = [count(n) if n else "" for n in (line.parameters, line.macs)]
    if line.container:
        numbers = [f"({count(n)})" for n in _inside(line)]
    if line.receptive_field is None:
        seen = ["?"] * 3 if line.status == "unknown" else [f"({line.status})", "", ""]
    else:
        seen = [field(line, pixels), show(line.jump), show(line.start)]
    name = f"= {line.name}" if line.container else line.name
    windows = ["" if value is None else show(value) for value in slid]
    return (name, line.kind, *windows, show(line.output_shape or "–"), *seen, *numbers)


def rounded(n: int) -> str:
    """Three figures of a large number: 11.2 G."""
    power = min((len(str(n)) - 1) // 3, 5)
    return f"{n:,}" if n < 10**6 else f"{n / 1000**power:.3g} {' kMGTP'[power]}"


def field(line, pixels: Sequence[int]) -> str:
    """The receptive field, with what there is to say about it."""
    axes = []
    columns = (line.receptive_field, line.smallest_field, line.same_for_all_units)
    for size, least, fixed, most in zip(*map(pair, columns), pixels, strict=True):
        mark = "*" if fixed else ">" * (size > most)
        axes.append((f"{least}–{size}" if least != size else str(size)) + mark)
    text = axes[0] if axes[0] == axes[1] else "×".join(axes)
    if line.local_field is not None:
        text = f"{show(line.local_field)} / {text}"
    text = "~" * (line.status == "measured") + text
    return text + (" ({}/{})".format(*line.pixels_read) if line.pixels_read else "")


def pair(value) -> list:
    return value if isinstance(value, list) else [value] * 2


def show(value) -> str:
    """A number, a pair of them, or a shape."""
    if isinstance(value, (list, tuple)):
        return "×".join(map(show, value))
    if isinstance(value, float) and not value.is_integer():  # after upsampling
        exact = abs(Fraction(value).limit_denominator(10_000))
        whole, part = divmod(exact, 1)
        signs = {"1/2": "½", "1/4": "¼", "3/4": "¾"}
        mixed = f"{whole or ''}{signs[str(part)]}" if str(part) in signs else str(exact)
        return "−" * (value < 0) + mixed
    return "–" if value is None else str(value)


# --- What stands below the table ------------------------------------------------------------------


def notes(description) -> list[str]:
    """The totals, and what the marks in the table mean."""
    rows = description.rows
    frozen = f", {description.frozen:,} of them frozen" if description.frozen else ""
    uncounted = [r.reason for r in rows if r.status in ("unknown", "measured") and not r.macs]
    least = any("not in the table" in r and not r.startswith("after") for r in uncounted)
    told = [
        f"{description.parameters:,} parameters{frozen}; {'at least ' * least}{description.macs:,} "
        f"MACs and {description.activation_bytes:,} bytes of activations for one image of "
        f"{show(description.input_shape)}"
    ]
    if not rows:
        told = [f"{description.model} has no layer: it computes nothing from its image"]
    told += [description.conclusion] if description.conclusion else []
    pixels = description.input_shape[1:]
    known = [field(r, pixels) for r in rows if r.receptive_field is not None]
    marks = {
        ">": "> larger than the image: the rest is padding",
        "*": "* every unit sees the same pixels, because something global is mixed in",
        " / ": "/ before it the field without what is global",
        "(": "(read/box) a unit reads with holes: so many pixels of those in its box",
    }
    if any(r.container for r in rows):
        told.append("= a container: its last layer's shape and field, (the sum of its layers)")
    told += [text for mark, text in marks.items() if any(mark in cell for cell in known)]
    if description.packed:
        told.append("the weights of quantised or frozen layers are packed away, and not counted")
    for status, mark in MARKS.items():
        reasons = [r.reason.removeprefix("after ") for r in rows if r.status == status]
        told += [mark] * bool(reasons) + [f"  {r}" for r in dict.fromkeys(reasons)]
    return told


# --- The table ------------------------------------------------------------------------------------


def chosen(rows: Sequence, brief: bool) -> list:
    """The rows to show; in brief convolutions, pools and containers, opened level by level.

    Of a level that would not fit in 40 rows, only what holds a quarter of the multiply-adds opens.
    """
    if not brief:
        return [row for row in rows if not (row.container and "." in row.name)]
    kept = [r for r in rows if r.container or r.kernel_size or r.macs or "pool" in r.kind.lower()]
    containers = {r.name: r for r in kept if r.container}
    for row in [*containers.values()]:  # what repeats the one around it goes
        outer = containers.get(_around(row.name, containers))
        if outer and _inside(outer) == _inside(row):
            del containers[row.name]
            kept.remove(row)
    inside = {name: [] for name in ["", *containers]}
    for row in kept:
        inside[_around(row.name, containers)].append(row)
    shown, level, quarter = [*inside[""]], inside[""], sum(r.macs for r in rows) / 4
    while level := [r for r in level if r.container and inside[r.name]]:
        if len(shown) + sum(len(inside[r.name]) for r in level) > LONG:
            level = [r for r in level if r.macs_inside > quarter]
        opened = []
        for row in level:
            if len(shown) + len(inside[row.name]) <= LONG:
                opened += inside[row.name]
                shown += inside[row.name]
        level = opened
    return [r for r in kept if r in shown]


def _around(name: str, containers) -> str:
    """The innermost container around a row."""
    while (name := name.rpartition(".")[0]) and name not in containers:
        pass
    return name


def _inside(row) -> tuple[int, int]:
    return row.parameters_inside, row.macs_inside


def _table(description, brief: bool, short: bool = False) -> list[tuple[str, ...]]:
    rows = [
        cells(row, description.input_shape[1:], short) for row in chosen(description.rows, brief)
    ]
    return [COLUMNS, *rows] if rows else []


def text(description, brief: bool = False, width: int | None = None) -> str:
    """The table as text, `width` characters wide: as the terminal is, by default.

    `brief` shows as many levels of containers as fit in 40 rows.
    """
    width = width or shutil.get_terminal_size().columns
    rows, told, lines = chosen(description.rows, brief), notes(description), []
    if brief:
        told.append(f"in brief: {len(rows)} of {len(description.rows)} rows; --no-brief shows all")
    if rows:
        lines = _fitting(description, brief, width)
        rule = "─" * max(map(len, lines))
        lines = [lines[0], rule, *lines[1:], rule]
    for note in told:
        lines += wrap(note, width, subsequent_indent="    " if note[0] == " " else "  ")
    return "\n".join(lines)


def _fitting(description, brief: bool, width: int) -> list[str]:
    """The table's lines; where it is too wide, numbers are rounded, columns go, and names are cut.

    A column that is empty goes in any case.
    """
    for n in range(len(SPARE) + 1):
        table = _table(description, brief, short=n > 0)
        columns = [c for c in zip(*table, strict=True) if any(c[1:]) and c[0] not in SPARE[:n]]
        widths = [max(map(len, column)) for column in columns]
        over = sum(widths) + 2 * len(widths) - 2 - width
        if over <= 0:
            break
    if over > 0:
        widths[0] = max(widths[0] - over, 9)
        columns[0] = [_cut(name, widths[0]) for name in columns[0]]
    sides = [str.ljust if column[0] in LEFT else str.rjust for column in columns]
    return [
        "  ".join(side(*one) for side, *one in zip(sides, row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def _cut(name: str, width: int) -> str:
    """A name without its middle."""
    end = width // 2
    return name if len(name) <= width else f"{name[: width - end - 1]}…{name[-end:]}"


def markdown(description, brief: bool = False) -> str:
    """The table in Markdown, for a README."""
    lines = [
        "| " + " | ".join(c.replace("|", "\\|") for c in row) + " |"
        for row in _table(description, brief)
    ]
    sides = "|".join(" --- " if name in LEFT else " ---: " for name in COLUMNS)
    table = [*lines[:1], f"|{sides}|", *lines[1:], ""] if lines else []
    return "\n".join([*table, *(f"{note}  " for note in notes(description))])


def page(description) -> str:
    """A table for a notebook; a long one folds its containers."""
    rows, pixels = chosen(description.rows, False), description.input_shape[1:]
    told = "<br>".join(html.escape(note) for note in notes(description))
    if len(rows) <= LONG:
        return (_html(rows, pixels) if rows else "") + told
    containers, parts = {row.name for row in rows if row.container}, []
    heads = (row.name.partition(".")[0] for row in rows)
    keyed = zip((head if head in containers else "" for head in heads), rows, strict=True)
    for name, group in groupby(keyed, key=lambda pair: pair[0]):
        *inside, last = [row for _, row in group]
        if not name:
            parts.append(_html([*inside, last], pixels))
            continue
        about = [last.kind, show(last.output_shape), f"field {cells(last, pixels)[7]}"]
        about += [f"{last.parameters_inside:,} parameters", f"{last.macs_inside:,} MACs"]
        summary = f"<b>{html.escape(name)}</b> · {html.escape(' · '.join(about))}"
        parts.append(f"<details><summary>{summary}</summary>{_html(inside, pixels)}</details>")
    return "".join(parts) + told


def _html(rows: Sequence, pixels: Sequence[int]) -> str:
    def line(values, tag="td"):
        inner = "".join(
            f'<{tag} style="text-align:{"left" if n in LEFT else "right"}">{html.escape(v)}</{tag}>'
            for n, v in zip(COLUMNS, values, strict=True)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(line(cells(row, pixels)) for row in rows)
    return f"<table><thead>{line(COLUMNS, 'th')}</thead><tbody>{body}</tbody></table>"
