"""The claims ledger: every figure that our pages print, computed from `results/` and the code.

On a page a figure stands between marks, `<!--=key-->99.25%<!--/-->`, and a table between
`<!--=table-->` and `<!--/-->` on lines of their own. Command line: `python -m tools.ledger`
(`make report`) writes them anew, `results/CLAIMS.md`, and the pictures of the results; `--check`
only says whether the texts hold.
"""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from classroom.checks import exercises
from classroom.checks.exercise import Exercise
from mnist_utils import command, data, plots, results
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate, wilson_interval
from mnist_utils.files import RESULTS, ROOT, write_atomically
from mnist_utils.recipes import RECIPES
from tools import house
from tools.reproduce.plan import ABLATIONS, ablation

TEACHING = ROOT / "notebooks" / "TEACHING.md"
PAGES = (ROOT / "README.md", RESULTS / "README.md", ROOT / "CONTRIBUTING.md", TEACHING)
CLAIMS = RESULTS / "CLAIMS.md"
MARK = re.compile(r"<!--=([\w./-]+)-->(.*?)<!--/-->", re.DOTALL)

# Small networks for MNIST as their authors report them: parameters, accuracy, where, our rival.
PUBLISHED = (
    ("697", "99.03%, best of 700 runs", "github.com/JoshWarn/Parameter-Efficient-MNIST", "tiny"),
    ("1,936", "99.13%, best epoch", "github.com/ruslangrimov/mnist-minimal-model", "small"),
    ("8,640", "99.2%", "github.com/aknakshay/MNIST-Challenge", "course"),
    ("15,794", "99.59%, last epoch", "github.com/divya-r-kamat/EfficientMnist-Under20K", ""),
    ("19,898", "99.54%, best epoch", "github.com/pradeep6kumar/mnist_994", "best"),
    ("161,000", "99.74%", "pmc.ncbi.nlm.nih.gov/articles/PMC8290018", ""),
)


class Claim(NamedTuple):
    """A figure as it is printed, and what stands behind it."""

    statement: str
    value: str
    n: str = ""
    interval: str = ""
    command: str = ""
    date: str = ""


def claims(folder: Path = RESULTS) -> dict[str, Claim]:
    """All figures by key, as the results in `folder` give them now."""
    result = _source() | _reference(folder) | _recipes(folder) | _ablations(folder)
    return result | _bench(folder) | _without_bfloat16()


def percent(fraction: float) -> str:
    """0.9925 as `99.25%`."""
    return f"{100 * fraction:.2f}%"


def spread(row: dict) -> str:
    """Mean ± standard deviation of a summary, or the one value that there is."""
    if row["deviation"] is None:
        return percent(row["mean"])
    return f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}%"


def around(mean: float, ends: tuple[float, float] | None) -> str:
    """A mean ± half of its interval, or the one value that there is."""
    half = f" ± {50 * (ends[1] - ends[0]):.2f}%" if ends else "%, one run"
    return f"{100 * mean:.2f}{half}"


def interval(ends: tuple[float, float] | None) -> str:
    """An interval in per cent, or a dash where there is none."""
    return f"{percent(ends[0])} to {percent(ends[1])}" if ends else "–"


def _about(name: str, row: dict) -> dict:
    """What stands behind the figures of one summary."""
    return {
        "n": "1 seed" if row["n"] == 1 else f"{row['n']} seeds",
        "command": f"python -m tools.reproduce {name}",
        "date": row["date"],
    }


def _source() -> dict[str, Claim]:
    """What the README that this course began from claims."""
    command = "none: taken over as claimed"
    result = {}
    for name, value in results.SOURCE.items():
        text = percent(value) if name.endswith("accuracy") else f"{value:.4f}"
        statement = f"{name.replace('_', ' ')}, as the source claims"
        result[f"source.{name}"] = Claim(statement, text, "1 run", "none given", command)
    for epoch, value in ((1, "92.6%"), (5, "96.6%")):
        statement = f"train accuracy after epoch {epoch}, as the source claims"
        result[f"source.epoch{epoch}"] = Claim(statement, value, "1 run", "none given", command)
    errors_claimed = round((1 - results.SOURCE["test_accuracy"]) * 10_000)
    low, high = wilson_interval(errors_claimed, 10_000)
    result["source.half_width"] = Claim(
        "half of the 95% Wilson interval of such an accuracy on 10,000 digits",
        f"{50 * (high - low):.2f} points", "exact", "", "make test",
    )  # fmt: skip
    return result


