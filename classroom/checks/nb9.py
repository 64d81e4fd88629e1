"""The exercises of notebook 9: nine cells, and what dice agree on."""

from classroom.checks.exercise import Exercise, Number, Wrong

CELLS = (9, 11, 11, 15, 17, 18, 14, 14, 13)


def _of_dice(inked: float) -> float:
    """Rank correlation of two sets of random numbers on the same share of pixels, else 0.

    Ranks are 1/2 of the black share where black, uniform above it where inked.
    """
    black = 1 - inked
    between = black * inked / 4  # of the black pixels' mean rank and the inked ones'
    within = inked * inked**2 / 12  # among the inked, whose ranks are random
    return between / (between + within)


EXERCISES = (
    Exercise(
        "nine_cells",
        Number(0.01),
        lambda: sum(CELLS) / 9,
        (
            Wrong("the sum", sum(CELLS), "Global average pooling takes the mean of its units."),
            Wrong("the largest", max(CELLS), "That would be max pooling. Here is a mean."),
        ),
        (
            "What stands between the last maps and the head?",
            "The mean of the nine.",
        ),
        "A picture of a class activation map shows the parts; the logit is their mean.",
    ),
    Exercise(
        "dice",
        Number(0.006),
        lambda: _of_dice(140 / 784),
        (
            Wrong(
                "dice agree on nothing",
                0.0,
                "On the ink they do not. But both are 0 on the same 644 pixels.",
                lambda given: abs(given) < 0.1,
            ),
            Wrong(
                "the share of black",
                644 / 784,
                "Near, but ranks are correlated, not counted: the ties of the black pixels lie far "
                "below all others.",
            ),
        ),
        (
            "Simulate: two arrays of 784 numbers, 0 but for the same 140 places, and spearmanr.",
            "a, b = np.zeros((2, 784)); a[:140], b[:140] = rng.random((2, 140)); spearmanr(a, b)",
        ),
        "A high correlation with that many ties says that both know where the ink is.",
    ),
)
