"""The exercises of notebook 4: what a job costs, keeps, and tells."""

import re

from classroom.checks.exercise import Exercise, Numbers, Tried, Words, Wrong

JOB, ENDPOINT = 0.7364, 0.115  # dollars an hour: the prices that the exercise gives
HOURS = 7 + 24 + 24 + 9  # Friday 17:00 to Monday 9:00

LINES = (
    "epoch=1 train_loss=0.4321 train_accuracy=0.8765 validation_loss=0.0987 "
    "validation_accuracy=0.9712 seconds=3.2",
    "epoch=12 train_loss=0.0321 train_accuracy=0.9901 validation_loss=0.0287 "
    "validation_accuracy=0.9934 seconds=3.1",
)
WANTED = ("0.9712", "0.9934")


def _found(pattern: str) -> list[str | None]:
    """What SageMaker would take from each line: the first group of the first match."""
    matches = [re.search(pattern, line) for line in LINES]
    return [match.group(1) if match else None for match in matches]


def _fails(pattern: str) -> str | None:
    try:
        groups = re.compile(pattern).groups
        found = _found(pattern) if groups else []
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}."
    if not groups:
        return f"{pattern!r} has no group: SageMaker takes what stands in the first (…)."
    for line, got, wanted in zip(LINES, found, WANTED, strict=True):
        if got != wanted:
            return f"in the line\n{line}\n{pattern!r} finds {got}, and not {wanted}."
    return None


def _finds(values: tuple) -> object:
    """Whether a pattern takes these values from the lines."""

    def does(pattern) -> bool:
        try:
            return tuple(_found(pattern)) == values
        except (re.error, IndexError):
            return False

    return does


STATE = (
    "weights",
    "batchnorm statistics",
    "optimizer moments",
    "moving average",
    "epochs done",
    "random numbers",
)
EXERCISES = (
    Exercise(
        "weekend",
        Numbers(2, 0.011),
        lambda: [40 * 0.25 * JOB, HOURS * ENDPOINT],
        (
            Wrong(
                "an hour of the endpoint",
                [7.36, 0.12],
                "An endpoint has no end: it is billed until somebody deletes it.",
                lambda given: 0.11 <= given[1] <= 0.12,
            ),
            Wrong(
                "whole hours for the jobs",
                [40 * JOB, 7.36],
                "Each trial stops after 15 minutes at the latest.",
                lambda given: abs(given[0] - 40 * JOB) < 0.02,
            ),
            Wrong(
                "two days",
                [7.36, 48 * ENDPOINT],
                "Friday 17:00 to Monday 9:00 is more than two days.",
                lambda given: abs(given[1] - 48 * ENDPOINT) < 0.02,
            ),
        ),
        (
            "How many hours is each of them billed?",
            "40 times a quarter of an hour; and 7 + 24 + 24 + 9 hours.",
        ),
        "The same; and on Monday morning the endpoint goes on.",
    ),
    Exercise(
        "spot",
        Words(
            (
                "nothing",
                "the rest of epoch 3",
                "what was done of epoch 3",
                "epochs 1 to 3",
                "everything",
            ),
            one=True,
        ),
        "4f959b51dab2bcfe",
        (
            Wrong(
                "nothing is lost",
                frozenset({"nothing"}),
                "A checkpoint is written when an epoch ends; what came after the last is gone.",
            ),
            Wrong(
                "all is lost",
                frozenset({"everything"}),
                "The checkpoint folder is copied to S3, and the new machine finds it.",
            ),
            Wrong(
                "finished epochs again",
                frozenset({"epochs 1 to 3"}),
                "Epochs 1 and 2 are in the checkpoint.",
            ),
            Wrong(
                "not yet done, so not again",
                frozenset({"the rest of epoch 3"}),
                "The rest was never computed: it is due anyway. What is computed a second time?",
            ),
        ),
        (
            "When is a checkpoint written?",
            "After every epoch; what is there when the machine goes?",
        ),
        "Half an epoch, here some seconds; with long epochs one would save more often.",
    ),
    Exercise(
        "checkpoint",
        Words(STATE),
        "85ecd3871e90b907",
        (
            Wrong(
                "weights alone",
                frozenset({"weights"}),
                "The first steps of a fresh Adam differ from those of one that has been running.",
                lambda chosen: chosen == frozenset({"weights"}),
            ),
            Wrong(
                "BatchNorm forgotten",
                frozenset(STATE) - {"batchnorm statistics", STATE[-1]},
                "BatchNorm's means and variances are no weights, and are used when it is tested.",
                lambda chosen: "batchnorm statistics" not in chosen,
            ),
            Wrong(
                "random numbers, too",
                frozenset(STATE),
                "Here they follow from seed and epoch, so that nothing of them need be kept.",
                lambda chosen: STATE[-1] in chosen,
            ),
        ),
        (
            "What changes from step to step?",
            "Network, optimizer, average, and how far we are; order and augmentation are "
            "functions of (seed, epoch).",
        ),
        "So a resumed run ends as the other did, on one CPU thread to the last bit.",
    ),
    Exercise(
        "pattern",
        Tried("a regular expression in quotes", lambda answer: isinstance(answer, str), _fails),
        r"validation_accuracy=([0-9.]+)",
        (
            Wrong(
                "the first accuracy of the line",
                r"accuracy=([0-9.]+)",
                "It matches train_accuracy= as well, which comes first.",
                _finds(("0.8765", "0.9901")),
            ),
            Wrong(
                "the loss",
                r"validation_\w+=([0-9.]+)",
                "It matches validation_loss=, which comes first.",
                _finds(("0.0987", "0.0287")),
            ),
            Wrong(
                "the dot forgotten",
                r"validation_accuracy=([0-9]+)",
                "It ends at the decimal point.",
                _finds(("0", "0")),
            ),
        ),
        (
            "SageMaker searches each line, and takes the first group.",
            "Name the metric in full, up to the equals sign; then digits and dots, in brackets.",
        ),
        "`jobs.submit` sends such a pattern for each metric.",
    ),
)
