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
# # 5 · Mistakes and their intervals: exercises
#
# Replace the dots with your answer, then run the cell. `hint.another()` gives a hint, a second call
# another, and after two tries `solution.another()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 5](../05_misclassification.ipynb). All of it takes about an hour.

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
import numpy as np

from classroom.checks import check, hint, solution
from mnist_utils import data, results
from mnist_utils.evaluate import evaluate, mcnemar, wilson_interval
from mnist_utils.label_errors import CORRECTABLE, LABEL_ERRORS

test = data.load(train=False)
networks = {name: evaluate(results.network(name), test) for name in ("reference", "fast", "course")}

# %% [markdown]
# ## 5.1 Another ten thousand
#
# A network's true rate is 99.4%. It is tested on 10,000 digits, and Wilson's 95% interval is drawn around
# the accuracy found. Then it is tested on only 1,000 other digits. In what percentage of cases does
# the second accuracy fall into that interval? Guess, then simulate.

# %%
rng = np.random.default_rng(0)
first = rng.binomial(10_000, 0.006, size=20_000)  # solution
second = rng.binomial(1_000, 0.006, size=20_000)  # solution
ends = np.array([wilson_interval(errors, 10_000) for errors in range(150)])[first]  # solution
accuracy = 1 - second / 1_000  # solution
answer = 100 * ((ends[:, 0] <= accuracy) & (accuracy <= ends[:, 1])).mean()  # solution
check.another(answer)

# %% [markdown]
# Take two networks of this rate, each tested on 10,000 digits of its own: by how many points do their
# accuracies differ at most, in 95% of such pairs?

# %%
one, two = rng.binomial(10_000, 0.006, size=(2, 20_000))  # solution
answer = np.quantile(np.abs(one - two) / 100, 0.95)  # solution
check.apart(answer)

# %% [markdown]
# ## 5.2 They overlap
#
# Two networks, tested on the same 10,000 digits:

# %%
for name in ("reference", "fast"):
    low, high = networks[name].interval
    print(f"{name:10} {networks[name].n_errors} errors, 95% from {low:.2%} to {high:.2%}")

# %% [markdown]
# At p < .05, are these two networks `"different"` or `"not different"`, or is it `"cannot be told"`? Ask the
# digits.

# %%
print(mcnemar(networks["reference"], networks["fast"]))  # solution
answer = "different"  # solution
check.overlap(answer)

# %% [markdown]
# ## 5.3 A hundred and fifty thousand?
#
# `course` was trained with fifteen seeds. Of the digits that seed 0 misreads, how many does at least one of the
# others also misread? First say what you would expect if each training drew new mistakes.

# %%
first, *others = (set(run["mistakes"]) for run in results.runs("course"))
answer = len(first & set().union(*others))  # solution
check.shared(answer)

# %% [markdown]
# Fifteen seeds, 10,000 digits: why is it wrong to give Wilson's interval of all their errors with n = 150,000?

# %%
answer = "All seeds read the same digits and stumble over the same ones: no independent trials."  # solution
check.pooled(answer)

# %% [markdown]
# ## 5.4 A hundred of a hundred
#
# Your network reads 100 of 100 digits right. What is the lower end of Wilson's 95% interval, in per cent?

# %%
answer = 100 * wilson_interval(0, 100)[0]  # solution
check.hundred(answer)

# %% [markdown]
# ## 5.5 Corrected labels
#
# What is the accuracy of `course` if the ten correctable labels are corrected, and the other five of the 15
# left out? Answer in per cent, to two decimal places.

# %%
predicted = networks["course"].predictions
wrong = set(networks["course"].mistakes.tolist()) - {e.index for e in LABEL_ERRORS}  # solution
wrong |= {e.index for e in CORRECTABLE if predicted[e.index] != e.suggested}  # solution
answer = 100 * (1 - len(wrong) / 9_995)  # solution
check.both_figures(answer)

# %% [markdown]
# ## 5.6 Calibrated?
#
# A network is 96.7% sure of 276 digits, on average, and 267 of them are right. What has been shown:
# `"too sure"`, `"too unsure"`, `"perfectly calibrated"`, or `"cannot be told"`?

# %%
print(wilson_interval(9, 276))  # solution
answer = "cannot be told"  # solution
check.calibrated(answer)
