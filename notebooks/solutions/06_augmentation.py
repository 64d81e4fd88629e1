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
# # 6 · Augmentation: exercises
#
# Replace the dots with your answer and run the cell. `hint.equal_steps()` gives a hint, a second call another,
# and after two tries `solution.equal_steps()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 6](../06_augmentation.ipynb). All of it takes about half an hour.

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
import math
import statistics

import numpy as np

from classroom.checks import check, hint, solution
from mnist_utils import results

# %% [markdown]
# ## 6.1 Equal steps
#
# A training takes nine epochs of 55,000 digits in batches of 128; the last batch of an epoch may be smaller. You
# want to compare 5,000 digits at the same number of steps. How many epochs is that?

# %%
answer = 9 * math.ceil(55_000 / 128) / math.ceil(5_000 / 128)  # solution
check.equal_steps(answer)

# %% [markdown]
# ## 6.2 What is it worth?
#
# Here are the mean errors from the notebook's picture of more digits, where both axes are logarithmic:

# %%
sizes = np.array([1_000, 5_000, 20_000, 55_000])
plain, augmented = (
    np.array(
        [statistics.mean(r["errors"] for r in results.runs(f"data/{n}_{kind}")) for n in sizes]
    )
    for kind in ("plain", "augmented")
)
print("plain", plain.round(1), "augmented", augmented.round(1))

# %% [markdown]
# How many digits without augmentation do as well as 5,000 with it? Read it off straight lines between the
# measured points of that picture.

# %%
found = np.interp(np.log(augmented[1]), np.log(plain[::-1]), np.log(sizes[::-1]))  # solution
answer = np.exp(found)  # solution
check.worth(answer)

# %% [markdown]
# ## 6.3 Five seeds
#
# Here is what the holes add to all the other augmentation, seed by seed, in points of accuracy:

# %%
with_holes, without = (
    [100 * run["held_out_accuracy"] for run in results.runs(name)]
    for name in ("augmentation/all_and_holes", "ablations/course")
)
print([round(a - b, 2) for a, b in zip(with_holes, without, strict=True)])

# %% [markdown]
# Which of these has been shown, at p < .05: `"they help"`, `"they harm"`, or `"cannot be told"`?

# %%
print(results.difference("augmentation/all_and_holes", "ablations/course"))  # solution
answer = "cannot be told"  # solution
check.five_seeds(answer)
