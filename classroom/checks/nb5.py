"""The exercises of notebook 5: what an accuracy is worth, and whose mistakes they are."""

import re
from functools import cache

from scipy import stats

from classroom.checks.exercise import Exercise, Number, Text, Words, Wrong
from mnist_utils import data, results
from mnist_utils.evaluate import Evaluation, evaluate, mcnemar, wilson_interval
from mnist_utils.label_errors import CORRECTABLE, LABEL_ERRORS


@cache
def _evaluation(recipe: str) -> Evaluation:
    return evaluate(results.network(recipe), data.load(train=False))


def _told_apart() -> frozenset[str]:
    """What McNemar's test says of the two networks of the exercise."""
    _, _, p = mcnemar(_evaluation("reference"), _evaluation("fast"))
    return frozenset({"different" if p < 0.05 else "cannot be told"})


def _inside(second: int, rate: float = 0.006, first: int = 10_000) -> float:
    """Per cent of second tests whose accuracy falls into the first one's Wilson interval."""
    share = 0.0
    for errors in range(20, 120):
        low, high = wilson_interval(errors, first)
        inside = [k for k in range(200) if low <= 1 - k / second <= high]
        share += stats.binom(first, rate).pmf(errors) * stats.binom(second, rate).pmf(inside).sum()
    return 100 * share


def _apart() -> float:
    """Points by which 95% of pairs of tests differ at most: 10,000 digits each, true rate 99.4%."""
    counts = stats.binom(10_000, 0.006).pmf(range(200))
    differences = [  # of the pairs' errors, smallest first
        sum(counts[k] * counts[k + d] for k in range(200 - d)) * (2 if d else 1) for d in range(99)
    ]
    return next(d for d in range(99) if sum(differences[: d + 1]) >= 0.95) / 100


def _shared() -> int:
    """Of the digits that seed 0 of `course` misreads: how many some other seed misreads as well."""
    first, *others = (set(run["mistakes"]) for run in results.runs("course"))
    return len(first & set().union(*others))


def _as_if_independent() -> int:
    """The same, if every seed drew its mistakes anew."""
    first, *others = (run["errors"] for run in results.runs("course"))
    missed_by_none = 1.0
    for errors in others:
        missed_by_none *= 1 - errors / 10_000
    return round(first * (1 - missed_by_none))


def _of_all_seeds() -> str:
    """How few different digits the seeds of `course` misread."""
    runs = results.runs("course")
    different = len(set().union(*(run["mistakes"] for run in runs)))
    right = 1.0
    for run in runs:
        right *= 1 - run["errors"] / 10_000
    return (
        f"All {len(runs)} seeds together misread {different} different digits; independent ones "
        f"would misread some {10_000 * (1 - right):.0f}."
    )


def _counts() -> tuple[int, int, int]:
    """`course`'s errors: all, those on the 15 doubtful digits, those where people agree with it."""
    result = _evaluation("course")
    doubtful = {error.index for error in LABEL_ERRORS}
    agreed = [e for e in CORRECTABLE if int(result.predictions[e.index]) == e.suggested]
    return result.n_errors, len(doubtful & set(result.mistakes.tolist())), len(agreed)


def _corrected() -> float:
    """Per cent right with the ten labels corrected and the five others left out."""
    errors, on_doubtful, agreed = _counts()
    wrong = errors - on_doubtful + len(CORRECTABLE) - agreed
    return 100 * (1 - wrong / (10_000 - 5))


def _of_the_labels() -> list[Wrong]:
    errors, on_doubtful, agreed = _counts()
    wrong_of_ten = len(CORRECTABLE) - agreed
    outside = errors - on_doubtful
    return [
        Wrong(
            "all 15 left out",
            100 * (1 - outside / 9_985),
            "That answers another question: the ten that people agree on stay, with the new label.",
        ),
        Wrong(
            "only those it gets right now",
            100 * (1 - (errors - agreed) / 10_000),
            "Correcting a label also turns right answers into errors; and five digits are left "
            "out.",
        ),
        Wrong(
            "all 15 forgiven",
            100 * (1 - (errors - 15) / 10_000),
            "Not all of its errors are on these digits, nor does it misread all of them.",
        ),
        Wrong(
            "of 10,000",
            100 * (10_000 - 5 - outside - wrong_of_ten) / 10_000,
            "The right errors; but five digits are left out, so that 9,995 remain.",
            lambda given: abs(given - 100 * (9_995 - outside - wrong_of_ten) / 10_000) < 0.003,
        ),
        Wrong(
            "nothing corrected",
            100 * (1 - errors / 10_000),
            "That is the plain accuracy, of the labels as they are.",
        ),
    ]


