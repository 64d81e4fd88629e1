import json
import math

import pytest
import torch
from gates import gate

from mnist_utils import models, results, weights
from mnist_utils.config import TrainConfig
from mnist_utils.evaluate import (
    Evaluation,
    averaged,
    evaluate,
    main,
    mcnemar,
    predict,
    wilson_interval,
)
from mnist_utils.train.run import splits
from tools.reproduce.plan import WEIGHTS


def test_committed_weights_give_the_committed_numbers():
    wrong = []
    for name in WEIGHTS:
        history = results.history(name)
        _, about = weights.load_tensors(results.weights_path(name))
        model = results.network(name)
        result = evaluate(model, splits(TrainConfig.from_dict(about["config"]), None)[1])
        true = {
            "config": about["config"] == history["config"],
            "errors": result.n_errors == history["errors"] == results.runs(name)[0]["errors"],
            "accuracy": result.accuracy == pytest.approx(history["held_out_accuracy"], abs=1e-12),
            "loss": result.loss == pytest.approx(history["held_out_loss"], rel=1e-4),  # float32
            "size": sum(p.numel() for p in model.parameters()) == history["parameters"],
        }
        wrong += [f"results/{name}: another {what}" for what, holds in true.items() if not holds]
    gate(wrong, "restore results/ with git, or measure again with `make reproduce`")


def test_wilson_interval_equals_its_formula():
    errors, n, z = 60, 10_000, 1.959963984540054
    p = 1 - errors / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(errors, n) == pytest.approx((centre - half, centre + half))


def test_an_ensemble_takes_the_mean_of_probabilities_not_of_votes_or_logarithms():
    """Each is sure of another class; a third one both think likely, and that one wins."""
    one, two = torch.tensor([[0.5, 0.1, 0.4]]), torch.tensor([[0.1, 0.5, 0.4]])
    labels = torch.tensor([2])
    both = averaged([Evaluation(p.log(), labels) for p in (one, two)])
    assert both.log_probabilities.exp().tolist() == [pytest.approx([0.3, 0.3, 0.4])]
    assert both.n_errors == 0


def test_everything_follows_from_log_probabilities():
    labels = torch.tensor([0, 1, 2, 2])
    chosen = torch.tensor([0, 1, 1, 2])
    log_probabilities = torch.full((4, 10), 0.01).log()
    log_probabilities[torch.arange(4), chosen] = math.log(0.91)
    result = Evaluation(log_probabilities, labels)
    assert (result.n_errors, result.accuracy, result.mistakes.tolist()) == (1, 0.75, [2])
    assert result.loss == pytest.approx(-(3 * math.log(0.91) + math.log(0.01)) / 4)
    assert (result.confusion[2, 1], result.confusion.sum(), result.confusion.trace()) == (1, 4, 3)
    assert result.confidence.tolist() == pytest.approx([0.91] * 4)
    probabilities = torch.full((3, 10), 0.01)
    probabilities[:, 1] = torch.tensor([0.5, 0.9, 0.7])
    result = Evaluation(probabilities.log(), torch.tensor([0, 0, 0]))
    assert result.most_confident_mistakes(2).tolist() == [1, 2]


def test_an_uneven_last_batch_counts_and_order_and_mode_stay(test_split):
    torch.manual_seed(0)
    model = models.build("Model3").train()
    few = test_split.take(slice(0, 103))
    in_batches = predict(model, few.images, batch_size=50)
    one_by_one = torch.cat([predict(model, image[None]) for image in few.images])
    assert model.training
    assert in_batches.shape == (103, 10)
    assert torch.allclose(in_batches, one_by_one, atol=1e-5)


def test_command_line_prints_text_and_json_and_refuses_what_holds_no_weights(
    command, refused, tmp_path
):
    _, text, _ = command(main)
    status, out, _ = command(main, "--json")
    result = json.loads(out)
    assert status == 0
    assert f"errors    {result['errors']} of 10,000" in text
    told = sorted(map(int, text.rsplit(":", 1)[1].split()))
    assert [row["index"] for row in result["mistakes"]] == told
    assert sum(map(sum, result["confusion"])) == 10_000
    assert "does not exist" in refused(main, tmp_path / "none.safetensors")
    noise = tmp_path / "noise.safetensors"
    noise.write_bytes(bytes(range(256)) * 8)
    assert "noise.safetensors is not a readable checkpoint" in refused(main, noise)
    weights.save_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    assert "holds no weights" in refused(main, tmp_path / "other.safetensors")
    assert "/nowhere" in refused(main, "--data", "/nowhere")


def test_mcnemar_counts_disagreements_and_equals_a_sign_test_by_hand():
    def wrong_on(*indices):
        predictions = torch.zeros(20, dtype=torch.long)
        predictions[list(indices)] = 1
        return Evaluation(torch.eye(10)[predictions].log(), torch.zeros(20, dtype=torch.long))

    one, two, p = mcnemar(wrong_on(0, 1, 2, 3, 4, 5), wrong_on(5, 6))
    assert (one, two) == (5, 1)
    assert p == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 head of 6 tosses, both sides
    assert mcnemar(wrong_on(3), wrong_on(3)) == (0, 0, 1.0)
