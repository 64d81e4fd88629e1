from mnist_utils.label_errors import LABEL_ERRORS


def test_the_doubtful_labels_are_those_of_the_file(test_split):
    assert len({error.index for error in LABEL_ERRORS}) == 15
    for error in LABEL_ERRORS:
        assert int(test_split.labels[error.index]) == error.given
        assert error.suggested != error.given
        assert error.votes is None or (sum(error.votes) == 5 and error.votes[0] < 3)
