"""The claims ledger: every figure that the README prints, computed from `results/` and the code.

In README.md a figure stands between marks, `<!--=key-->99.25%<!--/-->`, and a table between
`<!--=table-->` and `<!--/-->` on lines of their own. Command line: `python -m mnist_utils.ledger`
(`make report`) writes them anew, `results/CLAIMS.md`, and the pictures of the results; `--check`
only says whether the texts hold.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

from mnist_utils import (
    checkpoint,
    data,
    errors,
    evaluate,
    models,
    plots,
    recipes,
    report,
    reproduce,
)
from mnist_utils.describe import describe
from mnist_utils.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
README, CLAIMS = ROOT / "README.md", ROOT / "results" / "CLAIMS.md"
MARK = re.compile(r"<!--=([\w./-]+)-->(.*?)<!--/-->", re.DOTALL)


class Claim(NamedTuple):
    """A figure as it is printed, and what stands behind it."""

    statement: str
    value: str
    n: str = ""
    interval: str = ""
    command: str = ""
    date: str = ""


def claims(results: Path = reproduce.RESULTS) -> dict[str, Claim]:
    """All figures by key, as `results` and the code give them now."""
    found = {}
    for builder in (_source, _networks, _reference, _recipes, _ablations, _bench):
        found |= builder(results)
    return found


def percent(fraction: float) -> str:
    """0.9925 as `99.25%`."""
    return f"{100 * fraction:.2f}%"


def spread(row: dict) -> str:
    """Mean ± standard deviation of a summary, or the one value that there is."""
    if row["deviation"] is None:
        return percent(row["mean"])
    return f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}%"


def _source(_) -> dict[str, Claim]:
    """What the README that this course began from claims."""
    command = "none: taken over as claimed"
    found = {}
    for name, value in report.CLAIMS.items():
        text = percent(value) if name.endswith("accuracy") else f"{value:.4f}"
        statement = f"{name.replace('_', ' ')}, as the source claims"
        found[f"source.{name}"] = Claim(statement, text, "1 run", "none given", command)
    errors_claimed = round((1 - report.CLAIMS["test_accuracy"]) * 10_000)
    low, high = evaluate.wilson_interval(errors_claimed, 10_000)
    found["source.half_width"] = Claim(
        "half of the 95% Wilson interval of such an accuracy on 10,000 digits",
        f"{50 * (high - low):.2f} points", "exact", "", "make test",
    )  # fmt: skip
    return found


def _networks(_) -> dict[str, Claim]:
    """Counted from the code, now."""
    found = {}
    for name in models.NETWORKS:
        network = describe(models.build(name), (1, 28, 28))
        command = f"python -m mnist_utils.describe mnist_utils.models:{name}"
        for what, count in (("parameters", network.parameters), ("MACs", network.macs)):
            claim = Claim(f"{what} of {name}", f"{count:,}", "exact", "", command)
            found[f"{name}.{what.lower()}"] = claim
    return found


def _reference(results: Path) -> dict[str, Claim]:
    """The stored run of the source's recipe, by albumentations."""
    history = json.loads((results / "reference" / "history.json").read_text())
    stored = reproduce.read("reference", results)
    row = reproduce.summary(stored)
    about = {
        "n": "1 run, seed 0",
        "command": "make train RECIPE=reference",
        "date": stored["runs"][0]["date"],
    }
    interval = f"{percent(row['low'])} to {percent(row['high'])}"
    found = {
        "reference.errors": Claim(
            "test errors of the reference run", str(history["errors"]), interval=interval, **about
        ),
        "reference.interval": Claim(
            "95% Wilson interval of its accuracy", interval, interval=interval, **about
        ),
        "reference.cpu": Claim("CPU seconds it took", f"{history['cpu_seconds']:.0f}", **about),
    }
    for name, claim in report.CLAIMS.items():
        value, is_share = history[name], name.endswith("accuracy")
        text = percent(value) if is_share else f"{value:.4f}"
        gap = f"{100 * (value - claim):+.2f} points" if is_share else f"{value - claim:+.4f}"
        label = name.replace("_", " ")
        wilson = interval if name == "test_accuracy" else ""
        found[f"reference.{name}"] = Claim(f"{label} of the reference run", text, interval=wilson,
                                           **about)  # fmt: skip
        found[f"reference.{name}.gap"] = Claim(
            f"{label}, measured less claimed", gap.replace("-", "−"), **about
        )
    return found


