import json
import math

import pytest
import torch

from mnist_utils import checkpoint, evaluate, models
from mnist_utils.errors import InputError

RESULTS = sorted(evaluate.REFERENCE.parents[1].glob("*/history.json"))


def test_there_are_committed_runs():
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_committed_weights_give_the_committed_numbers(path, test_split):
    history = json.loads(path.read_text())
    model, about = evaluate.load_weights(path.with_name("model.safetensors"))
    result = evaluate.evaluate(model, test_split)
    assert about["config"] == history["config"]
    assert result.errors == history["errors"]
    assert result.accuracy == pytest.approx(history["test_accuracy"], abs=1e-12)
    assert result.loss == pytest.approx(history["test_loss"], rel=1e-4)  # of float32 sums
    assert sum(p.numel() for p in model.parameters()) == history["parameters"]


def test_wilson_interval_equals_its_formula():
    errors, n, z = 60, 10_000, 1.959963984540054
    p = 1 - errors / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert evaluate.wilson_interval(errors, n) == pytest.approx((centre - half, centre + half))


def test_everything_follows_from_log_probabilities():
    labels = torch.tensor([0, 1, 2, 2])
    chosen = torch.tensor([0, 1, 1, 2])
    log_probabilities = torch.full((4, 10), 0.01).log()
    log_probabilities[torch.arange(4), chosen] = math.log(0.91)
    result = evaluate.Evaluation(log_probabilities, labels)
    assert (result.errors, result.accuracy, result.mistakes.tolist()) == (1, 0.75, [2])
    assert result.loss == pytest.approx(-(3 * math.log(0.91) + math.log(0.01)) / 4)
    assert (result.confusion[2, 1], result.confusion.sum(), result.confusion.trace()) == (1, 4, 3)
    assert result.confidence.tolist() == pytest.approx([0.91] * 4)


def test_an_uneven_last_batch_counts_and_order_and_mode_stay(test_split):
    torch.manual_seed(0)
    model = models.build("Model3").train()
    few = test_split.take(slice(0, 103))
    in_batches = evaluate.predict(model, few.images, batch_size=50)
    one_by_one = torch.cat([evaluate.predict(model, image[None]) for image in few.images])
    assert model.training
    assert in_batches.shape == (103, 10)
    assert torch.allclose(in_batches, one_by_one, atol=1e-5)


def test_command_line_prints_text_and_json(command):
    _, text, _ = command(evaluate.main)
    status, out, _ = command(evaluate.main, "--json")
    result = json.loads(out)
    assert status == 0
    assert f"errors    {result['errors']} of 10,000" in text
    assert [row["index"] for row in result["mistakes"]] == sorted(
        map(int, text.rsplit(":", 1)[1].split())
    )
    assert sum(map(sum, result["confusion"])) == 10_000


def test_command_line_refuses_what_holds_no_weights(refused, tmp_path):
    assert "does not exist" in refused(evaluate.main, tmp_path / "none.safetensors")
    noise = tmp_path / "noise.safetensors"
    noise.write_bytes(bytes(range(256)) * 8)
    assert "noise.safetensors is not a readable checkpoint" in refused(evaluate.main, noise)
    checkpoint.save_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    assert "holds no weights" in refused(evaluate.main, tmp_path / "other.safetensors")
    assert "/nowhere" in refused(evaluate.main, "--data", "/nowhere")


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    checkpoint.save_tensors(path, {"head.weight": torch.zeros(3)}, {"model": "Model3"})
    with pytest.raises(InputError, match=r"w.safetensors does not fit Model3"):
        evaluate.load_weights(path)
