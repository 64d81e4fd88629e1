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
# # 7 · The learning rate: exercises
#
# Replace the dots with your answer, then run the cell. `hint.cycle()` gives a hint, a second call another,
# and after two tries `solution.cycle()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 7](../07_learning_rate.ipynb). All of it takes about a quarter of an hour.

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

from classroom.checks import check, hint, solution

# %% [markdown]
# ## 7.1 On its way
#
# One cycle of 1,000 steps: the rate grows to 0.01 in the first 250, then falls along half a cosine to 0. What
# is it after step 500?

# %%
answer = 0.01 * (1 + math.cos(math.pi * (500 - 250) / 750)) / 2  # solution
check.cycle(answer)

# %% [markdown]
# ## 7.2 A fair comparison
#
# You compare a constant rate with one cycle. Which comparison is fair: `"both at the rate 0.01"`, `"each at its
# best rate on validation digits"`, `"each at its best rate on test digits"`, or `"both at the author's rate"`?

# %%
answer = "each at its best rate on validation digits"  # solution
check.fair(answer)
