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
# # 10 · Ensembles: exercises
#
# Replace the dots with your answer and run the cell. `hint.three_heads()` gives a hint, a second call another,
# and after two tries `solution.three_heads()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 10](../10_ensembles.ipynb). All of it takes about a quarter of an hour.

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

# %% [markdown]
# ## 10.1 Three heads
#
# Three networks give these probabilities to the classes 0, 1 and 2. Which class does their ensemble name?

# %%
said = [[0.90, 0.05, 0.05], [0.28, 0.42, 0.30], [0.30, 0.44, 0.26]]
answer = np.mean(said, axis=0).argmax()  # solution
check.three_heads(answer)

# %% [markdown]
# ## 10.2 How many ensembles?
#
# You have trained fifteen networks. How many ensembles of five can you make with accuracies independent of
# each other, as far as the training goes?

# %%
answer = 15 // 5  # solution
check.disjoint(answer)

# %% [markdown]
# ## 10.3 The best of all
#
# Somebody makes all 3,003 ensembles of five from fifteen networks, and reports the test accuracy of the best.
# As an estimate of what this ensemble does on other digits, is it `"too high"`, `"too low"`, or `"right on
# average"`?

# %%
answer = "too high"  # solution
check.chosen(answer)