EXERCISES = (
    Exercise(
        "another",
        Number(1.5, percent=True),
        lambda: _inside(1_000),
        lambda: (
            Wrong(
                "the interval of the rate",
                95.0,
                "95% is for the true rate. The second test has luck of its own.",
            ),
            Wrong(
                "the answer for 10,000",
                _inside(10_000),
                "So it is for a second test of as many digits. Fewer digits have more luck.",
            ),
        ),
        (
            "Draw pairs of error counts from the same binomial distribution.",
            "Errors of 10,000 and of 1,000: rng.binomial(n, 0.006, size=20_000) for each n.",
        ),
        "On 1,000 digits one error more or less is a tenth of a point: most accuracies miss the "
        "interval.",
    ),
    Exercise(
        "apart",
        Number(0.015),
        _apart,
        lambda: (
            Wrong(
                "half an interval",
                0.15,
                "That far one accuracy strays from the true rate. Here both stray.",
            ),
            Wrong(
                "errors for points",
                100 * _apart(),
                "So many errors; of 10,000 digits, what share is that?",
                lambda given: given > 5,
            ),
            Wrong(
                "two intervals",
                0.3,
                "Both accuracies would have to be unlucky at once, and in opposite directions.",
            ),
        ),
        (
            "Draw pairs once more, both of 10,000 digits, and take the size of the difference.",
            "np.quantile(np.abs(one - two) / 10_000, 0.95), in per cent.",
        ),
        "√2 times the 0.15 of a single test: chance alone can part two papers that far if they "
        "used different digits; on the same digits, pair them.",
    ),
    Exercise(
        "overlap",
        Words(("different", "not different", "cannot be told"), one=True),
        _told_apart,
        (
            Wrong(
                "they overlap, so they are alike",
                frozenset({"not different"}),
                "The intervals are for digits drawn anew. Both networks saw the same ones: "
                "compare digit by digit.",
            ),
            Wrong(
                "they overlap, so nothing can be told",
                frozenset({"cannot be told"}),
                "The digits are paired: count those that only one of the two misreads.",
            ),
        ),
        (
            "Which digits does only one of the two misread?",
            "mcnemar(one, other) counts them, and gives p.",
        ),
        "Pairing takes the luck of the digits out of the comparison.",
    ),
    Exercise(
        "shared",
        Number(),
        _shared,
        lambda: (
            Wrong(
                "as if independent",
                _as_if_independent(),
                "So few there would be if each training drew its mistakes anew.",
            ),
            Wrong(
                "all of them",
                len(results.runs("course")[0]["mistakes"]),
                "Not quite all: a few belong to this training alone.",
            ),
        ),
        (
            "results.runs('course') has the `mistakes` of every seed.",
            "set(first) & (set(second) | set(third) | …)",
        ),
        lambda _: _of_all_seeds(),
    ),
    Exercise(
        "pooled",
        Text(),
        "They are the same 10,000 digits, read again. What is hard for one seed is hard for most, "
        "so that new seeds add hardly any new evidence about other digits; Wilson's formula "
        "takes every trial for an independent one, and its interval would be too narrow.",
        (
            Wrong(
                "more data, smaller interval",
                "There is more data, and with more data the interval has to be smaller.",
                "More readings, yes. Of how many different digits?",
                lambda text: (
                    bool(re.search(r"(more|larger|bigger) (data|n\b|sample|digits)", text, re.I))
                    and not re.search(r"same|independen|again|correlat|different", text, re.I)
                ),
            ),
        ),
        (
            "What does Wilson's formula assume about the trials?",
            "You have just counted how many of the misread digits the seeds share.",
        ),
        "Does yours say that the trials are not independent, because the digits are the same?",
    ),
    Exercise(
        "hundred",
        Number(0.06, percent=True),
        lambda: 100 * wilson_interval(0, 100)[0],
        (
            Wrong(
                "no errors, no doubt",
                100.0,
                "The normal formula gives ±0 here. A rate of 98% passes 100 digits one time in "
                "eight.",
            ),
            Wrong(
                "right answers for errors",
                100 * wilson_interval(100, 100)[1],
                "Its first argument counts errors, and you have none.",
                lambda given: given < 5,
            ),
            Wrong(
                "the rule of three",
                97.0,
                "3/n is a good rule for a one-sided limit. The question is for both sides.",
            ),
        ),
        ("wilson_interval(errors, n) works for no errors, too.", "wilson_interval(0, 100)[0]"),
        "Two more nines take a hundred times as many images: 10,000 of 10,000 gives 99.96%.",
    ),
    Exercise(
        "both_figures",
        Number(0.004),
        _corrected,
        _of_the_labels,
        (
            "Count the wrong ones among the 9,995: its errors outside the 15, and those of the "
            "ten where it does not say what people say.",
            "wrong = errors outside the 15 + correctable digits where it disagrees; divide by "
            "9,995.",
        ),
        "Beside other people's figures you print the plain one: theirs has the same labels in it.",
    ),
    Exercise(
        "calibrated",
        Words(("too sure", "too unsure", "cannot be told", "perfectly calibrated"), one=True),
        "659404243cbfea03",
        (
            Wrong(
                "a point is no interval",
                frozenset({"too sure"}),
                "How well do so few digits know their accuracy?",
            ),
            Wrong(
                "a point is no interval, either way",
                frozenset({"too unsure"}),
                "How well do so few digits know their accuracy?",
            ),
            Wrong(
                "not refuted is not proven",
                frozenset({"perfectly calibrated"}),
                "The interval is wide: many other accuracies lie in it as well.",
            ),
        ),
        (
            "Compare the mean confidence with Wilson's interval of the share that was right.",
            "Call wilson_interval(9, 276). Is 96.7% inside? What else is?",
        ),
        "An error of one or two points would mostly not have been seen with so few digits.",
    ),
)
