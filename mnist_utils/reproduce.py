"""Measure recipes again: every seed of each, resumable, into `results/RECIPE.json`.

Command line: `python -m mnist_utils.reproduce course fast`. A seed that is stored is not trained
again; delete the file to measure anew. Seed 0's weights and history go to `results/RECIPE/`.
"""

import json
import statistics
from dataclasses import replace
from datetime import date
from pathlib import Path

from tqdm import tqdm

from mnist_utils import checkpoint, errors, evaluate, recipes, train
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

RESULTS = Path(__file__).resolve().parent.parent / "results"
KEPT = (
    "errors", "test_accuracy", "test_loss", "train_accuracy", "train_loss", "parameters",
    "wall_seconds", "cpu_seconds", "evaluated_on", "machine", "versions",
)  # fmt: skip


def read(name: str, results: Path = RESULTS) -> dict | None:
    """A recipe's stored measurements, or None. Raises InputError for a file that is no JSON."""
    path = results / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); restore or delete it") from None


def measure(name: str, settings: TrainConfig, seeds: int, *, results: Path, runs: Path) -> dict:
    """Train the seeds from 0 that are not stored yet; store each as it ends; return all.

    Raises
    ------
    InputError
        The stored seeds were measured with another configuration.
    """
    config = {key: value for key, value in settings.to_dict().items() if key != "seed"}
    stored = read(name, results) or {"name": name, "config": config, "runs": []}
    if stored["config"] != config:
        raise InputError(f"{results / name}.json holds another configuration; delete it to measure")
    done = {run["seed"] for run in stored["runs"]}
    missing = [seed for seed in range(seeds) if seed not in done]
    for seed in tqdm(missing, desc=name, unit="seed", disable=None, leave=False):
        out = runs / f"{name}-{seed}"
        print(f"{name}, seed {seed}", flush=True)
        train.train(replace(settings, seed=seed), None, out, resume=True)
        history = json.loads((out / "history.json").read_text())
        run = {"seed": seed, "date": date.today().isoformat()} | {k: history[k] for k in KEPT}
        stored["runs"] = sorted([*stored["runs"], run], key=lambda run: run["seed"])
        if seed == 0 and name in recipes.KEEP_WEIGHTS:
            for file in ("model.safetensors", "history.json"):
                checkpoint.write_atomically(results / name / file, (out / file).read_bytes())
        checkpoint.write_atomically(results / f"{name}.json", json.dumps(stored, indent=1) + "\n")
    return stored


def summary(stored: dict) -> dict:
    """Mean, deviation, worst seed and the pooled errors' Wilson interval; fractions."""
    accuracies = [run["test_accuracy"] for run in stored["runs"]]
    n = len(accuracies)
    digits = 10_000 if stored["runs"][0]["evaluated_on"] == "test" else 5_000
    low, high = evaluate.wilson_interval(sum(run["errors"] for run in stored["runs"]), n * digits)
    return {
        "n": n,
        "parameters": stored["runs"][0]["parameters"],
        "epochs": stored["config"]["epochs"],
        "mean": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies) if n > 1 else None,
        "worst": min(accuracies),
        "low": low,
        "high": high,
        "loss": statistics.mean(run["test_loss"] for run in stored["runs"]),
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in stored["runs"]),
        "train_accuracy": statistics.mean(run["train_accuracy"] for run in stored["runs"]),
    }


def one_line(stored: dict) -> str:
    """The summary for a terminal."""
    s = summary(stored)
    spread = "" if s["deviation"] is None else f" ± {100 * s['deviation']:.2f}"
    return (
        f"{stored['name']:28} {s['parameters']:>9,} parameters  {100 * s['mean']:.2f}{spread}%  "
        f"(n = {s['n']}, worst {s['worst']:.2%}, 95% {s['low']:.2%} to {s['high']:.2%}), "
        f"loss {s['loss']:.4f}, {s['cpu_seconds']:.0f} CPU s"
    )


def main() -> None:
    parser = errors.Parser(prog="python -m mnist_utils.reproduce", description=__doc__)
    parser.add_argument(
        "recipe", nargs="*", help="which (default: all but the dear `reference`): "
        + ", ".join(recipes.PLAN),
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1, if not the plan's")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="JSON goes here"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/reproduce"), metavar="DIR", help="checkpoints"
    )
    arguments = parser.parse_args()
    for name in arguments.recipe or [name for name in recipes.PLAN if name != "reference"]:
        if name not in recipes.PLAN:
            raise InputError(f"{name!r} is not one of {', '.join(recipes.PLAN)}")
        settings, seeds = recipes.PLAN[name]
        seeds = seeds if arguments.seeds is None else arguments.seeds
        stored = measure(name, settings, seeds, results=arguments.results, runs=arguments.runs)
        print(one_line(stored), flush=True)


if __name__ == "__main__":
    errors.run(main)
