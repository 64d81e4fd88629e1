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
# # 3 · Counting parameters
#
# **Where do 6,016 parameters and 1.16 million multiply-adds sit?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebooks 2b and 2c | 1 minute to run, 15 to read, paper and pencil | nothing |
#
# We do the main parameter counts twice: by the arithmetic that you would do on paper, and by asking
# PyTorch. If the two disagree, a cell fails. PyTorch does not count multiply-adds; for these we have paper
# and this course's `describe`.

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
import json

from torch import nn

from classroom.second_opinion import torchsummary_table, torchsummary_total
from mnist_utils import models, plots, results
from mnist_utils.files import RESULTS
from mnist_utils.parameters import conv2d_macs, conv2d_parameters, linear_parameters
from receptive import describe

# %% [markdown]
# ## A convolution, on paper
#
# A layer reads 10 channels and makes 10 maps. For each map it has one **filter**: a 3×3 kernel for each of the
# 10 channels, and one constant added to the sum, the **bias**. How many weights does the layer have, and
# how many biases? Write your answer down before you run the cell.

# %%
by_hand = 10 * 10 * 3 * 3 + 10
layer = nn.Conv2d(in_channels=10, out_channels=10, kernel_size=3)
by_hand

# %%
assert (
    by_hand
    == conv2d_parameters(10, 10, 3)
    == sum(p.numel() for p in layer.parameters())
)

# %% [markdown]
# The first 10 counts the filters, the second the channels that *each* of them reads, the last the biases. The image's size
# appears nowhere: a convolution has the same number of weights for a stamp as for a poster.
#
# ## A whole network
#
# BatchNorm adds a scale and a shift per channel; ReLU, pooling and Dropout add nothing. So the
# source's network is five terms of arithmetic:

# %%
stem = 10 * 1 * 3 * 3 + 10
middle = 5 * (10 * 10 * 3 * 3 + 10)
last = 12 * 10 * 3 * 3 + 12
norms = 6 * 2 * 10 + 2 * 12
head = 10 * 12 * 1 * 1 + 10
total = stem + middle + last + norms + head

# %%
model = models.build("Model3")
print(f"{stem} + {middle} + {last} + {norms} + {head} = {total:,}")

# %%
assert total == sum(p.numel() for p in model.parameters()) == 6_016

# %% [markdown]
# Three quarters are in five equal layers. `describe` does the same arithmetic for every layer of
# any network:

# %%
network = describe(model, (1, 28, 28))
for row in network.rows:
    if row.parameters:
        print(f"{row.name:15} {row.parameter_formula}")

# %% tags=["hide-input"]
assert network.parameters == total
assert 0.75 < middle / total < 0.76

# %% [markdown]
# ## What a dense head would have cost
#
# The source left out a dense head. A dense layer reads every unit of the last map;
# global average pooling (GAP) with a 1×1 convolution reads one mean per channel. Here are both heads, on
# Model3's last map and on that of Model1, the first network of notebook 2c:

# %%
for name, (channels, side) in {"Model3": (12, 3), "Model1": (32, 8)}.items():
    dense = linear_parameters(channels * side * side, 10)
    gap_head = conv2d_parameters(channels, 10, 1)
    print(
        f"{name}'s map {channels}×{side}×{side}: dense {dense:,}, GAP and 1×1 "
        f"{gap_head}"
    )

# %%
model1 = sum(p.numel() for p in models.build("Model1").parameters())
print(f"{dense / model1:.0%} of Model1's {model1:,} parameters are its dense head")

# %%
assert dense == 32 * 8 * 8 * 10 + 10 == 20_490 > 3 * total

# %% [markdown]
# A dense head is expensive on a large map: Model1's alone costs more than three Model3s. What it brings in
# return, notebook 2c measured on Model2:

# %%
with_dense, with_gap = (
    results.summary(f"ladder/{name}") for name in ("Model2Dense", "Model2")
)
gain = 100 * (with_dense["mean"] - with_gap["mean"])
print(
    f"{with_gap['parameters']:,} parameters, with a dense head "
    f"{with_dense['parameters']:,}"
)
print(f"{gain:+.1f} points of accuracy, mean of {with_dense['n']} seeds")

# %% [markdown]
# (One explanation is that it knows where things are.)
#
# ## A convolution in two cheaper steps
#
# Each filter of a convolution looks at all channels and all nine places at once. A **depthwise-separable**
# convolution looks at places first, with a 3×3 kernel for each channel alone (*depthwise*), and then at
# channels, with a 1×1 convolution that mixes them; it can express less. CourseNet's blocks, most of them with
# 32 channels, are made of these. **How many times fewer weights does this need?**

# %%
guess = ""  # yours, times

# %%
whole_layer = 32 * 32 * 3 * 3
in_two = 32 * 1 * 3 * 3 + 32 * 32 * 1 * 1
depthwise = nn.Conv2d(32, 32, kernel_size=3, groups=32, bias=False)
print(
    f"{whole_layer:,} weights at once, {in_two:,} in two steps: "
    f"{whole_layer / in_two:.1f} times fewer; your guess: {guess or '–'}"
)

# %%
assert depthwise.weight.numel() == 32 * 1 * 3 * 3

# %% [markdown]
# ## Parameters are not work
#
# A **multiply-add** (MAC) is one weight used once; only those of convolutions and dense layers are counted. A
# convolution uses each of its weights at every place of its output, so of two layers with equally many
# weights the one with the larger map does more work:

