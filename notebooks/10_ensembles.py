# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Ensembles
#
# **What do five networks know that one does not?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebook 5; the trained weights in `results/` | 1 minute to run, 25 to read | nothing |
#
# Ask several networks and average their probabilities: that is an **ensemble**. None of its members knows
# more than another, but each has had its own luck. How much of that does a mean remove, and what do they share?
#
# These are test digits. Nothing was chosen on them: who is in which ensemble was fixed in advance, by the
# seed number.

# %% tags=["hide-input"]
import sys
from importlib.util import find_spec
from pathlib import Path

here = Path.cwd().resolve()
sys.path += [str(p) for p in here.parents if (p / "mnist_utils").is_dir()]
if not (find_spec("mnist_utils") and find_spec("torch")):
    raise SystemExit(
        "This notebook needs its course: type `make lab` in the course's folder, "
        "or choose the kernel .venv there."
    )

# %%
import random
import statistics

import torch
from scipy.stats import ttest_ind

from mnist_utils import calibration, data, plots, results
from mnist_utils.evaluate import averaged, evaluate, mcnemar
from mnist_utils.label_errors import LABEL_ERRORS

# %%
test = data.load(train=False)
seeds = [evaluate(results.network("course", seed=seed), test) for seed in range(15)]
errors = [one.n_errors for one in seeds]
print(f"one network: {errors} errors, mean {statistics.mean(errors):.1f}")

# %% [markdown]
# ## Five networks
#
# Here are fifteen trainings of the recipe `course` from fifteen seeds: other first weights, another order of the
# digits, other distortions. They make three ensembles of five with no shared member: seeds 0 to 4, 5 to
# 9, 10 to 14. **What share of a single network's errors does an ensemble of five avoid?**

# %%
guess = ""  # yours, in %

# %%
fives = [averaged(seeds[first : first + 5]) for first in (0, 5, 10)]
print(f"five together: {[five.n_errors for five in fives]} errors")

# %%
accuracies = [five.accuracy for five in fives]
low, high = results.mean_interval(accuracies)
print(f"accuracy {statistics.mean(accuracies):.2%}, 95% {low:.2%} to {high:.2%}")

# %%
alone = [statistics.mean(errors[first : first + 5]) for first in (0, 5, 10)]
fewer = [one - five.n_errors for one, five in zip(alone, fives, strict=True)]
low, high = results.mean_interval(fewer)
print(
    f"{statistics.mean(fewer):.1f} fewer than their members, 95% {low:.1f} to "
    f"{high:.1f}"
)
share = statistics.mean(fewer) / statistics.mean(alone)
print(f"that is {share:.0%} of their errors; your guess: {guess or '–'}%")

# %% [markdown]
# Both intervals are Student's t over the three, for other seeds on these digits, and as wide as three values make
# them. Ensembles differ by their members' luck, so the second, ensemble minus members, says more. For other
# digits, each figure carries another ± 0.12 points (notebook 5).
#
# How many networks are enough? Draw members at random, fifty times for each number. (Two draws of five share a
# third of their members, larger ones more, and there is only one ensemble of fifteen: real ensembles differ more
# than these.)

# %%
chance, counts = random.Random(0), (1, 2, 3, 5, 7, 10, 15)


def drawn(count):
    """The errors of fifty ensembles of so many networks, ascending."""
    return sorted(averaged(chance.sample(seeds, count)).n_errors for _ in range(50))


# %%
found = {count: drawn(count) for count in counts}
means = {count: statistics.mean(values) for count, values in found.items()}
print("  ".join(f"{count}: {mean:.1f}" for count, mean in means.items()))

# %%
ends = [[values[place] for values in found.values()] for place in (2, -3)]
axes = {"xlabel": "networks in the ensemble", "ylabel": "errors of 10,000"}
mean_of = {"mean of 50 draws": list(means.values())}
plots.keep(
    plots.lines(counts, mean_of, bands={"all but two on each side": ends}, **axes),
    "10_members",
    "Errors against the number of members: a steep fall to three or five, then hardly "
    "any.",
)

# %% [markdown]
# The second network brings nearly half the gain of all fifteen, and five bring four fifths. Each costs as much as the
# first, both to train and to ask.
#
# ## What they agree on
#
# If all networks misread the same digits, a mean would change nothing; if each misread others, it would mend
# nearly all. **Of the digits that at least one of the fifteen misreads, what share do all of them misread?**

# %%
guess = ""  # yours, in %

# %%
missed = torch.stack([one.predictions != one.labels for one in seeds]).sum(0)
doubtful = {error.index for error in LABEL_ERRORS}
always = (missed == 15).nonzero().flatten().tolist()

# %%
print(
    f"{(missed > 0).sum()} digits are misread by one network or more, {len(always)} by "
    f"all: {len(always) / (missed > 0).sum():.0%}; your guess: {guess or '–'}%"
)
print(
    f"{len(doubtful.intersection(always))} of these are among notebook 5's 15 doubtful "
    "labels"
)