def _reference(folder: Path) -> dict[str, Claim]:
    """The stored run of the source's recipe, by albumentations."""
    history, row = results.history("reference", folder), results.summary("reference", folder)
    about = _about("reference", row) | {"command": "make train RECIPE=reference"}
    wilson = interval(wilson_interval(history["errors"], history["digits"]))
    (seed,) = results.runs("reference", folder)
    early = sum(index < 5_000 for index in seed["mistakes"])
    rows = history["epochs"]
    gaps = [100 * (row["held_out_accuracy"] - row["train_accuracy"]) for row in rows]
    rises = sum(b["held_out_loss"] > a["held_out_loss"] for a, b in pairwise(rows))
    result = {
        f"reference.{key}": Claim(
            statement, value, interval=wilson if key in ("errors", "interval") else "", **about
        )
        for key, statement, value in (
            ("errors", "test errors of the reference run", str(history["errors"])),
            ("interval", "95% Wilson interval of its accuracy", wilson),
            ("early", "of them among the first 5,000 test digits", str(early)),
            ("late", "of them among the last 5,000", str(history["errors"] - early)),
            ("epoch1", "its train accuracy, epoch 1", f"{rows[0]['train_accuracy']:.1%}"),
            ("epoch5", "its train accuracy, epoch 5", f"{rows[4]['train_accuracy']:.1%}"),
            ("gap1", "test less train accuracy, points, epoch 1", f"{gaps[0]:.1f}"),
            ("gap5", "the same in epoch 5", f"{gaps[4]:.1f}"),
            ("gap20", "the same in epoch 20", f"{gaps[19]:.1f}"),
            ("rises", "steps of 19 in which its test loss rose", str(rises)),
        )
    }
    for name, claim in results.SOURCE.items():
        value, is_share = history[name.replace("test", "held_out")], name.endswith("accuracy")
        text = percent(value) if is_share else f"{value:.4f}"
        gap = f"{100 * (value - claim):+.2f} points" if is_share else f"{value - claim:+.4f}"
        label = name.replace("_", " ")
        result[f"reference.{name}"] = Claim(
            f"{label} of the reference run", text,
            interval=wilson if name == "test_accuracy" else "", **about,
        )  # fmt: skip
        result[f"reference.{name}.gap"] = Claim(
            f"{label}, measured less claimed", gap.replace("-", "−"), **about
        )
    return result


def _recipes(folder: Path) -> dict[str, Claim]:
    result = {}
    for name in RECIPES:
        row = results.summary(name, folder)
        texts = {
            "params": ("parameters", f"{row['parameters']:,}"),
            "epochs": ("epochs", str(row["epochs"])),
            "accuracy": ("mean test accuracy ± standard deviation", spread(row)),
            "n": ("seeds", str(row["n"])),
            "both": (
                "mean test accuracy ± half of its 95% interval, other seeds and other digits",
                around(row["mean"], row["of_both"]),
            ),
            "seeds": (
                "95% t interval of the mean over seeds, these digits",
                interval(row["of_seeds"]),
            ),
            "digits": (
                "95% bootstrap interval over digits, these seeds",
                interval(row["of_digits"]),
            ),
        }
        for key, (statement, value) in texts.items():
            of_accuracy = interval(row["of_seeds"]) if key == "accuracy" else ""
            result[f"{name}.{key}"] = Claim(
                f"{statement}, recipe {name}", value, interval=of_accuracy, **_about(name, row)
            )
    return result


