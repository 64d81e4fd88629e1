"""What each check of the rubric finds, in points and in words to the student."""

import itertools
import json
import re
import statistics
from dataclasses import dataclass, field

from torch import nn

from mnist_utils import results
from mnist_utils.checks.recurrence import COLUMNS, NAMED, Layer, Row, causes, diagnose, table
from mnist_utils.describe import describe
from mnist_utils.errors import InputError
from mnist_utils.grade.rubric import Rubric
from mnist_utils.grade.submission import MODELS, Submission
from mnist_utils.receptive_field import Window

KINDS = {
    "Conv2d": "conv", "MaxPool2d": "pool", "AvgPool2d": "pool", "max_pool2d": "pool",
    "avg_pool2d": "pool", "boolean_dispatch": "pool", "AdaptiveAvgPool2d": "mean",
    "AdaptiveMaxPool2d": "mean", "adaptive_avg_pool2d": "mean", "mean": "mean",
}  # fmt: skip
SHARES = {"full": 1.0, "half": 0.5, "none": 0.0}


@dataclass(frozen=True)
class Mark:
    """One check: its points of how many, and what to say."""

    name: str
    points: float
    of: float
    message: str


@dataclass
class Cell:
    """An entry of fields.csv as the report shows it."""

    yours: float
    right: float
    says: str = ""  # the mistake, where it is wrong


@dataclass
class Evidence:
    """All that was found out about a submission."""

    submission: Submission
    networks: dict[str, nn.Module] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # model -> why it was not built
    descriptions: dict[str, dict] = field(default_factory=dict)
    trainings: list[dict] = field(default_factory=list)  # of Model3, by seed
    cells: dict[str, list[dict[str, Cell]]] = field(default_factory=dict)  # filled by `fields`


def mark(rubric: Rubric, name: str, share: str, message: str) -> Mark:
    """Full points, half of them, or none."""
    of = rubric.points[name]
    return Mark(name, SHARES[share] * of, of, message)


def marks(evidence: Evidence, rubric: Rubric) -> list[Mark]:
    """Every check of the rubric."""
    checks = {
        "budget": budget, "epochs": epochs, "accuracy": accuracy,
        "honesty": honesty, "table": fields, "steps": steps,
    }  # fmt: skip
    found = []
    for name in rubric.points:
        try:
            found.append(checks[name](evidence, rubric))
        except Exception as error:  # one check's failure is not another's
            text = f"could not be graded: {type(error).__name__}: {error}"
            found.append(mark(rubric, name, "none", text))
    return found


def parameters(network: nn.Module) -> int:
    """Trainable parameters, each tensor once; buffers do not count."""
    return sum(p.numel() for p in network.parameters())


def _why_missing(evidence: Evidence, model: str) -> str:
    return f"{model}: {evidence.refused.get(model, 'is missing')}"


def budget(evidence: Evidence, rubric: Rubric) -> Mark:
    """All three networks below the limit; half for the last alone."""
    counts = {model: parameters(network) for model, network in evidence.networks.items()}
    within = {model: counts.get(model, rubric.parameters) < rubric.parameters for model in MODELS}
    said = [
        f"{model} has {counts[model]:,} parameters" if model in counts
        else _why_missing(evidence, model) for model in MODELS
    ]  # fmt: skip
    share = "full" if all(within.values()) else "half" if within[MODELS[-1]] else "none"
    limit = f"fewer than {rubric.parameters:,} are allowed"
    return mark(rubric, "budget", share, f"{'; '.join(said)}; {limit}.")


def epochs(evidence: Evidence, rubric: Rubric) -> Mark:
    """Not more epochs than allowed."""
    if problem := evidence.submission.problems.get("training.toml"):
        return mark(rubric, "epochs", "none", f"training.toml {problem}.")
    asked = evidence.submission.training.get("epochs", rubric.epochs)
    share = "full" if asked <= rubric.epochs else "half" if asked <= rubric.half_epochs else "none"
    text = f"{asked} epochs asked for, {rubric.epochs} allowed."
    if asked > rubric.half_epochs:
        text += f" Trained for {rubric.half_epochs}."
    return mark(rubric, "epochs", share, text)


