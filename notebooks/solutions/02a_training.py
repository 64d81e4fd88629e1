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
# The first is built, not answered: write a function, and it is tried on images of many sizes until it does
# what PyTorch does. Put your code in the place of the dots. `hint.convolution()` gives a hint, and after
# two tries `solution.convolution()` shows ours.
#
# Before you begin: [notebook 2a](../02a_training.ipynb). It takes about half an hour.

# %%
import torch

from mnist_utils.checks import check, hint, solution

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
# Try it on what you like. A blur, on a small cross:

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