# %%
titles = [
    f"{test.labels[i]}{'?' * (i in doubtful)} → {seeds[0].predictions[i]}"
    for i in always
]
sheet = plots.images(
    test.images[always] / 255, titles, heading="label → what seed 0 reads"
)
plots.keep(
    sheet,
    "10_always",
    "The ten digits that all fifteen networks misread, six marked doubtful.",
)

# %% [markdown]
# The mean of all fifteen misreads them, too. (It need not: where the wrong answers differ, a mean can be right.) For
# more than half of them people doubt the label as well, marked "?", so reading them "correctly" would prove nothing.
#
# ## Or one network of five times the size?
#
# Five networks of 5,610 parameters have 28,050. WideNet is made like CourseNet, with 80 channels in place of 32:
# 27,450 parameters. It was trained twice as long, from three seeds. **Which is better, five small networks or one
# large one?**

# %%
wide = [
    evaluate(results.network("ensembles/WideNet", seed=seed), test) for seed in range(3)
]
found = [[one.n_errors for one in group] for group in (wide, fives)]
print(f"WideNet: {found[0]} errors, mean {statistics.mean(found[0]):.1f}")
low, high = ttest_ind(*found).confidence_interval()
print(f"WideNet, less five together: 95% {low:.0f} to {high:.0f} errors")

# %%
for five, one in zip(fives, wide, strict=True):
    only_five, only_one, p = mcnemar(five, one)
    print(
        f"{only_five} digits only the five misread, {only_one} only WideNet: p = "
        f"{p:.2f}"
    )

# %% [markdown]
# Three of each cannot say: 37 errors on average for five, 39.3 for one (Student's 95% interval of the difference: −8 to
# 13), and no pair has p < .05. The large network needs one pass instead of five, but with four times the
# multiply-adds; the five can be trained independently, on five machines if you like. (One recipe served
# both; it was made for the small ones.)
#
# ## The same recipe, or five?
#
# The more networks differ, the less their errors should overlap. Take five *recipes*, seed 0 of each. The
# correlation φ says how far their errors coincide: 1 if they misread the same digits, 0 if the errors of one say
# nothing about the other's. **Which φ is larger, and which ensemble is better?**

# %%
recipes = ("reference", "course", "small", "best", "fast")
mixed = [evaluate(results.network(name), test) for name in recipes]
print(
    ", ".join(
        f"{name} {one.n_errors}" for name, one in zip(recipes, mixed, strict=True)
    )
)


# %%
def likeness(members):
    """Mean φ of all pairs."""
    wrong = torch.stack([one.predictions != one.labels for one in members]).double()
    rows, columns = torch.triu_indices(len(members), len(members), 1)
    return wrong.corrcoef()[rows, columns].mean().item()


# %%
five = averaged(mixed)
print(f"five recipes: {five.n_errors} errors, φ = {likeness(mixed):.2f}")
print(f"five seeds:   {fives[0].n_errors} errors, φ = {likeness(seeds[:5]):.2f}")

# %% [markdown]
# φ is smaller: the errors overlap less. (Partly because some recipes err more often: then φ cannot reach 1.) And
# their ensemble misreads fewer digits. But there is *one* of them (n = 1), and it has `best` in it,
# 18,378 parameters, which alone makes 38 errors on average; so this does not show that variety did it.
#
# ## Can we believe an ensemble's confidence?
#
# Where networks disagree, their mean is less sure than they are on average. Notebook 5 compared what a network
# promises with what it makes. **Will five together promise more errors than they make, or fewer?**


# %%
def promise(result):
    """The errors that its confidences promise."""
    return (1 - result.confidence.double()).sum().item()


# %%
for name, result in (("seed 0", seeds[0]), *(("five", five) for five in fives)):
    fitted = calibration.fit_temperature(result.log_probabilities, result.labels)
    promised = f"promises {promise(result):.0f} errors, makes {result.n_errors}"
    print(f"{name:7} {promised}; loss {result.loss:.4f}, best temperature {fitted:.2f}")

# %% [markdown]
# All three promise far more errors than they make: they are too modest, and a temperature below 1 says so. (It is
# fitted here on the digits it is tested on, which will do for a look but not for a claim.) An ensemble has to be
# calibrated again, on held-out digits.
#
# ## What was shown
#
# - Five seeds of one recipe misread 11 digits fewer than their members do alone (n = 3 ensembles); more than five bring
#   little.
# - One network of the size of all five, trained twice as long, could not be distinguished from them.
# - Ten digits are misread by all fifteen networks and by their mean; six of those labels are doubtful.
# - These ensembles promise more errors than they make: calibrate on held-out digits.
#
# Published figures for MNIST go further, with networks much larger than these: about 99.8% for one and 99.9% for an
# ensemble (An et al. 2020, arXiv 2008.10400). Ask of each how often the test digits were looked at, and how the
# members were chosen.
#
# Your turn: [exercises](exercises/10_ensembles.ipynb), votes and means, and how many ensembles fifteen seeds make.
#
# Next: your own. Beat `course` at fewer parameters, with five seeds, and say which interval you print.
