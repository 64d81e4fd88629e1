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
# # 2a · A convolution, and a network that learns: exercises
#
# In the first you build something: write a function, and it is tried on images of many sizes until it does
# what PyTorch does. Put your code in place of the dots. `hint.convolution()` gives a hint, and after
# two tries `solution.convolution()` shows ours.
#
# Before you begin: [notebook 2a](../02a_training.ipynb). It takes about 45 minutes.

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

import torch

from classroom.checks import check, hint, solution

# %% [markdown]
# ## 2.1 Convolve
#
# The specification, in words: the unit at row r and column c is the sum of `image[r + i, c + j] ·
# kernel[i, j]` over all i and j; there is one for every place at which the kernel lies wholly inside the
# image. `image` has any height and width, `kernel` is square; both are tensors, and so is the map.


# %%
def convolve(image, kernel):
    """The map of a kernel over an image, without padding."""
    size = kernel.shape[0]  # solution
    rows, columns = (length - size + 1 for length in image.shape)  # solution
    units = torch.zeros(rows, columns)  # solution
    for r in range(rows):  # solution
        for c in range(columns):  # solution
            units[r, c] = (image[r : r + size, c : c + size] * kernel).sum()  # solution
    return units  # solution


check.convolution(convolve)

# %% [markdown]
# Try it on anything you like. Here is a blur on a small cross:

# %%
cross = torch.zeros(5, 5)
cross[2, :] = cross[:, 2] = 1
convolve(cross, torch.full((3, 3), 1 / 9))

# %% [markdown]
# ## 2.2 The gap
#
# The reference reads 98.46% of its digits while it trains, and 99.25% of the test digits afterwards. Which
# of these help to explain that: `"better generalisation"`, `"dropout"`, `"augmentation"`,
# `"batch statistics"` (those of BatchNorm), `"unfinished weights"`, `"an easier test set"`?

# %%
answer = ["dropout", "augmentation", "batch statistics", "unfinished weights"]  # solution
check.gap(answer)

# %% [markdown]
# ## 2.3 The first loss
#
# A network is to read handwritten capital letters, A to Z, about equally many of each. Which loss do you expect before
# its first step?

# %%
answer = math.log(26)  # solution
check.first_loss(answer)

# %% [markdown]
# ## 2.4 Moved
#
# A 3×3 convolution, a 2×2 pool of stride 2, a 3×3 convolution, a second such pool, then the mean of each map. The image
# is moved to the right by 8 pixels, with its strokes far from all edges. Three numbers: by how many units does the map
# of the first pool move, by how many that of the second, and by how much does each mean change?

# %%
answer = [8 // 2, 8 // 4, 0]  # solution
check.moved(answer)

# %% [markdown]
# ## 2.5 Broken
#
# The small network of notebook 2a, in somebody's script. Its first loss is 2.31. It learns one batch of 64 digits by heart
# in 60 steps at a rate of 0.003. But after ten epochs at that rate it reads 10% of 1,000 new digits, and hardly more of its
# own. What is wrong? One of `"too few epochs"`, `"pixels not standardised"`, `"rate too high"`, `"labels mixed up"`,
# `"too few channels"`.

# %%
answer = "labels mixed up"  # solution
check.broken(answer)
