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
# # 1 · The data: exercises
#
# Replace the dots in each cell with your answer, then run it. A wrong answer is told why it is wrong.
# `hint.corner()` gives a hint, a second call another, and after two tries `solution.corner()` shows
# our answer; likewise for the others. The notebook stops at the first exercise that is not solved.
#
# Before you begin: [notebook 1](../01_data.ipynb). All of it takes about half an hour.

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
from mnist_utils import data

train, test = data.load(train=True), data.load(train=False)

# %% [markdown]
# ## 1.1 The corner
#
# A digit was standardised, `Normalize(0.1307, 0.3081)`, and *then* turned, with `fill=1`. How bright are
# its corners, from 0 (black) to 1 (white)? Work it out on paper, to three digits.

# %%
answer = 1 * 0.3081 + 0.1307  # solution
check.corner(answer)

# %% [markdown]
# Which `fill` would have made them black?

# %%
answer = (0 - 0.1307) / 0.3081  # solution
check.black_fill(answer)

# %% [markdown]
# ## 1.2 Is 22 enough?
#
# Every digit is at most 20 pixels long. What percentage of the training digits lies wholly inside
# the central square of 22 × 22? Guess first, then let the cell measure it.

# %%
ink = train.images.long()
inside = ink[:, 3:25, 3:25].sum((1, 2)) == ink.sum((1, 2))  # solution
answer = 100 * inside.double().mean()  # solution
check.window(answer)

# %% [markdown]
# ## 1.3 The lazy network
#
# A network says "1" whatever it is shown. What is its accuracy on the test digits, in per cent?

# %%
answer = 100 * (test.labels == 1).double().mean()  # solution
check.lazy(answer)

# %% [markdown]
# ## 1.4 Which changes keep the label?
#
# List those of `"rotation by 10"`, `"rotation by 180"`, `"mirror"`, `"shift by 2"`, `"shear by 0.1"` and
# `"invert"` (black for white) after which every digit's label still holds. (In degrees and pixels.)

# %%
answer = ["rotation by 10", "shift by 2", "shear by 0.1", "invert"]  # solution
check.label_keeping(answer)

# %% [markdown]
# ## 1.5 Repeat or not?
#
# Two workers draw the same 200 random changes, again in every epoch: the trap of notebook 1. Now they load
# 400 *different* digits, reshuffled in each of 4 epochs, half each. Of the 1,600 images, what
# percentage is new? (A digit gets one of 200 changes, four times.)

# %%
rng = np.random.default_rng(0)  # solution
draws = rng.integers(200, size=(100_000, 4))  # solution
answer = 100 * np.mean([len(set(row)) / 4 for row in draws])  # solution
check.repeats(answer)
