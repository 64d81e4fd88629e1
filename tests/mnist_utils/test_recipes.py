from mnist_utils import models
from mnist_utils.recipes import RECIPES
from mnist_utils.train.__main__ import main


def test_recipes_keep_the_limits_they_promise():
    size = {
        name: sum(p.numel() for p in models.build(settings.model).parameters())
        for name, settings in RECIPES.items()
    }
    assert size["reference"] == 6_016
    assert size["course"] <= 6_016
    assert size["small"] <= 2_000
    assert size["mini"] <= 1_000
    assert size["tiny"] <= 700
    assert size["best"] <= 20_000
    assert size["fast"] <= 20_000
    assert all(settings.epochs <= 20 for settings in RECIPES.values())


def test_the_command_line_starts_from_the_recipe_and_names_an_unknown_one(command, refused):
    _, text, _ = command(main, "--recipe", "fast", "--help")
    assert "(default: FastNet)" in text
    assert "--recipe 'magic' is not one of" in refused(main, "--recipe", "magic")
