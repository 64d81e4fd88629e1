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
# # 2b · The arithmetic of receptive fields: exercises
#
# Paper and pencil first. Replace the dots with your answer and run the cell. Many mistakes are traced to the
# belief behind them. `hint.pool()` gives a hint, a second call another, and after two tries
# `solution.pool()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 2b](../02b_receptive_fields.ipynb). All of it takes about an hour.

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
from classroom.checks import check, hint, solution

# %% [markdown]
# ## 2.6 A pool
#
# Three 3×3 convolutions, then a 2×2 pool of stride 2. How many pixels does one unit see, along an axis?

# %%
answer = 8  # solution
check.pool(answer)

# %% [markdown]
# ## 2.7 Two strides
#
# Two 3×3 convolutions of stride 2, and nothing else. How many pixels does a unit of the second see?

# %%
answer = 3 + (3 - 1) * 2  # solution
check.two_strides(answer)

# %% [markdown]
# ## 2.8 Padding
#
# Model3 again, but every 3×3 convolution has padding 1. Three numbers: what does a unit of the last 3×3
# convolution see, how large is its map (one side), and what does a logit see, after the mean over that map?

# %%
answer = [24, 14, 24 + (14 - 1) * 2]  # solution
check.padding(answer)

# %% [markdown]
# ## 2.9 The start
#
# A 5×5 convolution with stride 2 and padding 1 on 28 pixels, then a 3×3 convolution without padding. Three numbers, along
# one axis: how many units has the second map, where is its start (the centre of the first unit's field; the first pixel's
# centre is 0), and which is the first pixel of that unit's field?

# %%
answer = [13 - 2, 1 + 1 * 2, 3 - 4]  # solution
check.start(answer)

# %% [markdown]
# ## 2.10 Move the pool
#
# The layers of 2.6 in another order: the pool first, then the three convolutions. What does a unit see?

# %%
answer = 2 + 3 * (3 - 1) * 2  # solution
check.pool_first(answer)

# %% [markdown]
# ## 2.11 The whole table
#
# Model3: three 3×3 convolutions, a 2×2 pool of stride 2, four 3×3 convolutions, the mean over what is left.
# Give one row for each of the nine: map size, receptive field, jump, and start, the centre of the first
# unit's field (the first pixel's centre is 0). Your field is drawn as stairs before it is judged.

# %%
answer = [
    (26, 3, 1, 1.0),  # solution
    (24, 5, 1, 2.0),  # solution
    (22, 7, 1, 3.0),  # solution
    (11, 8, 2, 3.5),  # solution
    (9, 12, 2, 5.5),  # solution
    (7, 16, 2, 7.5),  # solution
    (5, 20, 2, 9.5),  # solution
    (3, 24, 2, 11.5),  # solution
    (1, 28, 6, 13.5),  # solution
]
check.table(answer)

# %% [markdown]
# ## 2.12 Holes
#
# A 2×2 mean of stride 2, then two 3×3 convolutions of dilation 2. A unit's field is a box of 18 × 18 = 324
# pixels. How many of these does it read?

# %%
offsets = {a + b for a in (0, 2, 4) for b in (0, 2, 4)}  # solution
answer = (2 * len(offsets)) ** 2  # solution
check.holes(answer)

# %% [markdown]
# Now let the first of the two have dilation 1 and the second 2. What is the field along one axis, and how
# many pixels of the box are read?

# %%
answer = [2 + 4 + 8, 14**2]  # solution
check.mixed_holes(answer)

# %% [markdown]
# ## 2.13 Two paths
#
# After Model3's pool (field 8, jump 2) somebody puts a block: its input is added to two 3×3 convolutions of it, each with
# padding 1. What does a unit of the sum see, along an axis?

# %%
answer = 8 + 2 * (3 - 1) * 2  # solution
check.two_paths(answer)

# %% [markdown]
# ## 2.14 One large kernel
#
# One k×k convolution is to replace five of 3×3, all of stride 1, with the same number of channels everywhere. Two numbers:
# how large must k be to see as much, and how many times as many weights does it have?

# %%
answer = [1 + 5 * 2, 11**2 / (5 * 3**2)]  # solution
check.large_kernel(answer)

# %% [markdown]
# ## 2.15 Attention to neighbours
#
# An image of 28 pixels is cut into 7×7 patches of 4×4 pixels. Two layers of attention follow, in which each patch attends
# to itself and its eight neighbours only. What does an output in the middle see, along an axis?

# %%
answer = 4 + 2 * (3 - 1) * 4  # solution
check.tokens(answer)
