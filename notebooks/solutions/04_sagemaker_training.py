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
# # 4 · Jobs and endpoints: exercises
#
# No account is needed. Replace the dots with your answer and run the cell. `hint.weekend()` gives a hint,
# a second call another, and after two tries `solution.weekend()` shows our answer; likewise for the others.
#
# Before you begin: [notebook 4](../04_sagemaker_training.ipynb). All of it takes about twenty minutes.

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
# ## 4.1 The weekend
#
# Forty trials of at most 15 minutes each, on an `ml.g4dn.xlarge` at $0.7364 an hour; or one endpoint on an
# `ml.m5.large` at $0.115 an hour, deployed on Friday at 17:00 and remembered on Monday at 9:00. What does
# each cost, in dollars?

# %%
answer = [40 * 15 / 60 * 0.7364, (7 + 24 + 24 + 9) * 0.115]  # solution
check.weekend(answer)

# %% [markdown]
# ## 4.2 Lost, and billed again
#
# AWS takes the spot machine back in the middle of epoch 3 of 5. What has to be computed a second time? One
# of `"nothing"`, `"the rest of epoch 3"`, `"what was done of epoch 3"`, `"epochs 1 to 3"`, `"everything"`.

# %%
answer = "what was done of epoch 3"  # solution
check.spot(answer)

# %% [markdown]
# What must a checkpoint hold for the resumed run to end as the other would have, bit for bit? List all that
# apply: `"weights"`, `"batchnorm statistics"`, `"optimizer moments"`, `"moving average"`, `"epochs done"`,
# `"random numbers"`.

# %%
answer = [
    "weights",  # solution
    "batchnorm statistics",  # solution
    "optimizer moments",  # solution
    "moving average",  # solution
    "epochs done",  # solution
]
check.checkpoint(answer)

# %% [markdown]
# ## 4.3 What a pattern reads
#
# SageMaker reads metrics from the log: it searches each line for a regular expression and takes the first
# group. Write one that finds the validation accuracy in lines like

# %%
print("epoch=1 train_accuracy=0.8765 validation_loss=0.0987 validation_accuracy=0.9712 seconds=3.2")

# %%
answer = r"validation_accuracy=([0-9.]+)"  # solution
check.pattern(answer)
