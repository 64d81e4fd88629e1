# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
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
# | notebook 2 | 1 minute to run, 15 to read, paper and pencil | nothing |
#
# Every count here is done twice: by the arithmetic that you would do on paper, and by asking
# PyTorch. If the two disagree, a cell fails.

# %%
from torch import nn

from mnist_utils import models, plots
from mnist_utils.describe import describe
from mnist_utils.parameters import (
    conv2d_macs,
    conv2d_parameters,
    linear_parameters,
    torchsummary_table,
    torchsummary_total,
)

# %% [markdown]
# ## A convolution, on paper
#
# A 3×3 kernel over 10 channels, for 10 filters. How many weights, how many biases? Write your
# answer down before you run the cell.

# %%
by_hand = 10 * 10 * 3 * 3 + 10
layer = nn.Conv2d(in_channels=10, out_channels=10, kernel_size=3)
assert by_hand == conv2d_parameters(10, 10, 3) == sum(p.numel() for p in layer.parameters())
by_hand

# %% [markdown]
# Each filter looks at *all* ten channels: that is where the first 10 comes from. The image's size
# appears nowhere: a convolution has as many weights for a stamp as for a poster.
#
# ## A whole network
#
# BatchNorm adds a scale and a shift a channel; ReLU, pooling and Dropout add nothing. So the
# source's network is ten lines of arithmetic:

# %%
stem = 1 * 10 * 3 * 3 + 10
middle = 5 * (10 * 10 * 3 * 3 + 10)
last = 10 * 12 * 3 * 3 + 12
norms = 6 * 2 * 10 + 2 * 12
head = 12 * 10 * 1 * 1 + 10
total = stem + middle + last + norms + head

# %%
model = models.build("Model3")
assert total == sum(p.numel() for p in model.parameters()) == 6_016
print(f"{stem} + {middle} + {last} + {norms} + {head} = {total:,}")

# %% [markdown]
# Three quarters sit in five equal layers. `describe` writes the same arithmetic for every layer of
# any network:

# %%
network = describe(model, (1, 28, 28))
for row in network.rows:
    if row.parameters:
        print(f"{row.name:15} {row.parameter_formula}")

# %%
assert 0.75 < middle / total < 0.76
assert network.parameters == total

# %% [markdown]
# ## What a dense head would have cost
#
# The source's best decision is what it left out. Its last map is 12×3×3; Model1, the skeleton of
# notebook 2, ends at 32×8×8 and flattens it into a dense layer of ten outputs:

# %%
dense = linear_parameters(32 * 8 * 8, 10)
model1 = sum(p.numel() for p in models.build("Model1").parameters())
assert dense == 32 * 8 * 8 * 10 + 10 == 20_490
print(f"{dense:,} of Model1's {model1:,} parameters: {dense / model1:.0%}")

# %% [markdown]
# One dense layer costs more than three whole Model3. Global average pooling and a 1×1 convolution
# do the same job for

# %%
gap_head = conv2d_parameters(12, 10, 1)
assert dense > 3 * total
gap_head

# %% [markdown]
# parameters.
#
# ## Parameters are not work
#
# A **multiply-add** (MAC) is one weight used once. A convolution uses each of its weights at every
# place of its output, so early layers, with their large maps, are dear:

# %%
macs = 10 * 10 * 3 * 3 * 22 * 22  # the third convolution: 900 weights at 22 × 22 places
assert macs == conv2d_macs(10, 10, 3, 22, 22) == network["block1.2.0"].macs
assert network.macs == 1_164_180
print(f"{macs:,} of {network.macs:,} MACs")

# %%
blocks = {name: network[name] for name in ("block1", "block2", "block3", "head")}
for name, block in blocks.items():
    parameters, work = (
        (block.parameters_inside, block.macs_inside) if block.container
        else (block.parameters, block.macs)
    )  # fmt: skip
    print(
        f"{name:7} {parameters / total:5.1%} of the parameters, {work / network.macs:5.1%} of the MACs"
    )

# %%
rows = [row for row in network.rows if row.kind == "Conv2d"]
figure = plots.plot_shares(
    [row.name for row in rows],
    {"parameters": [row.parameters / total for row in rows],
     "MACs": [row.macs / network.macs for row in rows]},
    ylabel="share of the network",
).figure  # fmt: skip
plots.keep(figure, "03_parameters_and_macs")

# %% [markdown]
# Most of the parameters sit behind the pool, most of the work before it. **To make a network smaller, look at its
# end; to make it faster, look at its beginning.** That is why the fast recipe of this course starts
# with a stride, and why its 17,274 parameters need less work than Model3's 6,016:

# %%
fast = describe(models.build("FastNet"), (1, 28, 28))
assert fast.parameters == 17_274
assert fast.macs < network.macs
print(f"FastNet: {fast.parameters:,} parameters, {fast.macs:,} MACs")

# %% [markdown]
# ## A second opinion: torchsummary
#
# The package `torchsummary` prints such a table, too. On this network the totals agree.

# %%
table = torchsummary_table(model, (1, 28, 28))
assert torchsummary_total(table) == total
print("\n".join(table.splitlines()[-12:-8]))

# %% [markdown]
# On two others they do not: a layer that is used twice, and a bare `nn.Parameter`.


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
    print(f"{type(odd).__name__:7} has {true}; describe says {ours}, torchsummary {theirs}")

# %% [markdown]
# ## What was shown
#
# - A convolution has `out·in·k·k + out` parameters, whatever the image's size, and uses each weight
#   once at every place of its output.
# - Parameters crowd at the end of a network, multiply-adds at its beginning.
# - A table is a claim: hold it against `numel()`.
#
# Next: [4 · Training on SageMaker](04_sagemaker_training.ipynb)
