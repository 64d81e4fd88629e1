"""The exercises of notebook 10: means and votes, independent ensembles, chosen ones."""

import math

from classroom.checks.exercise import Exercise, Number, Words, Wrong

EXERCISES = (
    Exercise(
        "three_heads",
        Number(),
        lambda: 0,
        (
            Wrong(
                "votes counted",
                1,
                "Two vote for 1, and hardly; the third is sure of 0. Take the mean of the columns.",
            ),
            Wrong(
                "a probability for a class",
                (0.90 + 0.28 + 0.30) / 3,
                "That is how sure they are together. Of which class?",
                lambda given: 0.4 < given < 0.6,
            ),
        ),
        (
            "Add up each column.",
            "np.array(said).mean(axis=0).argmax()",
        ),
        "A mean lets those speak louder who are surer; a vote does not.",
    ),
    Exercise(
        "disjoint",
        Number(),
        lambda: 3,
        (
            Wrong(
                "every choice is an ensemble",
                math.comb(15, 5),
                "So many there are; but two of them share members, mostly, and err alike.",
            ),
            Wrong(
                "one seed, one ensemble",
                15,
                "Each ensemble needs five seeds of its own.",
            ),
        ),
        (
            "Two ensembles are independent trainings if no network is in both.",
            "15 networks, five each.",
        ),
        "So an interval over ensembles has n = 3, though 3,003 could be drawn.",
    ),
    Exercise(
        "chosen",
        Words(("too high", "too low", "right on average"), one=True),
        "229aabe015b5690e",
        (
            Wrong(
                "a measured figure is a fair one",
                frozenset({"right on average"}),
                "It was measured, and then chosen for being high. Part of that was luck.",
            ),
            Wrong(
                "the wrong way",
                frozenset({"too low"}),
                "Were the luck of the digits drawn anew, would the luckiest stay the luckiest?",
            ),
        ),
        (
            "Why did just this one win, of so many that are nearly alike?",
            "By skill and by luck on these digits; on others the luck is not there.",
        ),
        "That is why who is in which ensemble was fixed beforehand.",
    ),
)