def _ablations(folder: Path) -> dict[str, Claim]:
    result = {}
    for recipe, changes in ABLATIONS.items():
        for change in ("nothing changed", *changes):
            name = ablation(recipe, change if change in changes else "")
            row = results.summary(name, folder)
            key = f"ablation.{recipe}.{change.replace(' ', '_')}"
            about = _about(name, row)
            result[key] = Claim(
                f"validation accuracy ± s.d., {recipe}, {change}", spread(row),
                interval=interval(row["of_seeds"]), **about,
            )  # fmt: skip
        for what, quantity, unit in (
            ("points of accuracy", "held_out_accuracy", 100),
            ("thousandths of loss", "held_out_loss", 1000),
        ):
            if recipe == "fast" and quantity == "held_out_loss":
                continue  # smoothed labels: its loss measures misplaced confidence (notebook 5)
            gaps = {
                change: results.difference(
                    ablation(recipe, change), ablation(recipe), quantity, folder
                )
                for change in changes
            }
            told = results.told_apart({change: gap.p for change, gap in gaps.items()})
            for change, sure in told.items():
                name, gap = ablation(recipe, change), gaps[change]
                half = unit * (gap.high - gap.mean)
                text = f"{unit * gap.mean:+.2f} ± {half:.2f}{'*' * sure}"
                key = f"ablation.{recipe}.{change.replace(' ', '_')}.{what.split()[-1]}_gap"
                result[key] = Claim(
                    f"what {change} adds to {recipe}, {what} ± half of Welch's 95% interval; * "
                    f"if p < .05 by Holm among the {len(gaps)}",
                    text.replace("-", "−"), **_about(name, results.summary(name, folder)),
                )  # fmt: skip
    return result


def _bench(folder: Path) -> dict[str, Claim]:
    stored = json.loads((folder / "bench.json").read_text())
    medians = {"n": f"median of {stored['rounds']} rounds"}
    samples, answers = stored["augmentation_samples_per_cpu_second"], stored["inference"]
    used, first = stored["training_cpu_seconds"], stored["first_epoch"]
    example, fast = first["pytorch_example"], first["fast_one_epoch"]
    (reference,) = results.runs("reference", folder)
    rates, one = answers["images_per_cpu_second"], answers["one_digit_milliseconds"]
    texts = {
        "augmentation": ("batch path over albumentations, samples per CPU second",
                         f"{samples['ratio']:.0f} times", medians),
        "fast": ("reference's 20 naive epochs over all of fast, CPU seconds",
                 f"{used['ratio']:.0f} times", medians),
        "fast.cpu": ("CPU seconds of a training, recipe fast",
                     f"{used['whole']['fast']:.1f}", medians),
        "course.cpu": ("CPU seconds of a training, recipe course",
                       f"{used['whole']['course']:.0f}", medians),
        "reference.cpu": ("CPU seconds of the reference's 20 naive epochs, from a fifth of one",
                          f"{used['reference_20_epochs']:.0f}", medians),
        "reference.stored.cpu": ("CPU seconds of the stored reference run, machine not idle",
                                 f"{reference['cpu_seconds']:.0f}", {"n": "1 run"}),
        "example.cpu": ("CPU seconds of one epoch of PyTorch's example",
                        f"{example['cpu_seconds']:.0f}", {"n": "1 run"}),
        "example.accuracy": ("test accuracy after it", percent(example["test_accuracy"]),
                             {"n": "1 run"}),
        "fast1.cpu": ("CPU seconds of one epoch of FastNet", f"{fast['cpu_seconds']:.1f}",
                      {"n": "1 run"}),
        "fast1.accuracy": ("test accuracy after it", percent(fast["test_accuracy"]),
                           {"n": "1 run"}),
        "torch": ("images per CPU second, course in batches of 1,000, torch",
                  f"{rates['torch']:,.0f}", medians),
        "onnx": ("the same weights in ONNX Runtime", f"{rates['onnxruntime']:,.0f}", medians),
        "torch.one": ("milliseconds for one digit, course, torch", f"{one['torch']:.2f}", medians),
        "onnx.one": ("the same in ONNX Runtime", f"{one['onnxruntime']:.2f}", medians),
    }  # fmt: skip
    about = {"command": "make bench", "date": stored["date"]}
    return {f"bench.{key}": Claim(*text, **about, **n) for key, (*text, n) in texts.items()}


