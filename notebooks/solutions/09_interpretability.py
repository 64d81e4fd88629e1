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
# # 9 · Interpretability: exercises
#
# Replace the dots with your answer and run the cell. `hint.nine_cells()` gives a hint, a second call another,
# and after two tries `solution.nine_cells()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 9](../09_interpretability.ipynb). All of it takes about a quarter of an hour.

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
from scipy.stats import spearmanr

from classroom.checks import check, hint, solution

# %% [markdown]
# ## 9.1 Nine cells
#
# The class activation map of a seven has the nine cells 9, 11, 11, 15, 17, 18, 14, 14, 13 for its class. What is
# the logit?

# %%
answer = np.mean([9, 11, 11, 15, 17, 18, 14, 14, 13])  # solution
check.nine_cells(answer)

# %% [markdown]
# ## 9.2 What dice agree on
#
# Two pictures of 784 pixels are 0 on the same 644 pixels, and random between 0 and 1 on the other 140.
# What is Spearman's rank correlation of the two? Guess, then simulate.

# %%
rng = np.random.default_rng(0)
one, two = np.zeros((2, 784))  # solution
one[:140], two[:140] = rng.random((2, 140))  # solution
answer = spearmanr(one, two)[0]  # solution
check.dice(answer)