def _recipes(results: Path) -> dict[str, Claim]:
    found = {}
    for name in recipes.RECIPES:
        stored = reproduce.read(name, results)
        row = reproduce.summary(stored)
        interval = f"{percent(row['low'])} to {percent(row['high'])}"
        about = {
            "n": f"{row['n']} seeds" if row["n"] > 1 else "1 seed",
            "command": f"python -m mnist_utils.reproduce {name}",
            "date": max(run["date"] for run in stored["runs"]),
        }
        texts = {
            "accuracy": ("mean test accuracy ± standard deviation", spread(row)),
            "worst": ("test accuracy of the worst seed", percent(row["worst"])),
            "wilson": ("95% Wilson interval of the pooled errors", interval),
            "loss": ("mean test loss", f"{row['loss']:.4f}"),
            "cpu": ("CPU seconds of a training, median", f"{row['cpu_seconds']:.0f}"),
            "params": ("parameters", f"{row['parameters']:,}"),
            "epochs": ("epochs", str(row["epochs"])),
            "n": ("seeds", str(row["n"])),
        }
        for key, (statement, value) in texts.items():
            of_accuracy = interval if key in ("accuracy", "wilson") else ""
            claim = Claim(f"{statement}, recipe {name}", value, interval=of_accuracy, **about)
            found[f"{name}.{key}"] = claim
    return found


def _ablations(results: Path) -> dict[str, Claim]:
    found, whole = {}, reproduce.summary(reproduce.read("ablations/fast", results))
    for name in recipes.ABLATIONS:
        stored = reproduce.read(f"ablations/{name}", results)
        row = reproduce.summary(stored)
        about = {
            "n": f"{row['n']} seeds",
            "interval": f"{percent(row['low'])} to {percent(row['high'])}",
            "command": f"python -m mnist_utils.reproduce ablations/{name}",
            "date": max(run["date"] for run in stored["runs"]),
        }
        statement = f"validation accuracy ± s.d., fast with {name.replace('_', ' ')}"
        found[f"ablation.{name}"] = Claim(statement, spread(row), **about)
        if name == "fast":
            continue
        gap = 100 * (row["mean"] - whole["mean"])
        error = 100 * math.hypot(*(r["deviation"] / math.sqrt(r["n"]) for r in (row, whole)))
        text = f"{gap:+.2f} ± {error:.2f} points".replace("-", "−")
        statement = f"what {name.replace('_', ' ')} changes, ± its standard error"
        found[f"ablation.{name}.gap"] = Claim(statement, text, **(about | {"interval": ""}))
    return found


def _bench(results: Path) -> dict[str, Claim]:
    stored = json.loads((results / "bench.json").read_text())
    about = {
        "n": f"median of {stored['rounds']} rounds", "command": "make bench",
        "date": stored["date"],
    }  # fmt: skip
    samples = stored["augmentation_samples_per_cpu_second"]
    used, first = stored["training_cpu_seconds"], stored["first_epoch"]
    texts = {
        "augmentation": ("batch path over albumentations, samples a CPU second",
                         f"{samples['ratio']:.0f} times"),
        "fast": ("reference's 20 naive epochs over all of fast, CPU seconds",
                 f"{used['ratio']:.0f} times"),
        "fast.cpu": ("CPU seconds of a training, recipe fast", f"{used['fast_whole_run']:.0f}"),
        "reference.cpu": ("CPU seconds of the reference's 20 naive epochs",
                          f"{used['reference_20_epochs']:.0f}"),
        "example.cpu": ("CPU seconds of one epoch of PyTorch's example",
                        f"{first['pytorch_example']['cpu_seconds']:.0f}"),
        "example.accuracy": ("test accuracy after it",
                             percent(first["pytorch_example"]["test_accuracy"])),
        "fast1.cpu": ("CPU seconds of one epoch of FastNet",
                      f"{first['fast_one_epoch']['cpu_seconds']:.1f}"),
        "fast1.accuracy": ("test accuracy after it",
                           percent(first["fast_one_epoch"]["test_accuracy"])),
    }  # fmt: skip
    return {f"bench.{key}": Claim(*text, **about) for key, text in texts.items()}


# --- rendering ----------------------------------------------------------------------------------