def accuracy(evidence: Evidence, rubric: Rubric) -> Mark:
    """The validation accuracy of the last epochs, over seeds, with its interval."""
    if MODELS[-1] in evidence.refused:
        return mark(rubric, "accuracy", "none", _why_missing(evidence, MODELS[-1]))
    if failed := [one["error"] for one in evidence.trainings if "error" in one]:
        return mark(rubric, "accuracy", "none", f"Model3 could not be trained: {failed[0]}.")
    last = [
        [100 * row["held_out_accuracy"] for row in one["epochs"][-rubric.last_epochs :]]
        for one in evidence.trainings
    ]
    by_seed = [statistics.mean(values) for values in last]
    mean, least = statistics.mean(by_seed), min(map(min, last))
    full = mean >= rubric.accuracy and least >= rubric.half_accuracy
    share = "full" if full else "half" if mean >= rubric.half_accuracy else "none"
    text = (
        f"{mean:.2f}% of the validation digits, the mean of {len(last)} seeds and their last "
        f"{rubric.last_epochs} epochs (which, once the rate has shrunk, are nearly one network)"
    )
    if len(by_seed) > 1:
        low, high = results.mean_interval(by_seed)
        text += (
            f"; 95% interval of the mean over other seeds, same digits: {low:.2f} to {high:.2f}%"
        )
    text += f". The least is {least:.2f}%; wanted are {rubric.accuracy:.2f}% in the mean"
    text += f", {rubric.half_accuracy:.2f}% at least."
    tests = ", ".join(f"{100 - one['test_errors'] / 100:.2f}%" for one in evidence.trainings)
    return mark(rubric, "accuracy", share, f"{text} On the test digits, looked at once: {tests}.")


def honesty(evidence: Evidence, rubric: Rubric) -> Mark:
    """Runs handed in: chosen on validation digits, one run each, its last epoch reported."""
    submission, wrong = evidence.submission, []
    for name, history in submission.runs.items():
        rows, last = history["epochs"], history["epochs"][-1]
        numbers = [row["epoch"] for row in rows]
        asked = history["config"]["epochs"]
        if not history["config"]["validation"] or any(
            row["held_out"] != "validation" for row in rows
        ):
            wrong.append(f"{name} was evaluated on the test digits; choose with --validation 5000")
        if numbers != list(range(1, asked + 1)):
            wrong.append(f"{name} is not one run of {asked} epochs, but has {len(rows)} rows")
        elif len(rows) > rubric.epochs:
            wrong.append(f"{name} ran {len(rows)} epochs")
        if history["held_out_accuracy"] != last.get("held_out_accuracy"):
            wrong.append(f"{name} reports an accuracy that is not its last epoch's")
    wrong += [f"{name} {text}" for name, text in submission.problems.items() if "runs/" in name]
    if wrong:
        return mark(rubric, "honesty", "none", "; ".join(wrong) + ".")
    if not submission.runs:
        return mark(
            rubric, "honesty", "none", "No runs/*/history.json, so nothing says how you chose."
        )
    count = len(submission.runs)
    runs = "One run, whole and" if count == 1 else f"{count} runs, each whole, all"
    text = f"{runs} chosen on validation digits."
    return mark(rubric, "honesty", "full", text)


def layers_of(network: nn.Module) -> tuple[Row, list[str], list[Layer], list[Row]]:
    """Row before the first layer, and names, layers and right rows of convolutions and pools.

    Those that still find more than one unit to read: the head after a global mean is left out.
    """
    found = describe(network, (1, 28, 28))
    lines = {line.name: line for line in found.rows}
    image, names, layers, rows = Row(28, 1, 1, 0.0), [], [], []
    for line in found.rows:
        if line.container or line.kind not in KINDS or not line.output_shape:
            continue
        before = lines.get(line.inputs[0]) if line.inputs else None
        size = before.output_shape[-1] if before else 28
        if size == 1:
            continue
        if not names and before:
            image = Row(
                size, _first(before.receptive_field), _first(before.jump), _first(before.start)
            )
        kind = KINDS[line.kind]
        window = Window(size, size)  # of a mean over the whole map
        if kind != "mean":
            values = [_first(getattr(line, name)) for name in Window._fields[:4]]
            window = Window(*values)
        names.append(line.name)
        layers.append(Layer(window, kind, line.name))
        values = [_first(getattr(line, name)) for name in ("receptive_field", "jump", "start")]
        rows.append(Row(line.output_shape[-1] if len(line.output_shape) > 2 else 1, *values))
    return image, names, layers, rows


def _first(value):
    return value[0] if isinstance(value, (list, tuple)) else value