# %%
macs = 10 * 10 * 3 * 3 * 22 * 22  # the third convolution: 900 weights, 22 × 22 places
print(f"{macs:,} of {network.macs:,} MACs")

# %%
assert macs == conv2d_macs(10, 10, 3, 22, 22) == network["block1.2.0"].macs
assert network.macs == 1_164_180

# %%
for name in ("block1", "block2", "block3"):
    parameters = network[name].parameters_inside / total
    macs = network[name].macs_inside / network.macs
    print(f"{name}: {parameters:5.1%} of the parameters, {macs:5.1%} of the MACs")

# %%
rows = [row for row in network.rows if row.kind == "Conv2d"]
shares = {
    "parameters": [row.parameters / total for row in rows],
    "MACs": [row.macs / network.macs for row in rows],
}
plots.keep(
    plots.shares(
        [row.name for row in rows], shares, ylabel="share (BatchNorm not drawn)"
    ),
    "03_parameters_and_macs",
    "Six of eight convolutions have about 15% of the parameters each; two, in block1, "
    "do most work.",
)

# %% [markdown]
# Six of Model3's eight convolutions hold nearly equal shares of the parameters; two of them do four fifths
# of the work, and nearly nine tenths of it happen before the pool. **To compute less, look at the large maps; to store less, at the wide layers.** The `fast` recipe
# of this course starts with a stride, and so its 15,674 parameters need less work than Model3's 6,016:

# %%
fast = describe(models.build("FastNet"), (1, 28, 28))
print(f"FastNet: {fast.parameters:,} parameters, {fast.macs:,} MACs")

# %% tags=["hide-input"]
assert 0.85 < network["block1"].macs_inside / network.macs < 0.9
assert fast.parameters == 15_674
assert fast.macs < network.macs

# %% [markdown]
# ## Work is not time
#
# Is a network with half the multiply-adds twice as fast? CourseNet and FastNet need nearly the same
# number, Model1 twice as many as Model3. **Which pair is closer in speed?** The speeds below are stored
# (`make bench`): images per second on one processor core, batches of 1,000, medians of three rounds; measured
# twice on one day, the same network differed by up to a tenth. Yours will differ, their order less so.
# (SmallNet is a narrower CourseNet.)

# %%
speeds = json.loads((RESULTS / "bench.json").read_text())["images_per_cpu_second"]
macs = {name: describe(models.build(name), (1, 28, 28)).macs for name in speeds}
macs

# %%
for name, speed in speeds.items():
    print(
        f"{name:10} {speed:6,.0f} images and {macs[name] * speed / 1e9:4.1f} billion "
        "MACs a second"
    )

# %% tags=["hide-input"]
assert speeds["FastNet"] > 1.5 * speeds["CourseNet"]
assert speeds["Model1"] > 0.8 * speeds["Model3"]

# %% [markdown]
# The second pair: with twice the multiply-adds, Model1 is some 15% slower than Model3. With as many,
# FastNet is nearly twice as fast as CourseNet. One likely reason is that a processor multiplies fast and
# fetches slowly: Model3 writes its maps and reads them again at seven ReLUs and seven BatchNorms, Model1 at
# four ReLUs (in CourseNet and FastNet, most BatchNorms follow a convolution directly and have been folded into it);
# and a depthwise layer of CourseNet uses each number it fetches only nine times. **Count to
# understand; time to decide.**
#
# ## A second opinion: torchsummary
#
# The package `torchsummary` prints such a table too. On this network the totals agree.

# %%
table = torchsummary_table(model, (1, 28, 28))
print("\n".join(table.splitlines()[-12:-8]))

# %%
assert torchsummary_total(table) == total

# %% [markdown]
# On two others they do not. `torchsummary` adds up `weight` and `bias` at each *call* of a *layer*: a
# layer used twice counts twice, and a parameter of any other name does not count at all.


# %%
class Twice(nn.Module):
    """One convolution, used two times."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(1, 1, kernel_size=3)

    def forward(self, x):
        return self.shared(self.shared(x))


# %%
class Scaled(nn.Module):
    """A convolution, and a learnt scale that belongs to no layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3)
        self.scale = nn.Parameter(self.conv.weight.new_ones(4, 1, 1))

    def forward(self, x):
        return self.conv(x) * self.scale


# %%
for odd in (Twice(), Scaled()):
    true = sum(p.numel() for p in odd.parameters())
    theirs = torchsummary_total(torchsummary_table(odd, (1, 28, 28)))
    ours = describe(odd, (1, 28, 28)).parameters
    assert ours == true != theirs
    print(
        f"{type(odd).__name__:7} has {true}; describe says {ours}, torchsummary "
        f"{theirs}"
    )

# %% [markdown]
# ## What was shown
#
# - A convolution has `out·in·k·k + out` parameters, whatever the image's size, and uses each weight
#   once at every place of its output.
# - Parameters are where layers are wide, multiply-adds where weights meet large maps; seconds have to be
#   measured.
# - A convolution in two steps, depthwise and 1×1, needs 1/9 + 1/(channels out) of the weights: a seventh at 32.
# - A table is a claim: check it against `numel()`.
#
# Your turn: [exercises](exercises/03_parameter_counting.ipynb), on posters, biases and budgets.
#
# Next: [4 · Training on SageMaker](04_sagemaker_training.ipynb)