def _without_bfloat16() -> dict[str, Claim]:
    """What a visitor's machine gave: an Intel Xeon with AVX-512, no bfloat16, other work beside."""
    texts = {
        "course": ("errors of course in float32, seed 0", "44 errors (99.56%)", "make train"),
        "quick": ("the same after one epoch", "98 (99.02%)", "make train EPOCHS=1"),
        "cpu": ("CPU seconds of course in float32, machine not idle", "208", "make train"),
    }
    about = {"n": "1 run, another machine", "date": "2026-11-30"}
    return {
        f"float32.{key}": Claim(statement, value, command=command, **about)
        for key, (statement, value, command) in texts.items()
    }


# --- rendering ----------------------------------------------------------------------------------


def tables(by_key: dict[str, Claim]) -> dict[str, str]:
    """The pages' tables by key, in Markdown."""
    value = {key: claim.value for key, claim in by_key.items()}
    of_recipes = [
        "| recipe | parameters | test accuracy |",
        "|---|---|---|",
    ]
    of_seeds = [
        "| recipe | network | epochs | n | mean ± s.d. | other seeds | other digits | both |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, settings in RECIPES.items():
        cells = {key: value[f"{name}.{key}"] for key in
                 ("params", "both", "epochs", "n", "accuracy", "seeds", "digits")}  # fmt: skip
        of_recipes.append(f"| `{name}` | {cells['params']} | {cells['both']} |")
        row = [cells[key] for key in ("epochs", "n", "accuracy", "seeds", "digits", "both")]
        of_seeds.append(f"| `{name}` | {settings.model} | {' | '.join(row)} |")
    ablations = [
        "| recipe | changed | validation accuracy | n | accuracy, points | loss, thousandths |",
        "|---|---|---|---|---|---|",
    ]
    for recipe, changes in ABLATIONS.items():
        for change in ("nothing changed", *changes):
            key = f"ablation.{recipe}.{change.replace(' ', '_')}"
            gaps = [value.get(f"{key}.{quantity}_gap", "") for quantity in ("accuracy", "loss")]
            cells = [f"`{recipe}`", change, value[key], by_key[key].n, *gaps]
            ablations.append(f"| {' | '.join(cells)} |")
    published = ["| parameters | reported | by | ours |", "|---|---|---|---|"]
    for parameters, reported, where, rival in PUBLISHED:
        ours = f"`{rival}`, {value[f'{rival}.params']}: {value[f'{rival}.both']}" if rival else ""
        by = f"[{where.split('/', 1)[1]}](https://{where})"
        published.append(f"| {parameters} | {reported} | {by} | {ours} |")
    beside = [
        "| after 20 epochs | source claims | measured here, seed 0 | difference |",
        "|---|---|---|---|",
    ]
    for name in results.SOURCE:
        keys = (f"source.{name}", f"reference.{name}", f"reference.{name}.gap")
        cells = " | ".join(value[key] for key in keys)
        beside.append(f"| {name.replace('_', ' ')} | {cells} |")
    cost = ["| training | test accuracy | CPU seconds | timed |", "|---|---|---|---|"]
    for label, accuracy, seconds in (
        ("`reference`, stored; not idle", "reference.test_accuracy", "reference.stored"),
        ("`reference`, 20 naive epochs, extrapolated from a fifth of one", "", "reference"),
        ("`course`, whole", "course.accuracy", "course"),
        ("`fast`, whole", "fast.accuracy", "fast"),
        ("PyTorch's MNIST example, one epoch", "bench.example.accuracy", "example"),
        ("FastNet, one epoch", "bench.fast1.accuracy", "fast1"),
    ):
        timed = by_key[f"bench.{seconds}.cpu"]
        cells = [label, value.get(accuracy, ""), timed.value, timed.n]
        cost.append(f"| {' | '.join(cells)} |")
    blocks = {
        "results": of_recipes,
        "seeds": of_seeds,
        "published": published,
        "cost": cost,
        "ablations": ablations,
        "claims": beside,
    }
    blocks |= _rooms() | {"exercises": _exercises()}
    return {f"table.{name}": "\n".join(lines) for name, lines in blocks.items()}


def _rooms() -> dict[str, list[str]]:
    """The packages' rooms, read off their code."""
    blocks = {}
    for package in house.PACKAGES:
        blocks[package] = ["| room | idea | imports of ours |", "|---|---|---|"]
        for room in house.rooms(package):
            others = ", ".join(name.removeprefix(f"{package}.") for name in house.opened(room))
            name = room.removeprefix(f"{package}.")
            blocks[package].append(f"| `{name}` | {house.idea(room)} | {others} |")
    return blocks


def _exercises() -> list[str]:
    """What each exercise tests, and the first of its known wrong answers."""
    lines, rows = (
        ["| exercise | tests | the first of the known wrong answers |", "|---|---|---|"],
        {},
    )
    for one in exercises().values():
        rows.setdefault(one.number, []).append(one)
    for number, some in rows.items():
        names, asks = ", ".join(f"`{one.name}`" for one in some), some[0].asks
        told = "; ".join(_wrong(one) for one in some)
        lines.append(f"| {number} {names} | {asks} | {told} |")
    return lines


def _wrong(exercise: Exercise, most: int = 3) -> str:
    if not exercise.wrong:
        return "any mistake of the recurrence, named row by row"
    said = {}
    for pattern, name, _ in exercise.wrong:
        number = isinstance(pattern, (int, float)) and f"{pattern:,.{4 if pattern < 1000 else 6}g}"
        said.setdefault(name, f"{number} ({name})" if number else name)
    return "; ".join([*said.values()][:most])


def render(text: str, by_key: dict[str, Claim]) -> str:
    """Fill every mark of `text`. Raises InputError for a key that nothing stands behind."""
    blocks = tables(by_key)

    def fill(mark: re.Match) -> str:
        key = mark[1]
        if key in blocks:
            return f"<!--={key}-->\n{blocks[key]}\n<!--/-->"
        if key not in by_key:
            raise InputError(f"a page marks {key!r}, which no measurement stands behind")
        return f"<!--={key}-->{by_key[key].value}<!--/-->"

    return MARK.sub(fill, text)


def pictures(folder: Path = RESULTS) -> dict:
    """Drawings by name: every seed of every recipe, and the stored reference run's three."""
    rows = []
    for name in RECIPES:
        seeds = results.runs(name, folder)
        rows.append((f"{name}, n = {len(seeds)}", [run["held_out_accuracy"] for run in seeds]))
    mark = ("the source's claim", results.SOURCE["test_accuracy"])
    test = data.load(train=False)
    result = evaluate(results.network("reference", folder), test)
    return {
        "results": plots.seeds(rows, mark=mark, xlabel="test accuracy, one point per seed"),
        "reference_curves": plots.history(results.history("reference", folder)["epochs"]),
        "reference_confusion": plots.confusion(result.confusion),
        "reference_misclassified": plots.mistakes(result, test.images),
    }


def ledger(by_key: dict[str, Claim]) -> str:
    """`results/CLAIMS.md`: a row per claim."""
    lines = [
        "# The claims ledger",
        "",
        "The figures of our pages, what stands behind each, and the command that measures it.",
        "Written by `make report`; `make test` checks it.",
        "",
        "| key | statement | value | n | interval | command | date |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {key} | {c.statement} | {c.value} | {c.n} | {c.interval} | `{c.command}` | {c.date} |"
        for key, c in by_key.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = command.Parser(prog="python -m tools.ledger", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any differs")
    arguments = parser.parse_args()
    by_key = claims()
    files = {page: render(page.read_text(), by_key) for page in PAGES} | {CLAIMS: ledger(by_key)}
    for path, text in files.items():
        if path.exists() and path.read_text() == text:
            continue
        if arguments.check:
            raise InputError(f"{path.relative_to(ROOT)} differs from results/; run `make report`")
        write_atomically(path, text)
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)
    if not arguments.check:
        for name, drawing in pictures().items():
            plots.save(drawing, ROOT / "images" / f"{name}.png")


if __name__ == "__main__":
    command.run(main)