def fields(evidence: Evidence, rubric: Rubric) -> Mark:
    """fields.csv against `describe`, entry by entry; a mistake counts once, wherever it leads."""
    submission = evidence.submission
    if problem := submission.problems.get("fields.csv"):
        return mark(rubric, "table", "none", f"fields.csv {problem}.")
    mistakes, said = set(), []
    for model in MODELS:
        if model not in evidence.networks:
            mistakes |= {model, model + " is not there"}  # nothing to compare with: no points
            said.append(f"{_why_missing(evidence, model)}: nothing to compare with")
            continue
        for name, text in _compare(evidence, model):
            mistakes.add(name)
            said.append(f"{model}, {text}")
    share = "full" if not mistakes else "half" if len(mistakes) <= 2 else "none"
    text = "All rows agree with `describe`." if not said else "\n".join(said)
    return mark(rubric, "table", share, text)


def _compare(evidence: Evidence, model: str) -> list[tuple[str, str]]:
    """Mistakes in one network's rows, each with what to say; fills the report's cells."""
    image, names, layers, rows = layers_of(evidence.networks[model])
    given = evidence.submission.table.get(model, [])
    if len(given) != len(rows):
        text = (
            f"{len(rows)} convolutions and pools ({', '.join(names)}); your table has {len(given)}"
        )
        return [(f"rows of {model}", text)]
    cells = [
        {column: Cell(getattr(entry.row, column), getattr(row, column)) for column in COLUMNS}
        for entry, row in zip(given, rows, strict=True)
    ]
    evidence.cells[model] = cells
    found = []
    for number, (entry, layer) in enumerate(zip(given, layers, strict=True)):
        if layer.kind != "mean" and tuple(entry.window) != tuple(layer.window[:4]):
            text = f"kernel size, stride, padding, dilation are {list(layer.window[:4])}"
            found.append((f"{model} {number} window", f"row {number + 1}, {entry.layer}: {text}"))
    try:
        chain = table(layers, image) == rows
    except InputError:
        chain = False
    yours = [entry.row for entry in given]
    if chain:
        found += _by_cause(yours, layers, image, given, cells)
    else:
        found += _by_cell(given, rows, cells)
    return found


def _by_cause(yours, layers, image, given, cells) -> list[tuple[str, str]]:
    findings, found = diagnose(yours, layers, image), []
    for finding in findings:
        cells[finding.row][finding.column].says = "follows from an earlier entry"
    for name, entries in causes(findings):
        for entry in entries:
            cells[entry.row][entry.column].says = name or "wrong"
        first = entries[0]
        where = f"row {first.row + 1}, {given[first.row].layer}, {first.column}"
        text = f"{where}: you have {first.yours:g}, `describe` {first.right:g}"
        if name:
            text += f": {name}. {NAMED[name].says}"
        if any(f.follows and f.row > first.row and f.column == first.column for f in findings):
            text += " Entries that follow from it are not counted again."
        found.append((name or f"{where} {first.yours}", text))
    return found


def _by_cell(given, rows, cells) -> list[tuple[str, str]]:
    """In a network with branches: without the names of mistakes."""
    found = []
    for number, (entry, row) in enumerate(zip(given, rows, strict=True)):
        for column in COLUMNS:
            yours, right = getattr(entry.row, column), getattr(row, column)
            lone = column == "jump" and row.size == 1
            if right is not None and yours != right and not lone:
                cells[number][column].says = "wrong"
                where = f"row {number + 1}, {entry.layer}, {column}"
                found.append((where, f"{where}: you have {yours:g}, `describe` {right:g}"))
    return found


def steps(evidence: Evidence, rubric: Rubric) -> Mark:
    """Three different networks, each with a target, a result and an analysis, in this order."""
    written = {m: json.dumps(d, sort_keys=True) for m, d in evidence.descriptions.items()}
    said = [_why_missing(evidence, model) for model in MODELS if model not in evidence.networks]
    for one, other in itertools.combinations(written, 2):
        if written[one] == written[other]:
            said.append(f"{one} and {other} are the same network")
    if problem := evidence.submission.problems.get("analysis.md"):
        said.append(f"analysis.md {problem}")
    else:
        text = evidence.submission.analysis
        parts = re.split(r"^#+.*(Model[123]).*$", text, flags=re.MULTILINE)
        sections = dict(zip(parts[1::2], parts[2::2], strict=False))
        for model in MODELS:
            order = r"target.*result.*analysis"
            if not re.search(order, sections.get(model, ""), re.IGNORECASE | re.DOTALL):
                said.append(
                    f"analysis.md has no heading {model} with Target, Result, Analysis under it"
                )
    share = "full" if not said else "half" if len(said) == 1 else "none"
    text = "Three different networks, each with target, result and analysis."
    return mark(rubric, "steps", share, "; ".join(said) + "." if said else text)
