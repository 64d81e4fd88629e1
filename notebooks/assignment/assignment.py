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
# # The assignment: a network for digits
#
# **Fewer than 8,000 parameters, at most 15 epochs, 99.4% consistently. Can you design it?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebooks 1 to 3 and their exercises; 5 for the analysis | an afternoon or two | nothing |
#
# Three networks, each with a target, a result and an analysis, and the receptive-field table of each by
# hand. Work in `submission/`, beside this notebook; the grader tells you at any time where you stand.
#
# ## What to hand in
#
# | file | holds |
# |---|---|
# | `model.py` | classes `Model1`, `Model2`, `Model3`: each changes **one** idea of the one before; it may import other `.py` files that lie beside it |
# | `fields.csv` | one row for each convolution and pool, the global mean included, as long as there is more than one unit to read |
# | `analysis.md` | for each model Target, Result, Analysis, in 3 to 6 lines; then five mistakes of Model3 |
# | `runs/NAME/history.json` | the runs by which you chose, Model3's among them |
# | `training.toml` | if you want another recipe than `course`: `epochs = 12`, `lr = 0.01`, as `python -m mnist_utils.train --help` lists them |
#
# Hand in the folder or a zip of it. A spreadsheet may save `fields.csv` with commas, semicolons or tabs.
#
# In `fields.csv`, `size` is the side of the map, `start` the centre of the first unit's field (the first
# pixel's centre is 0). The first rows of a Model3 as in notebook 2b would be

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
from pathlib import Path

print(Path("submission/fields.csv").read_text(), end="")
print("Model3,conv1,3,1,0,1,26,3,1,1", "Model3,conv2,3,1,0,1,24,5,1,2", sep="\n")

# %% [markdown]
# ## What a network may be made of
#
# The grader runs `model.py` once, writes down which layers and functions `forward` calls, and builds the
# network again, with weights of its own. So only these can be in it:
#
# **Layers** of `torch.nn`: AdaptiveAvgPool2d, AdaptiveMaxPool2d, AlphaDropout, AvgPool2d, BatchNorm1d, BatchNorm2d, CELU, ChannelShuffle, CircularPad2d, ConstantPad2d, Conv2d, ConvTranspose2d, Dropout, Dropout1d, Dropout2d, ELU, Flatten, GELU, GroupNorm, Hardsigmoid, Hardswish, Hardtanh, Identity, InstanceNorm2d, LayerNorm, LeakyReLU, Linear, LogSoftmax, MaxPool2d, Mish, PReLU, PixelShuffle, PixelUnshuffle, ReLU, ReLU6, ReflectionPad2d, ReplicationPad2d, SELU, SiLU, Sigmoid, Softmax, Softplus, Tanh, Unflatten, Upsample, ZeroPad2d.
#
# **Functions and methods**: abs, adaptive_avg_pool2d, adaptive_max_pool2d, amax, amin, avg_pool2d, cat, celu, channel_shuffle, chunk, clamp, clone, concat, contiguous, detach, dropout, dropout2d, elu, exp, expand, expand_as, flatten, flip, gelu, group_norm, hardsigmoid, hardswish, hardtanh, interpolate, layer_norm, leaky_relu, log, log_softmax, logsumexp, max, max_pool2d, mean, min, mish, movedim, narrow, normalize, pad, permute, pixel_shuffle, pixel_unshuffle, relu, relu6, reshape, rsqrt, selu, sigmoid, silu, softmax, softplus, split, sqrt, square, squeeze, stack, std, sum, swapaxes, tanh, transpose, unbind, unflatten, unsqueeze, var, view; indexing and arithmetic.
#
# Shapes are numbers, and `if` may ask for them; it may not ask for the values of the digits. A number with
# which a network computes (a factor, a slope, a bound; not a rate of dropout) counts as a parameter. Each
# network has at least three convolutions and pools. `model.py` describes networks; it cannot read data.
#
# ## What "consistently" means
#
# A single accuracy of 99.4% on 5,000 digits is a matter of luck, the seed's and the digits'. So the grader
# trains `Model3` itself, three times, on the first 55,000 training digits; it averages the validation
# accuracy over the three seeds and their last three epochs, asks for 99.40% in the mean and 99.20% each, and
# prints the interval for other seeds. That lessens the first luck. The second stays, since all of them read
# the same 5,000 digits, so aim a little higher. How often does a true rate pass *one* look at them?

# %%
from scipy.stats import binom

for rate in (0.994, 0.995):
    share = binom.cdf(30, 5_000, 1 - rate)
    print(
        f"true rate {rate:.1%}: at most 30 errors of 5,000 in {share:.0%} of the looks"
    )

# %% [markdown]
# The test digits are looked at once, when your teacher grades the class. You never see them: choose on
# the validation digits.
#
# ## Train one of your networks
#
# Put your class where `CourseNet` stands: `sys.path.insert(0, "submission")`, then `from model import
# Model3`. With `QUICK = False` it trains for 15 epochs, on a laptop in a minute or two; the run then
# belongs into `submission/runs/`.

# %%
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

from mnist_utils import models
from mnist_utils.recipes import RECIPES
from mnist_utils.train import train

QUICK = True

# %%
models.NETWORKS["mine"] = models.CourseNet
settings = replace(
    RECIPES["course"], model="mine", epochs=15, validation=5_000, evaluate_every=1
)
if QUICK:
    settings = replace(settings, epochs=2, subset=6_000, share=1.0)
out = Path(tempfile.mkdtemp()) if QUICK else Path("submission/runs/first")
with redirect_stdout(StringIO()) as log:
    run = train(settings, out)
print(log.getvalue())

# %% [markdown]
# ## Where do I stand?
#
# In a terminal, at the top of the repository:
#
# ```
# python -m classroom.grade notebooks/assignment/submission --quick --html report.html
# python -m classroom.grade notebooks/assignment/submission --html report.html
# ```
#
# The first takes half a minute and tells all but the accuracy; the second trains Model3 three times, as your
# teacher's grading does, and takes some minutes. The page shows which entries of your table are wrong and
# which belief leads there, never the right number, and the validation digits that Model3 misreads.
#
# ## Points
#
# | points | for | by |
# |---|---|---|
# | 10 | budget: all three below 8,000 parameters (half: Model3 alone) | grader |
# | 10 | epochs: at most 15, in one run (half: at most 20) | grader |
# | 20 | accuracy: 99.40% in the mean and 99.20% each (half: 99.20% in the mean) | grader |
# | 5 | honesty: `runs/` chosen on the 5,000 validation digits, each whole, its last epoch reported; Model3's ends where the grader's trainings do | grader |
# | 20 | table: agrees with `describe` (half: one or two mistakes, each counted once) | grader |
# | 5 | steps: three networks that compute different things, each with target, result, analysis in your words | grader |
# | 10 | one idea a step, its target written before its result | teacher |
# | 15 | analysis: your own numbers with n and spread; one thing that did not help | teacher |
# | 5 | five mistakes, looked at; label errors recognised | teacher |
#
# ## What was shown
#
# - A design is a chain of decisions, each of which can be measured.
# - An accuracy without its n, its spread and the digits it was chosen on is no result.
#
# Next: fewer parameters. Our `small` has 1,973, and after 20 epochs makes as many errors on the test digits as
# 99.4% allows, give or take a few.
