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
# # 3 · Parameters and work: exercises
#
# Paper and pencil first. Replace the dots with your answer and run the cell. `hint.poster()` gives a hint,
# a second call another, and after two tries `solution.poster()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 3](../03_parameter_counting.ipynb). All of it takes about half an hour.

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
# ## 3.1 One large, or two small
#
# From 10 channels to 10, with biases: how many parameters are in one 5×5 convolution, and how many in two
# 3×3 convolutions, one after the other? (Both see 5 pixels.)

# %%
answer = [10 * 10 * 25 + 10, 2 * (10 * 10 * 9 + 10)]  # solution
check.two_threes(answer)

# %% [markdown]
# ## 3.2 A poster
#
# Model3 reads an image of 56 × 56. How many parameters and how many multiply-adds does it need? (On
# 28 × 28: 6,016 and 1,164,180.)

# %%
maps = [54, 52, 50, 23, 21, 19, 17]  # solution
weights = [90, 900, 900, 900, 900, 900, 1080]  # solution
work = sum(side**2 * count for side, count in zip(maps, weights, strict=True))  # solution
answer = [6_016, work + 120]  # solution
check.poster(answer)

# %% [markdown]
# ## 3.3 A bias too many?
#
# BatchNorm subtracts the mean of its input, so a bias just before it does nothing. How many of Model3's
# parameters could be left out for this reason, without changing what it can compute?

# %%
answer = 0  # solution
check.bias(answer)

# %% [markdown]
# ## 3.4 In two steps
#
# From 32 channels to 32, without biases. How many weights has a 3×3 convolution, how many have a depthwise
# 3×3 and a 1×1 together, and how many times fewer is that? And how many pixels in each direction does a unit
# after the two see of the map before them?

# %%
whole, in_two = 32 * 32 * 9, 32 * 9 + 32 * 32  # solution
answer = [whole, in_two, whole / in_two, 3]  # solution
check.separable(answer)

# %% [markdown]
# ## 3.5 Work is not time
#
# Model1 needs twice as many multiply-adds as Model3, and has six times as many parameters. How many times as
# long does it take, by the speeds stored in `results/bench.json`?

# %%
import json

from mnist_utils.files import RESULTS

speeds = json.loads((RESULTS / "bench.json").read_text())["images_per_cpu_second"]
answer = speeds["Model3"] / speeds["Model1"]  # solution
check.seconds(answer)

# %% [markdown]
# ## 3.6 A budget
#
# Give Model3 another width w in place of its 10 channels (the last convolution keeps its 12). What is the
# largest w with fewer than 8,000 parameters?


# %%
def parameters(w):
    """Of Model3 with w channels."""
    return 10 * w + 5 * (9 * w * w + w) + 108 * w + 12 + 12 * w + 24 + 130  # solution


answer = max(w for w in range(1, 50) if parameters(w) < 8_000)  # solution
check.budget(answer)
