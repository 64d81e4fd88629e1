import pytest
import torch

from mnist_utils import calibration, evaluate
from mnist_utils.evaluate import Evaluation
from mnist_utils.label_errors import LABEL_ERRORS


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
    assert calibration.fit_temperature(too_sure, drawn.labels) == pytest.approx(
        3 * fitted, rel=1e-3
    )


def test_a_temperature_changes_confidence_and_no_prediction(drawn):
    softened = calibration.at_temperature(drawn, 2.0)
    assert torch.equal(softened.predictions, drawn.predictions)
    assert (softened.confidence < drawn.confidence).all()


def test_bins_hold_every_digit_once_and_calibrated_ones_lie_on_the_diagonal(drawn):
    bins = calibration.reliability(drawn, (0.0, 0.5, 0.7, 0.9, 1.0))
    assert sum(b.count for b in bins) == 20_000
    assert all(abs(b.accuracy - b.confidence) < 0.03 for b in bins)
    assert calibration.expected_calibration_error(bins) < 0.01
    sure = Evaluation((5 * drawn.log_probabilities).log_softmax(1), drawn.labels)
    assert (
        calibration.expected_calibration_error(calibration.reliability(sure, (0, 0.5, 1.0))) > 0.1
    )


def test_a_confidence_of_one_falls_into_the_last_bin():
    certain = Evaluation(torch.tensor([[0.0] + [-float("inf")] * 9]), torch.tensor([0]))
    assert [b.count for b in calibration.reliability(certain, (0.0, 0.5, 1.0))] == [0, 1]


def test_mcnemar_counts_disagreements_and_equals_a_sign_test_by_hand():
    def wrong_on(*indices):
        predictions = torch.zeros(20, dtype=torch.long)
        predictions[list(indices)] = 1
        return Evaluation(torch.eye(10)[predictions].log(), torch.zeros(20, dtype=torch.long))

    one, two, p = evaluate.mcnemar(wrong_on(0, 1, 2, 3, 4, 5), wrong_on(5, 6))
    assert (one, two) == (5, 1)
    assert p == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 head of 6 tosses, both sides
    assert evaluate.mcnemar(wrong_on(3), wrong_on(3)) == (0, 0, 1.0)


def test_the_doubtful_labels_are_those_of_the_file(test_split):
    assert len({error.index for error in LABEL_ERRORS}) == 15
    for error in LABEL_ERRORS:
        assert int(test_split.labels[error.index]) == error.given
        assert error.suggested != error.given
        assert error.votes is None or (sum(error.votes) == 5 and error.votes[0] < 3)
