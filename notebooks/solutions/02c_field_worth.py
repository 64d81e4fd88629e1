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
# # 2c · What a field is worth: exercises
#
# Replace the dots with your answer and run the cell. Many mistakes are traced to the belief behind them.
# `hint.where()` gives a hint, a second call another, and after two tries `solution.where()` shows our answer; likewise
# for the others.
#
# Before you begin: [notebook 2c](../02c_field_worth.ipynb). All of it takes about 45 minutes.

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
# ## 2.16 Where, or whether
#
# Before its head, a unit of Model1 sees 14 pixels, and one of Model3 24; yet Model1 is more accurate.
# Why? Answer in a sentence or two, in quotes. Only you can mark this one; ours is printed beside it.

# %%
answer = "The dense head keeps the places of the parts; GAP can only count them."  # solution
check.where(answer)

# %% [markdown]
# ## 2.17 One ruler
#
# Take the mean of the gradient's *absolute value* as the effective field of a random Model3: its σ is about
# 5 pixels, but theory says 3.95. What puts that right? One of `"leave relu out"`, `"pool by the mean"`,
# `"take more digits"`, `"square the gradient"`.

# %%
answer = "square the gradient"  # solution
check.ruler(answer)

# %% [markdown]
# ## 2.18 Find the confounder
#
# `12C5-MP2-24C3` has a field of 10 and 3,214 parameters and reads 95.9%. `12C5-MP2-12C3-MP2-12C3` has a field of 20 and 3,094
# parameters and reads 98.8%. Both were trained by one recipe, on the same digits. Which of these differ between the two as
# well, and might explain it: `"depth"`, `"last map"` (its size), `"channels"` (of the last map), `"parameters"` (by
# more than 5%), `"recipe"`, `"digits"`?

# %%
answer = ["depth", "last map", "channels"]  # solution
check.confounder(answer)

# %% [markdown]
# ## 2.19 Build the control
#
# What is depth worth at a field of 10 pixels? `16C5-MP2-16C3` has two convolutions and 2,938 parameters. Which would you
# train beside it?
#
# - `"a"`: `15C5-MP2-15C3-15C1-15C1`
# - `"b"`: `16C5-MP2-16C3-16C1-16C1`
# - `"c"`: `10C5-MP2-10C3-10C3-10C3`
# - `"d"`: `16C5-MP2-16C3` again, for twice as many epochs

# %%
answer = "a"  # solution
check.control(answer)

# %% [markdown]
# ## 2.20 Fewer errors
#
# In way A, at four convolutions and 3,000 parameters, a field of 10 reads 97.55% and one of 22 reads 98.65%. What share of
# the errors has gone, in per cent?

# %%
answer = 100 * (98.65 - 97.55) / (100 - 97.55)  # solution
check.fewer(answer)

# %% [markdown]
# ## 2.21 Two probes
#
# Model3's pool: a probe on the means of its maps reads 67.6% of the digits, one on a 3×3 grid of means 98.5%. What follows?
# One of `"the layer knows little"`, `"the mean loses where things are"`, `"the field is large enough"`,
# `"the network is untrained"`.

# %%
answer = "the mean loses where things are"  # solution
check.probe(answer)

# %% [markdown]
# ## 2.22 What the cut says
#
# The network whose fields reach 60 pixels was cut after 28 pixels and retrained: 60% more errors (36% to 89%). "So the
# layers that see more than the image are needed." Does that follow? One of `"yes, errors grew by 60%"`,
# `"yes, their fields are larger"`, `"no, the parameters were halved as well"`, `"no, three seeds say nothing"`.

# %%
answer = "no, the parameters were halved as well"  # solution
check.cut_layers(answer)
