import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field, make_dataclass, replace

import pytest
from gates import gate

from mnist_utils import results, weights
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.files import RESULTS, ROOT
from mnist_utils.recipes import RECIPES
from tools.reproduce.__main__ import main
from tools.reproduce.measure import add, measure
from tools.reproduce.plan import ABLATIONS, BEST, BUDGETS, GRID, PLAN, WEIGHTS, ablation

QUICK = replace(RECIPES["fast"], epochs=1, subset=256, clean_epochs=0)


def test_an_ablation_changes_one_thing_and_never_sees_the_test_digits():
    for recipe, changes in ABLATIONS.items():
        whole = PLAN[ablation(recipe)][0].to_dict()
        for change in changes:
            settings, _ = PLAN[ablation(recipe, change)]
            assert settings.validation == 5_000
            changed = {key for key, value in settings.to_dict().items() if value != whole[key]}
            assert changed, (recipe, change)
            assert len(changed) <= 2 or change == "reference augmentation", (recipe, changed)


def test_the_rates_that_are_judged_are_those_that_seed_0_chose():
    for schedule, best in BEST.items():
        for budget, rate in zip(BUDGETS, best, strict=True):
            name = f"schedules/{schedule}_{budget}_epochs_"
            errors = {lr: results.runs(f"{name}{lr}")[0]["errors"] for lr in GRID}
            assert rate == min(GRID, key=errors.get), (name, errors)


def test_seeds_are_measured_once_stored_and_summed_up(tmp_path, capsys):
    folders = {"folder": tmp_path / "results", "runs": tmp_path / "runs"}
    first = measure("study/quick", QUICK, 1, **folders)
    both = measure("study/quick", QUICK, 2, **folders)
    assert capsys.readouterr().out.count("study/quick, seed") == 2  # seed 0 was not trained again
    assert both["runs"][0] == first["runs"][0]
    stored = json.loads((tmp_path / "results" / "study.json").read_text())["quick"]
    assert stored["runs"] == both["runs"]
    assert stored["config"].items() <= QUICK.to_dict().items()
    assert "seed" not in stored["config"]
    assert TrainConfig.from_dict(both["config"] | {"seed": 0}) == QUICK
    row = results.summary("study/quick", tmp_path / "results")
    accuracies = [run["held_out_accuracy"] for run in both["runs"]]
    assert row["mean"] == pytest.approx(sum(accuracies) / 2)
    assert row["deviation"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert row["of_seeds"][0] < row["mean"] < row["of_seeds"][1]
    with pytest.raises(InputError, match=r"study.json: quick is of another config"):
        measure("study/quick", replace(QUICK, lr=0.5), 2, **folders)


def test_stored_measurements_are_complete_and_of_today_s_recipe():
    wrong = []
    for name, (settings, seeds) in PLAN.items():
        stored = results.read(name)
        split = ("validation", settings.validation) if settings.validation else ("test", 10_000)
        true = {
            f"seeds 0 to {seeds - 1}": [r["seed"] for r in stored["runs"]] == list(range(seeds)),
            "a configuration without a seed": "seed" not in stored["config"],
            "the plan's configuration": TrainConfig.from_dict(stored["config"]) == settings,
        }
        for run in stored["runs"]:
            right, seed = 1 - run["errors"] / run["digits"], f"in seed {run['seed']}"
            true |= {
                f"{split} {seed}": (run["held_out"], run["digits"]) == split,
                f"{right:.4f} {seed}": run["held_out_accuracy"] == pytest.approx(right),
                f"its mistakes {seed}": len(set(run["mistakes"])) == run["errors"],
                f"a precision {seed}": run["precision"] in ("float32", "bfloat16"),
            }
        wrong += [f"results: {name} lacks {what}" for what, holds in true.items() if not holds]
    gate(wrong, "restore it with git, or delete it and run `make reproduce`")


def test_a_new_field_with_a_default_leaves_every_stored_configuration_valid(monkeypatch, tmp_path):
    later = field(default=0.5, metadata={"choices": None, "low": 0.0, "high": 1.0})
    wider = make_dataclass("Wider", [("later", float, later)], bases=(TrainConfig,), frozen=True)
    monkeypatch.setattr("tools.reproduce.measure.TrainConfig", wider)
    for name, (settings, _) in PLAN.items():
        measure(name, wider(**settings.to_dict()), 0, folder=RESULTS, runs=tmp_path)
    changed = wider(**PLAN["recipes/course"][0].to_dict(), later=0.6)
    with pytest.raises(InputError, match=r"recipes.json: course is of another config"):
        measure("recipes/course", changed, 0, folder=RESULTS, runs=tmp_path)


def test_the_weights_in_results_are_the_plan_s_and_of_the_runs_that_measured_them():
    wrong = set(RESULTS.rglob("*.safetensors"))
    for name, seeds in WEIGHTS.items():
        stored = results.runs(name)[:seeds]
        assert len(stored) == seeds, name
        for run in stored:
            path = results.weights_path(name, run["seed"])
            with suppress(InputError):  # missing or damaged
                wrong ^= {path} if weights.checksum(path) == run["weights_sha256"] else set()
    names = sorted(str(path.relative_to(ROOT)) for path in wrong)
    gate(names, "missing, damaged or unplanned: `git checkout results`, or `make reproduce`")


def test_an_unknown_name_is_refused(refused):
    assert "'recipes/magic' is not one of recipes/reference, " in refused(main, "magic")


def test_runs_that_end_at_once_are_all_kept_a_line_each(tmp_path):
    def store(seed):
        add("study/a", TrainConfig(lr=0.5).to_dict(), {"seed": seed}, None, tmp_path)

    with ThreadPoolExecutor(8) as several:
        list(several.map(store, range(40)))
    assert [run["seed"] for run in results.runs("study/a", tmp_path)] == list(range(40))
    text = (tmp_path / "study.json").read_text()
    assert text.count("\n   {") == 40
    assert '"config": {"lr": 0.5}' in text  # what differs from the defaults
