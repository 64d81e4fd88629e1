import pytest
import torch

from mnist_utils import calibration
from mnist_utils.evaluate import Evaluation


@pytest.fixture(scope="module")
def drawn():
    """Labels drawn from the very probabilities that are claimed: perfectly calibrated."""
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 10)
    labels = torch.multinomial(logits.softmax(1), 1).flatten()
    return Evaluation(logits.log_softmax(1), labels)


def test_the_temperature_of_calibrated_probabilities_is_1_and_a_known_one_is_found(drawn):
    fitted = calibration.fit_temperature(drawn.log_probabilities, drawn.labels)
    assert fitted == pytest.approx(1, abs=0.03)
    too_sure = (3 * drawn.log_probabilities).log_softmax(1)
    again = calibration.fit_temperature(too_sure, drawn.labels)
    assert again == pytest.approx(3 * fitted, rel=1e-3)
    softened = calibration.at_temperature(drawn, 2.0)
    assert torch.equal(softened.predictions, drawn.predictions)
    assert (softened.confidence < drawn.confidence).all()


def test_bins_hold_every_digit_once_and_calibrated_ones_lie_on_the_diagonal(drawn):
    bins = calibration.reliability(drawn, (0.0, 0.5, 0.7, 0.9, 1.0))
    assert sum(b.count for b in bins) == 20_000
    assert all(abs(b.accuracy - b.confidence) < 0.03 for b in bins)
    sure = Evaluation((5 * drawn.log_probabilities).log_softmax(1), drawn.labels)
    *_, last = calibration.reliability(sure, (0, 0.5, 1.0))
    assert last.confidence - last.accuracy > 0.1
    # A confidence on an edge falls into the bin above, and 1 into the last.
    half = torch.tensor([[0.5, 0.5] + [0.0] * 8]).log()
    certain = torch.tensor([[1.0] + [0.0] * 9]).log()
    edges = Evaluation(torch.cat([half, certain]), torch.tensor([0, 0]))
    assert [b.count for b in calibration.reliability(edges, (0.0, 0.5, 0.9, 1.0))] == [0, 1, 1]
