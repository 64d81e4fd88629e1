import json
from dataclasses import fields, replace

import pytest

from mnist_utils import models, recipes, reproduce, train
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

QUICK = replace(recipes.RECIPES["fast"], epochs=1, subset=256, clean_epochs=0)


def test_the_reference_is_the_source_s_recipe():
    config = recipes.RECIPES["reference"]
    assert (config.epochs, config.batch_size, config.lr) == (20, 32, 0.001)
    assert (config.rotation, config.fill, config.holes, config.hole_min, config.hole_max) == (
        7.0, 1.0, 3, 4, 5
    )  # fmt: skip
    assert (config.schedule, config.weight_decay, config.label_smoothing) == ("constant", 0, 0)


def test_recipes_keep_the_limits_they_promise():
    size = {
        name: sum(p.numel() for p in models.build(settings.model).parameters())
        for name, settings in recipes.RECIPES.items()
    }
    assert size["reference"] == 6_016
    assert size["course"] <= 6_016
    assert size["small"] <= 3_800
    assert size["fast"] <= 20_000
    assert all(settings.epochs <= 20 for settings in recipes.RECIPES.values())


def test_an_ablation_changes_one_thing_and_never_sees_the_test_digits():
    whole = recipes.ABLATIONS["fast"].to_dict()
    for name, settings in recipes.ABLATIONS.items():
        assert settings.validation == 5_000
        changed = {key for key, value in settings.to_dict().items() if value != whole[key]}
        assert changed or name == "fast"
        assert len(changed) <= 2 or name == "reference_augmentation"


def test_the_command_line_starts_from_the_recipe(command):
    _, text, _ = command(train.main, "--recipe", "fast", "--help")
    assert "(default: FastNet)" in text


def test_an_unknown_recipe_is_named(refused):
    assert "--recipe 'magic' is not one of" in refused(train.main, "--recipe", "magic")
    assert "'magic' is not one of" in refused(reproduce.main, "magic")


def test_seeds_are_measured_once_stored_and_summed_up(tmp_path, capsys):
    folders = {"results": tmp_path / "results", "runs": tmp_path / "runs"}
    first = reproduce.measure("quick", QUICK, 1, **folders)
    both = reproduce.measure("quick", QUICK, 2, **folders)
    assert capsys.readouterr().out.count("quick, seed") == 2  # seed 0 was not trained again
    assert both["runs"][0] == first["runs"][0]
    assert json.loads((tmp_path / "results" / "quick.json").read_text()) == both
    assert TrainConfig.from_dict(both["config"] | {"seed": 0}) == QUICK
    row = reproduce.summary(both)
    accuracies = [run["test_accuracy"] for run in both["runs"]]
    assert row["mean"] == pytest.approx(sum(accuracies) / 2)
    assert row["deviation"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert row["worst"] == min(accuracies)
    assert row["low"] < row["mean"] < row["high"]
    with pytest.raises(InputError, match=r"quick.json holds another configuration"):
        reproduce.measure("quick", replace(QUICK, lr=0.5), 2, **folders)


@pytest.mark.parametrize("name", recipes.PLAN)
def test_stored_measurements_are_complete_and_of_today_s_recipe(name):
    settings, seeds = recipes.PLAN[name]
    stored = reproduce.read(name)
    assert [run["seed"] for run in stored["runs"]] == list(range(seeds))
    names = {item.name for item in fields(TrainConfig)} - {"seed"}
    assert stored["config"] == {key: settings.to_dict()[key] for key in names}
    for run in stored["runs"]:
        digits = 5_000 if settings.validation else 10_000
        assert run["test_accuracy"] == pytest.approx(1 - run["errors"] / digits)
