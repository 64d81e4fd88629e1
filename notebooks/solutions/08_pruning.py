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
# # 8 · Pruning: exercises
#
# Replace the dots with your answer, then run the cell. `hint.zeros()` gives a hint, a second call another,
# and after two tries `solution.zeros()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 8](../08_pruning.ipynb). All of it takes about a quarter of an hour.

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
from itertools import pairwise

from classroom.checks import check, hint, solution

# %% [markdown]
# ## 8.1 What a zero weighs
#
# A matrix of 20,480 weights in float32, nine tenths of them pruned to zero, is written to a file as it is. How
# many bytes of numbers does the file hold?

# %%
answer = 20_480 * 4  # solution
check.zeros(answer)

# %% [markdown]
# ## 8.2 Half of the channels
#
# CourseNet has 5,610 parameters: a 5×5 stem of 16 channels without biases, then four blocks, each a depthwise
# 3×3 and a 1×1 convolution without biases and a BatchNorm, to 32 channels; then a 1×1 head with biases. BatchNorm
# follows the stem, too. How many parameters are left with 8 channels after the stem and 16 after each block?

# %%
widths = [8, 16, 16, 16, 16]  # solution
blocks = sum(9 * i + i * o + 2 * o for i, o in pairwise(widths))  # solution
answer = 25 * 8 + 2 * 8 + blocks + 16 * 10 + 10  # solution
check.half_channels(answer)
