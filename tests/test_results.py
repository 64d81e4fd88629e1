import pytest

from mnist_utils import results
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate


def test_a_bare_name_is_a_recipe_s():
    assert results.path("course") == results.path("recipes/course")
    assert results.path("ladder/Model1", ".json").parts[-3:] == ("results", "ladder", "Model1.json")


def test_the_stored_network_is_the_stored_history_s(test_split):
    history = results.history("small")
    result = evaluate(results.network("small"), test_split)
    assert (history["held_out"], history["digits"]) == ("test", 10_000)
    assert result.n_errors == history["errors"] == results.runs("small")[0]["errors"]


def test_what_is_not_measured_names_the_command():
    with pytest.raises(InputError, match="'magic' is not measured: `python -m mnist_utils.reprod"):
        results.runs("magic")
    with pytest.raises(InputError, match="'magic' is not measured"):
        results.history("magic")


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "broken.json").write_text("{")
    with pytest.raises(InputError, match=r"broken\.json is not JSON"):
        results.read("study/broken", tmp_path)
