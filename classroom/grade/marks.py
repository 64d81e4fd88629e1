"""What each check of the rubric finds, in points and in words to the student."""

import itertools
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from classroom.checks.recurrence import (
    COLUMNS,
    NAMED,
    Finding,
    Layer,
    causes,
    diagnose,
    table,
)
from classroom.grade.rubric import Rubric
from classroom.grade.submission import MODELS, History, Submission
from mnist_utils import results
from mnist_utils.errors import first_line
from mnist_utils.receptive_field import Row, Window

WINDOWS = 3  # convolutions and pools that a network has at least
SHARES = {"full": 1.0, "half": 0.5, "none": 0.0}
VALIDATION = 5_000  # digits
ABOVE, BELOW = 0.003, 0.01  # how far a run handed in may lie from the grader's trainings


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
    networks: dict[str, dict] = field(default_factory=dict)  # what `inside` says of each
    refused: dict[str, str] = field(default_factory=dict)  # model -> why it was not built
    settings: dict = field(default_factory=dict)  # how Model3 is trained
    trainings: list[dict] = field(default_factory=list)  # of Model3, by seed
    quick: bool = False
    answers: bool = False  # whether right numbers may be said
    cells: dict[str, list[dict[str, Cell]]] = field(default_factory=dict)  # filled by `fields`
    beliefs: list[tuple[str, str]] = field(default_factory=list)  # mistake and row; by `fields`


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
    result = []
    for name in rubric.points:
        try:
            result.append(checks[name](evidence, rubric))
        except Exception as error:  # one check's failure is not another's
            result.append(mark(rubric, name, "none", f"could not be graded: {first_line(error)}"))
    return result


def _all_missing(evidence: Evidence) -> list[str]:
    """Why models are missing; what is said of all of them is said once."""
    missing = [model for model in MODELS if model not in evidence.networks]
    if missing == list(MODELS) and len(set(evidence.refused.values())) == 1:
        return [evidence.refused[MODELS[0]]]
    return [f"{model}: {evidence.refused.get(model, 'is missing')}" for model in missing]


def budget(evidence: Evidence, rubric: Rubric) -> Mark:
    """All three networks below the limit; half for the last alone."""
    within, said = {}, []
    for model, about in evidence.networks.items():
        within[model] = about["parameters"] < rubric.parameters
        hidden = f" ({about['numbers']:,} of them numbers in forward)" if about["numbers"] else ""
        said.append(f"{model} has {about['parameters']:,} parameters{hidden}")
    whole = sum(within.values()) == len(MODELS)
    share = "full" if whole else "half" if within.get(MODELS[-1]) else "none"
    text = "; ".join(said + _all_missing(evidence))
    limit = f"fewer than {rubric.parameters:,} are allowed"
    return mark(rubric, "budget", share, f"{text}; {limit}.")


