"""Measure a configuration again, seed by seed, and store what each seed gave."""

import fcntl
import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

from tqdm import tqdm

from mnist_utils import results, weights
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.files import write_atomically
from mnist_utils.train import train
from tools.reproduce import plan

KEPT = (
    "errors", "mistakes", "digits", "held_out", "held_out_accuracy", "held_out_loss",
    "train_accuracy", "train_loss", "parameters", "wall_seconds", "cpu_seconds", "precision",
    "machine", "versions",
)  # fmt: skip


def measure(name: str, settings: TrainConfig, seeds: int, *, folder: Path, runs: Path) -> dict:
    """Train the seeds from 0 that are not stored yet; store each as it ends; return all.

    Raises
    ------
    InputError
        The stored seeds were measured with another configuration.
    """
    stored = results.read(name, folder) or {"config": settings.to_dict(), "runs": []}
    if TrainConfig.from_dict(stored["config"] | {"seed": 0}) != replace(settings, seed=0):
        study, rest = results.study_and_name(name)
        raise InputError(
            f"{folder / study}.json: {rest} is of another configuration; delete it there"
        )
    done = {run["seed"] for run in stored["runs"]}
    missing = [seed for seed in range(seeds) if seed not in done]
    for seed in tqdm(missing, desc=name, unit="seed", disable=None, leave=False):
        out = runs / f"{name}-{seed}"
        print(f"{name}, seed {seed}", flush=True)
        trained = plan.TRAINED[name](seed) if name in plan.TRAINED else None
        train(replace(settings, seed=seed), out, resume=True, trained=trained)
        history = json.loads((out / "history.json").read_text())
        run = {"seed": seed, "date": date.today().isoformat()} | {k: history[k] for k in KEPT}
        keep = seed < plan.WEIGHTS.get(name, 0)
        if keep:
            network = out / "model.safetensors"
            run["weights_sha256"] = weights.checksum(network)
            write_atomically(results.weights_path(name, seed, folder), network.read_bytes())
        add(name, settings.to_dict(), run, history if keep and not seed else None, folder)
    return results.read(name, folder)


def add(name: str, config: dict, run: dict, history: dict | None, folder: Path) -> None:
    """Store a seed's run. Several processes may do so at once: each reads what is there anew."""
    study, rest = results.study_and_name(name)
    default = TrainConfig().to_dict()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stored = dict(results.study_of(study, folder))
        entry = stored.get(rest, {"runs": []})
        others = [one for one in entry["runs"] if one["seed"] != run["seed"]]
        stored[rest] = entry | {
            "config": {key: config[key] for key in default if config[key] != default[key]},
            "runs": sorted([*others, run], key=lambda one: one["seed"]),
        }
        if history:
            stored[rest]["history"] = history
        write_atomically(folder / f"{study}.json", _text(stored))
    finally:
        os.close(lock)


def _text(study: dict) -> str:
    """JSON with a line for each run, so that a new one is one line of a diff."""
    entries = []
    for name, stored in sorted(study.items()):
        runs = ",\n".join(f"   {json.dumps(run)}" for run in stored["runs"])
        parts = [f'"config": {json.dumps(stored["config"])}', f'"runs": [\n{runs}\n  ]']
        if "history" in stored:
            parts.append(f'"history": {json.dumps(stored["history"])}')
        entries.append(f" {json.dumps(name)}: {{\n  " + ",\n  ".join(parts) + "\n }")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def one_line(name: str, folder: Path) -> str:
    """A configuration's summary for a terminal."""
    row = results.summary(name, folder)
    cost = f"loss {row['loss']:.4f}, {row['cpu_seconds']:.0f} CPU s"
    return f"{name:28} {results.line(name, folder)}, {cost}"
