"""The exercises of notebook 7: a rate on its way, and a fair comparison."""

from classroom.checks.exercise import Exercise, Number, Words, Wrong

FAIR = (
    "both at the rate 0.01",
    "each at its best rate on validation digits",
    "each at its best rate on test digits",
    "both at the author's rate",
)

EXERCISES = (
    Exercise(
        "cycle",
        Number(0.0001),
        lambda: 0.0075,
        (
            Wrong(
                "down a straight line",
                0.01 * 2 / 3,
                "One cycle falls along a cosine: slowly at first.",
            ),
            Wrong(
                "warm-up forgotten",
                0.005,
                "The fall begins after the warm-up, at step 250, and has 750 steps.",
            ),
            Wrong(
                "a share for the rate",
                0.75,
                "That is the share of the peak; times the peak it is the rate.",
            ),
        ),
        (
            "How far is step 500 on the way from the peak, at 250, to the end?",
            "A third; so 0.01 · (1 + cos(π/3)) / 2.",
        ),
        "A third of the way down, three quarters of the rate are left.",
    ),
    Exercise(
        "fair",
        Words(FAIR, one=True),
        "3ae2ccaa501059be",
        (
            Wrong(
                "one rate for both",
                frozenset({FAIR[0]}),
                "What is right for a constant rate is small for the peak of a cycle.",
            ),
            Wrong(
                "chosen where it is judged",
                frozenset({FAIR[2]}),
                "Whoever tries more rates on the test digits wins more often by luck.",
            ),
            Wrong(
                "tuned for one side",
                frozenset({FAIR[3]}),
                "The author tuned that rate, for the author's schedule.",
            ),
        ),
        (
            "Which of the two would complain?",
            "Each side gets its own grid, and neither sees what it is judged by.",
        ),
        "And the winner is judged by seeds that had no part in the choice.",
    ),
)
