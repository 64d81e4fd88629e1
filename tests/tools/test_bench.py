import json

import pytest
from gates import gate

from mnist_utils.evaluate import evaluate
from mnist_utils.files import RESULTS
from tools import bench


def test_sides_run_in_turn_and_the_slower_one_is_seen():
    order = []

    def work(name, n):
        return lambda: (order.append(name), sum(range(n)))

    seconds = bench.in_turn(3, {"short": work("short", 10_000), "long": work("long", 3_000_000)})
    assert order == ["short", "long"] * 4  # the first round is not counted
    assert seconds["long"] > 5 * seconds["short"]


def test_the_example_learns(train_split, test_split):
    model = bench.example_epoch(train_split.take(slice(0, 2_000)), epochs=1)
    assert sum(p.numel() for p in model.parameters()) == 1_199_882
    assert evaluate(model, test_split.take(slice(0, 500))).accuracy > 0.7


def test_each_stored_ratio_is_that_of_its_parts():
    stored = json.loads((RESULTS / "bench.json").read_text())
    rates, answers = stored["augmentation_samples_per_cpu_second"], stored["inference"]
    used, speeds = stored["training_cpu_seconds"], answers["images_per_cpu_second"]
    ratios = {
        "augmentation": (rates["ratio"], rates["batch"] / rates["albumentations"]),
        "training": (used["ratio"], used["reference_20_epochs"] / used["whole"]["fast"]),
        "20 epochs": (used["reference_20_epochs"], 20 * used["epoch"]["reference_naive"]),
        "inference": (answers["ratio"], speeds["torch"] / speeds["onnxruntime"]),
    }
    wrong = [f"results/bench.json: {n}: {a}, not {b}" for n, (a, b) in ratios.items()
             if a != pytest.approx(b)]  # fmt: skip
    gate(wrong, "restore it with git, or run `make bench`")