def tables(found: dict[str, Claim]) -> dict[str, str]:
    """The README's tables by key, in Markdown."""
    value = {key: claim.value for key, claim in found.items()}
    results = [
        "| recipe | network | parameters | epochs | test accuracy (mean ± s.d.) | n | worst seed "
        "| 95% interval, seeds pooled |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, settings in recipes.RECIPES.items():
        cells = [value[f"{name}.{key}"] for key in
                 ("params", "epochs", "accuracy", "n", "worst", "wilson")]  # fmt: skip
        results.append(f"| `{name}` | {settings.model} | {' | '.join(cells)} |")
    ablations = [
        "| `fast`, but with | validation accuracy | n | difference ± standard error |",
        "|---|---|---|---|",
    ]
    for name in recipes.ABLATIONS:
        label = "nothing changed" if name == "fast" else name.replace("_", " ")
        claim, gap = found[f"ablation.{name}"], value.get(f"ablation.{name}.gap", "")
        ablations.append(f"| {label} | {claim.value} | {claim.n} | {gap} |")
    claims = ["| | source claims | measured here, seed 0 | difference |", "|---|---|---|---|"]
    for name in report.CLAIMS:
        keys = (f"source.{name}", f"reference.{name}", f"reference.{name}.gap")
        cells = " | ".join(value[key] for key in keys)
        claims.append(f"| {name.replace('_', ' ')} | {cells} |")
    cost = ["| training | test accuracy | CPU seconds |", "|---|---|---|"]
    for label, accuracy, seconds in (
        ("`reference`, 20 epochs in the naive loop", "reference.test_accuracy", "reference"),
        ("`fast`, whole", "fast.accuracy", "fast"),
        ("PyTorch's MNIST example, one epoch", "bench.example.accuracy", "example"),
        ("FastNet, one epoch", "bench.fast1.accuracy", "fast1"),
    ):
        cost.append(f"| {label} | {value[accuracy]} | {value[f'bench.{seconds}.cpu']} |")
    return {
        "table.results": "\n".join(results),
        "table.cost": "\n".join(cost),
        "table.ablations": "\n".join(ablations),
        "table.claims": "\n".join(claims),
    }


def render(text: str, found: dict[str, Claim]) -> str:
    """Fill every mark of `text`. Raises InputError for a key that nothing stands behind."""
    blocks = tables(found)

    def fill(mark: re.Match) -> str:
        key = mark[1]
        if key in blocks:
            return f"<!--={key}-->\n{blocks[key]}\n<!--/-->"
        if key not in found:
            raise InputError(f"README.md marks {key!r}, which no measurement stands behind")
        return f"<!--={key}-->{found[key].value}<!--/-->"

    return MARK.sub(fill, text)


def pictures(results: Path = reproduce.RESULTS) -> dict:
    """Figures by name: every seed of every recipe, and the stored reference run's three."""
    rows = []
    for name in recipes.RECIPES:
        runs = reproduce.read(name, results)["runs"]
        rows.append((f"{name}, n = {len(runs)}", [run["test_accuracy"] for run in runs]))
    mark = ("the source's claim", report.CLAIMS["test_accuracy"])
    reference = results / "reference"
    history = json.loads((reference / "history.json").read_text())
    model, _ = evaluate.load_weights(reference / "model.safetensors")
    test = data.load(train=False)
    result = evaluate.evaluate(model, test)
    return {
        "results": plots.plot_seeds(
            rows, mark=mark, xlabel="test accuracy, one point per seed"
        ).figure,
        "reference_curves": plots.plot_history(history["epochs"]),
        "reference_confusion": plots.plot_confusion(result.confusion).figure,
        "reference_misclassified": report.draw_misclassified(result, test),
    }


def ledger(found: dict[str, Claim]) -> str:
    """`results/CLAIMS.md`: a row a claim."""
    lines = [
        "# The claims ledger",
        "",
        "Every figure of the README, what stands behind it, and the command that measures it.",
        "Written by `make report`; `make test` checks it.",
        "",
        "| key | statement | value | n | interval | command | date |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {key} | {c.statement} | {c.value} | {c.n} | {c.interval} | `{c.command}` | {c.date} |"
        for key, c in found.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = errors.Parser(prog="python -m mnist_utils.ledger", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any differs")
    arguments = parser.parse_args()
    found = claims()
    files = {README: render(README.read_text(), found), CLAIMS: ledger(found)}
    for path, text in files.items():
        if path.exists() and path.read_text() == text:
            continue
        if arguments.check:
            raise InputError(f"{path.name} differs from results/; run `make report`")
        checkpoint.write_atomically(path, text)
        print(f"wrote {path.name}", file=sys.stderr)
    if not arguments.check:
        for name, figure in pictures().items():
            plots.save_figure(figure, ROOT / "images" / f"{name}.png")


if __name__ == "__main__":
    errors.run(main)