def epochs(evidence: Evidence, rubric: Rubric) -> Mark:
    """Not more epochs than allowed, for a network that there is."""
    if MODELS[-1] not in evidence.networks:
        return mark(rubric, "epochs", "none", "There is no Model3 to train.")
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
        return mark(rubric, "accuracy", "none", "There is no Model3 to train.")
    if failed := [one["error"] for one in evidence.trainings if "error" in one]:
        return mark(rubric, "accuracy", "none", f"Model3 could not be trained: {failed[0]}.")
    if evidence.quick:
        share = evidence.trainings[0]["accuracies"][-1]
        text = f"A quick look: Model3 reads {share:.1%} after 2 epochs of 6,000 digits. No points."
        return Mark("accuracy", 0.0, 0.0, text)
    last = [
        [100 * share for share in one["accuracies"][-rubric.last_epochs :]]
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
        text += "; 95% interval of the mean over other seeds, same digits: "
        text += f"{low:.2f} to {high:.2f}%"
    text += (
        f". The least is {least:.2f}%; {rubric.accuracy:.2f}% in the mean are wanted, "
        f"{rubric.half_accuracy:.2f}% at least."
    )
    errors = [one["test_errors"] for one in evidence.trainings if "test_errors" in one]
    if errors:
        tests = ", ".join(f"{1 - count / 10_000:.2%}" for count in errors)
        text += f" On the test digits, looked at once: {tests}."
    return mark(rubric, "accuracy", share, text)


def honesty(evidence: Evidence, rubric: Rubric) -> Mark:
    """Runs handed in: chosen on validation digits, whole, and within reach of Model3."""
    runs, problems = evidence.submission.runs, evidence.submission.problems
    wrong = [f"{name} {text}" for name, text in problems.items() if "runs/" in name]
    wrong += [f"{name} {text}" for name, run in runs.items() for text in _problems(run, rubric)]
    if not wrong and not runs:
        wrong = ["No runs/*/history.json, so nothing says how you chose"]
    if wrong := wrong or _out_of_reach(evidence):
        return mark(rubric, "honesty", "none", "; ".join(wrong) + ".")
    whole = "One run, whole and" if len(runs) == 1 else f"{len(runs)} runs, each whole, all"
    return mark(rubric, "honesty", "full", f"{whole} chosen on validation digits.")


def _problems(run: History, rubric: Rubric) -> list[str]:
    """What one run's file says that one run of training cannot."""
    problems, rows, asked = [], len(run.epochs), run.asked
    held_out = {row.held_out for row in run.epochs} - {None}
    if asked.validation != VALIDATION or held_out != {"validation"}:
        on = "the test digits" if not asked.validation else f"{asked.validation:,} digits"
        problems.append(f"was evaluated on {on}; choose with --validation {VALIDATION}")
    if [row.epoch for row in run.epochs] != list(range(1, asked.epochs + 1)):
        problems.append(f"is not one run of {asked.epochs} epochs, but has {rows} rows")
    elif rows > rubric.epochs:
        problems.append(f"ran {rows} epochs")
    shares = [row.held_out_accuracy for row in run.epochs if row.held_out_accuracy is not None]
    counts = [VALIDATION * share for share in shares if 0 <= share <= 1]
    if len(counts) < len(shares) or any(abs(n - round(n)) > 1e-3 for n in counts):
        problems.append(f"has accuracies that {VALIDATION:,} digits cannot give")
    if run.held_out_accuracy != run.epochs[-1].held_out_accuracy:
        problems.append("reports an accuracy that is not its last epoch's")
    return problems


def _out_of_reach(evidence: Evidence) -> list[str]:
    """Whether one of the runs can be Model3's, trained as it was handed in."""
    if MODELS[-1] not in evidence.networks:
        return ["There is no Model3 that these runs could be of"]
    runs, settings = evidence.submission.runs.values(), evidence.settings
    asked = settings.keys() - {"seed", "threads", "workers", "model", "precision", "evaluate_every"}
    about, reached = evidence.networks[MODELS[-1]], []
    count = about["parameters"] - about["numbers"]
    for run in runs:
        how = run.config | {"augmentation": settings["augmentation"]}  # each library's is one
        if "none" in (run.config.get("augmentation"), settings["augmentation"]):
            how = run.config
        whole = run.parameters == count and all(row.train_loss for row in run.epochs)
        same = whole and all(key in how and how[key] == settings[key] for key in asked)
        if same or (evidence.quick and run.parameters in (0, count)):
            reached.append(run.held_out_accuracy)
    if not reached:
        return ["No run has Model3's parameters and the settings that were handed in"]
    ours = [one["accuracies"][-1] for one in evidence.trainings if "accuracies" in one]
    if evidence.quick or not ours:
        return []
    if (best := max(run.held_out_accuracy for run in runs)) > max(ours) + ABOVE:
        return [f"A run reports {best:.2%}; the grader's trainings reach {max(ours):.2%} at most"]
    if max(reached) < min(ours) - BELOW:
        return [f"Model3's runs end at {max(reached):.2%}, the grader's at {min(ours):.2%} or more"]
    return []


def fields(evidence: Evidence, rubric: Rubric) -> Mark:
    """fields.csv against `describe`, entry by entry; a mistake counts once, wherever it leads."""
    if problem := evidence.submission.problems.get("fields.csv"):
        return mark(rubric, "table", "none", f"fields.csv {problem}.")
    if not evidence.networks:
        return mark(rubric, "table", "none", "There is no network to compare with.")
    mistakes, said = set(), []
    for model in MODELS:
        found = [("", "nothing to compare with")]
        if model in evidence.networks:
            found = _compare(evidence, model)
        mistakes |= {name for name, _ in found}
        said += [f"{model}, {text}" for _, text in found]
    half = len(mistakes) <= 2 and "" not in mistakes
    share = "full" if not mistakes else "half" if half else "none"
    return mark(rubric, "table", share, "\n".join(said) or "All rows agree with `describe`.")


def _windows(about: dict) -> int:
    """A network's convolutions and pools, those of one pixel that only pass it on left out."""
    return sum(kind == "conv" or window[:2] != [1, 1] for window, kind, *_ in about["windows"])


def _compare(evidence: Evidence, model: str) -> list[tuple[str, str]]:
    """Mistakes in one network's rows, each with what to say; fills the report's cells."""
    about = evidence.networks[model]
    image, windows = Row(*about["image"]), about["windows"]
    layers = [Layer(Window(*window), kind, name) for window, kind, _, name in windows]
    rows = [Row(*row) for _, _, row, _ in windows]
    given = evidence.submission.table.get(model, [])
    unknown = [layer.name for layer, row in zip(layers, rows, strict=True) if None in row]
    if unknown:
        text = f"what {unknown[0]} sees is not known to `describe`, so no entry can be compared"
        return [("", f"{text}; use layers and functions that it reads")]
    if len(given) != len(rows) or _windows(about) < WINDOWS:
        names = ", ".join(layer.name for layer in layers)
        text = f"{len(rows)} convolutions and pools ({names}); your table has {len(given)}"
        few = _windows(about) < WINDOWS
        return [("" if few else f"rows of {model}", text + few * f"; {WINDOWS} are the least")]
    pairs, faults = [*zip(given, rows, strict=True)], []
    cells = [dict(zip(COLUMNS, map(Cell, one.row, row), strict=True)) for one, row in pairs]
    evidence.cells[model] = cells
    for number, (entry, layer) in enumerate(zip(given, layers, strict=True)):
        known = [
            pair for pair in zip(entry.window, layer.window[:4], strict=True) if pair[1] is not None
        ]  # what `describe` does not know is not asked for
        if layer.kind != "mean" and any(yours != right for yours, right in known):
            text = "kernel size, stride, padding, dilation are not this layer's"
            text = f"{text}: {list(layer.window[:4])}" if evidence.answers else text
            faults.append((f"{model} {number} window", f"row {number + 1}, {entry.layer}: {text}"))
    try:
        chain = table(layers, image) == rows
    except (ValueError, TypeError):  # a branch, or a number that is not known
        chain = False
    yours = [entry.row for entry in given]
    findings = diagnose(yours, layers, image) if chain else _differences(yours, rows)
    for finding in findings:
        cells[finding.row][finding.column].says = "follows from an earlier entry"
    for name, entries in causes(findings):
        for entry in entries:
            cells[entry.row][entry.column].says = name or "wrong"
            belief = name or "a mistake without a name"
            evidence.beliefs.append((belief, f"{model} row {entry.row + 1}"))
        first = entries[0]
        where = f"row {first.row + 1}, {given[first.row].layer}, {first.column}"
        text = f"{where}: you have {first.yours:g}"
        text += f", `describe` {first.right:g}" if evidence.answers else ""
        text += f": {name}. {NAMED[name].says}" if name else ", which is not right"
        if any(f.follows and f.row > first.row and f.column == first.column for f in findings):
            text += " Entries that follow from it are not counted again."
        faults.append((name or f"{model} {where} {first.yours}", text))
    return faults


def _differences(answer: list[Row], rows: list[Row]) -> list[Finding]:
    """Wrong entries of a network with branches, for which no mistake has a name."""
    return [
        Finding(number, column, getattr(yours, column), getattr(right, column), (), False)
        for number, (yours, right) in enumerate(zip(answer, rows, strict=True))
        for column in COLUMNS
        if getattr(right, column) is not None
        and not math.isclose(getattr(yours, column), getattr(right, column), abs_tol=5e-3)
        and not (column == "jump" and right.size == 1)
    ]


# The parts of a section, in the languages in which they have been handed in.
PARTS = {
    "Target": ("target", "goal", "aim", "ziel", "objectif", "objetivo"),
    "Result": ("result", "ergebnis", "résultat", "resultado"),
    "Analysis": ("analys", "auswertung", "análisis"),
}
TEMPLATE = (
    "what it shall reach, written before it is trained.",
    "validation accuracy, mean ± standard deviation, and how many seeds.",
    "why it reached that or did not, and what to change next.",
)
MODEL = re.compile(r"\bmod(?:ell?|èle|elo)[\W_]{0,2}([123])(?!\d)", re.IGNORECASE)
HEADING = re.compile(r"\s*(#|_|\*[^ ]|<h\d|\d+[.)]|[-*•–]\s+\*\*)")
MARKS = re.compile(r"^\W*(?:x\])?[\W\d_]*")  # what a line may begin with
WORDS = 3  # different ones of one's own that each part has at least; of a figure one will do


def _model(text: str) -> str | None:
    """The one model that a heading or a cell names: `## Model 1:`, `**Model_1**`, `2.1 Modell1`."""
    models = {f"Model{one[1]}" for one in MODEL.finditer(text[:120])}
    return models.pop() if len(models) == 1 and MODEL.search(text[:30]) else None


def _part(text: str) -> str | None:
    plain = MARKS.sub("", text).casefold()
    return next((part for part, words in PARTS.items() if plain.startswith(words)), None)


def _lines(text: str) -> Iterator[str]:
    """The lines of a text; a table's as `Model1`, `Target: ...`, whichever way it lies."""
    head = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.count("|") < 2:
            head = []
            yield line
        elif not head:
            head = cells
            yield line
        elif _part(cells[0]) and not any(map(_model, head)):
            yield f"{cells[0]}: {' '.join(cells[1:])}"
        else:
            for name, cell in zip(head[1:], cells[1:], strict=False):
                for model, part in ((cells[0], name), (name, cells[0])):
                    if _model(model) and _part(part):
                        yield from (f"# {_model(model)}", f"{part}: {cell}")


def sections(text: str) -> dict[str, list[str]]:
    """Lines by model, in one pass: a heading is a short line that begins with one's name."""
    result, lines = {}, None
    for line in _lines(text):
        marked = HEADING.match(line) or len(line.split()) <= 3
        model = _model(line) if marked and len(line) < 120 else None
        if model:
            lines = result.setdefault(model, [])
        elif line.strip("#*_ ").casefold().startswith("five mistakes"):
            lines = None
        elif lines is not None:
            lines.append(line)
    return result


def parts(lines: list[str]) -> dict[str, list[str]]:
    """Target, result, analysis in the order in which they stand, with their words."""
    result, name = {}, None
    for line in lines:
        part = _part(line)
        if part and part not in result:
            name, result[part] = part, []
            line = MARKS.sub("", line).partition(":" if ":" in line else " ")[2]
        if name and line.strip(" *_").casefold() not in TEMPLATE:
            result[name] += re.findall(r"\w+", line.casefold())
    return result


def written(words: dict[str, list[str]]) -> bool:
    """Whether target, result and analysis stand there in this order, each with something said."""
    said = [
        len({*one}) >= WORDS or (part != "Analysis" and any(map(str.isdecimal, one)))
        for part, one in words.items()
    ]
    return list(words) == list(PARTS) and all(said)


def steps(evidence: Evidence, rubric: Rubric) -> Mark:
    """Three different networks, each with a target, a result and an analysis, in this order."""
    said = [f"{model} is missing" for model in MODELS if model not in evidence.networks]
    for one, other in itertools.combinations(evidence.networks, 2):
        if evidence.networks[one]["fingerprint"] == evidence.networks[other]["fingerprint"]:
            said.append(f"{one} and {other} are the same network")
    for model, about in evidence.networks.items():
        if _windows(about) < WINDOWS:
            said.append(f"{model} has fewer than {WINDOWS} convolutions and pools")
    lacking = []
    if problem := evidence.submission.problems.get("analysis.md"):
        said.append(f"analysis.md {problem}")
    else:
        texts = sections(evidence.submission.analysis)
        plans = {model: parts(texts.get(model, [])) for model in MODELS}
        lacking = [model for model in MODELS if not written(plans[model])]
        if not lacking and len({str(words) for words in plans.values()}) < len(MODELS):
            said.append("analysis.md says the same of two models")
    if lacking:
        said.append(
            f"analysis.md has no heading {' and '.join(lacking)} with Target, Result, Analysis "
            "under it, each in words of your own"
        )
    none = len(said) > 1 or len(lacking) == len(MODELS)
    share = "none" if none else "half" if said else "full"
    text = "; ".join(said) or "Three different networks, each with target, result and analysis"
    return mark(rubric, "steps", share, f"{text}.")
