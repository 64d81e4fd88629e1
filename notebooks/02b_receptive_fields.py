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
# # 2b · The arithmetic of receptive fields
#
# **Which pixels does one unit see?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebook 2a: kernel, map, pool | 1 minute to run, 30 to read; paper and pencil | nothing |
#
# A unit is computed from a patch of the image and from nothing else. That patch is its **receptive
# field**. Its size and position follow from the layers alone, so you can work them out on paper before
# anything is trained. Notebook 2c measures what a field is worth.

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
import torch
from torch import nn

from classroom.lab import Lab
from mnist_utils import chains, data, models, plots
from mnist_utils import receptive_field as paper
from mnist_utils.receptive_field import Window, receptive_field
from receptive import describe

# %% [markdown]
# ## Your bench
#
# Run the next cell and keep the lab at hand. Each row is a layer. Change a kernel, a stride or a pool, and
# the columns *map, field, jump, start* follow: this notebook explains these four. Tasks for the lab are at
# the end. (Without a kernel, the same lab is a web page: open [lab.html](lab.html) in a browser,
# [more](LAB.md). Its *expected accuracy* is explained in notebook 2c.)
# %% tags=["nbval-ignore-output"]
lab = Lab("16C5-MP2-16C3")
lab

# %% [markdown]
# ## Two layers overlap
#
# A unit of a second 3×3 layer reads nine units of the first, three in each direction. What do they see
# together? Here are the first of the nine, the last, and all of them:

# %%
seven = data.load(train=False).images[0] / 255
boxes = {
    "the first": ((10, 12), (10, 12)),
    "the last": ((12, 14), (12, 14)),
    "all nine": ((10, 14), (10, 14)),
}
ax = plots.fields_on_digit(seven, boxes)
ax.set(
    xlim=(3.5, 21.5), ylim=(21.5, 3.5), xticks=range(4, 22, 4), yticks=range(4, 22, 4)
)
plots.keep(
    ax,
    "02_overlap",
    "On a seven, two squares of 3 pixels that share one, in the corners of one of 5.",
)

# %% [markdown]
# ## Field and jump
#
# A unit of the first layer sees 3 pixels along each axis; a unit of the second reads three units that
# overlap, and sees 5. A pool moves on by 2 units at a time, its **stride**. That doubles the step between
# the fields of neighbours, the **jump** (Araujo et al. call it *effective stride*), and from then on each
# layer reaches twice as far:
#
# - the field grows by `(kernel_size − 1) · jump`,
# - then the jump is multiplied by the stride.
#
# **What do you expect after three 3×3 convolutions and a pool?**

# %%
field, jump = 1, 1
for kernel_size, stride in [(3, 1), (3, 1), (3, 1), (2, 2)]:
    field += (kernel_size - 1) * jump
    jump *= stride
    print(f"kernel {kernel_size}, stride {stride}: field {field}, jump {jump}")

# %% [markdown]
# The pool itself adds only one pixel. It doubles the jump, not the field.
#
# `receptive_field` does this for a list of layers, one `Window` each. Four more convolutions, now at
# jump 2, add 4 pixels each. The last step is **global average pooling** (GAP): the mean over the 3×3 units
# that are left, a window of 3 like any other one.

# %%
conv, pool, mean = Window(3), Window(2, stride=2), Window(3, stride=3)
chain = [conv] * 3 + [pool] + [conv] * 4 + [mean]
fields = [receptive_field(chain[: depth + 1])[0] for depth in range(len(chain))]
fields

# %% tags=["hide-input"]
assert fields == [3, 5, 7, 8, 12, 16, 20, 24, 28]

# %% [markdown]
# This is Model3, the network of the README with which this course began. A unit before GAP sees 24 pixels,
# and the last one 28: exactly the image.
#
# ## Map and start
#
# Two more columns say how many units there are, and where they look.
#
# - **Map**: a kernel of k on n units fits in n − k + 1 places. Padding p adds 2p units for it to lie
#   on; a stride keeps one place in s and drops the remainder; dilation d spreads the kernel over
#   d·(k − 1) + 1 units. Together: ⌊(n + 2p − d·(k − 1) − 1) / s⌋ + 1.
# - **Start**: the centre of the first unit's field. The middle of a kernel lies d·(k − 1)/2 units after its
#   first, and padding moves the kernel p units to the left. So start grows by (d·(k − 1)/2 − p) · jump.
#
# In both, as in the field, *jump* is the jump before the layer. Here are all four columns:


# %%
def table(windows, size=28):
    """(map, field, jump, start) after each layer, along one axis."""
    field, jump, start, rows = 1, 1, 0, []
    for window in windows:
        reach = window.dilation * (window.kernel_size - 1)
        size = (size + 2 * window.padding - reach - 1) // window.stride + 1
        field += reach * jump
        start += (reach / 2 - window.padding) * jump
        jump *= window.stride
        rows.append((size, field, jump, start))
    return rows


# %%
for window, (size, field, jump, start) in zip(chain, table(chain), strict=True):
    where = f"map {size:2}, field {field:2}, jump {jump}, start {start}"
    print(f"kernel {window.kernel_size}: {where}")

# %% [markdown]
# Unit u of a map has its centre at start + u · jump; its field reaches (field − 1)/2 to either side.
# Fields of even size have their centre between two pixels: hence the halves.
#
# Now give every 3×3 convolution padding 1, and let the mean read all that is left. **Which of the four
# columns change, and which units' fields leave the image?**

# %%
padded = [Window(3, padding=1)] * 3 + [pool] + [Window(3, padding=1)] * 4
size, field, jump, start = table(padded)[-1]
first, last = (start + unit * jump for unit in (0, size - 1))
for name, centre in (("first", first), ("last", last)):
    low, high = centre - (field - 1) / 2, centre + (field - 1) / 2
    print(f"the {name} unit sees pixels {low:.0f} to {high:.0f} of 0 to 27")

# %% tags=["hide-input"]
assert field == table(chain)[-2][1]
assert (size, start) == (14, 0.5)
assert table(padded) == paper.table(padded)  # the package's, which the exercises use

# %% [markdown]
# Map and start change; field and jump do not. **Padding does not enlarge a field. It moves it, and lets it hang
# over the edge**, where it reads zeros. Here the first unit's field of 24 already has 11 pixels outside.
#
# ## The same, read off the network
#
# On paper, layers get forgotten. `describe` follows the data through any PyTorch module. k, s, p and d are
# kernel size, stride, padding and dilation; the last column counts multiply-adds, the topic of notebook 3. (The
# head is a **1×1 convolution**: it mixes the channels at one place and sees no neighbours.)

# %%
network = describe(models.build("Model3"), (1, 28, 28))
network

# %%
kinds = ("Conv2d", "MaxPool2d", "AdaptiveAvgPool2d")
layers = [row for row in network.rows if row.kind in kinds][:-1]  # without the head
read = [(r.output_shape[-1], r.receptive_field, r.jump, r.start) for r in layers]
names = [row.name for row in layers]

# %%
assert [row[:2] for row in read] == [row[:2] for row in table(chain)]
assert [row[2:] for row in read[:-1]] == [row[2:] for row in table(chain)[:-1]]

# %%
plots.keep(
    plots.staircase(names, [row[1] for row in read]),
    "02_staircase",
    "Field by layer: 3, 5, 7, 8 at the pool, then by fours to 28.",
)

# %% [markdown]
# The stairs are shallow before the pool and steep after it. This is what the middle unit of some layers sees
# in a real digit:


# %%
def middle_box(row):
    """((top, bottom), (left, right)): the pixels that the middle unit of a row sees."""
    centre = row.start + row.output_shape[-1] // 2 * row.jump
    first = round(centre - (row.receptive_field - 1) / 2)
    return ((first, first + row.receptive_field - 1),) * 2


# %%
some = (7, 12, 20, 24, 28)
boxes = {row.name: middle_box(row) for row in layers if row.receptive_field in some}
plots.keep(
    plots.fields_on_digit(seven, boxes),
    "02_fields_on_digit",
    "A seven, and over it what units see: squares of 7, 12, 20, 24 and all 28 pixels.",
)

# %% [markdown]
# ## Two paths
#
# The source's README also speaks of *residual* connections: the input of some layers is added to their
# output. Then two paths lead to a unit. Its field is all that either path sees, so the longer path decides.
# Take a stem of 3×3, then two blocks that each add their input to two 3×3 convolutions. **How large is the
# field at the end?**


# %%
class Block(nn.Module):
    """x, plus two convolutions of x."""

    def __init__(self, channels):
        super().__init__()
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        self.path = nn.Sequential(convs[0], nn.ReLU(), convs[1])

    def forward(self, x):
        return x + self.path(x)


# %%
residual = describe(nn.Sequential(nn.Conv2d(1, 8, 3), Block(8), Block(8)), (1, 28, 28))
sums = [row for row in residual.rows if len(row.inputs) > 1]
for row in sums:
    print(f"{row.name} adds {' and '.join(row.inputs)}: field {row.receptive_field}")

# %% tags=["hide-input"]
assert [row.receptive_field for row in sums] == [7, 11]

# %% [markdown]
# 3 + 2·4 = 11. But of four routes only one passes both blocks; two pass one block and see 7 pixels, one passes none
# and sees 3. So a residual network's field is a *mixture*, and the number gives only the largest. Both paths must
# have the same jump and the same start, or the sum adds units from different places. Padding ensures that here;
# without it the maps would not even be the same size.
#
# And Model3? Here are its rows that read two others:

# %%
sums = [row.name for row in network.rows if len(row.inputs) > 1]
len(sums)

# %% tags=["hide-input"]
assert not sums

# %% [markdown]
# None: whatever that README says, the network is a plain chain. (Our Model3 follows `src/model_3.py` in
# [its repository](https://github.com/anirudh-s97/session_7).)
#
# ## Four ways to a larger field
#
# Five versions of a 5×5 convolution and a second one: **whose second convolution is cheapest, and which has
# the largest field?** (`8C5-MP2-8C3` is 8 channels of 5×5, a 2×2 max pool, 8 channels of 3×3; `s2` is a stride and `d2` a dilation of 2.)

# %%
for notation in ("8C5-8C3", "8C5-8C5", "8C5-8C3d2", "8C5s2-8C3", "8C5-MP2-8C3"):
    rows = describe(chains.build(chains.rows(notation)), (1, 28, 28)).rows
    last = [row for row in rows if row.kind == "Conv2d"][1]
    side, parameters = last.output_shape[-1], last.parameters
    shape = f"field {last.receptive_field:2}, map {side:2}, jump {last.jump}"
    print(f"{notation:12} {shape}, {parameters:,} parameters, {last.macs:7,} MACs")

# %% [markdown]
# - A **larger kernel** costs parameters and multiply-adds (MACs).
# - **Dilation** costs neither. It spreads nine weights over 5×5 units.
# - A **stride** or a **pool** makes all later layers cheaper and their steps longer; the price is a coarser
#   map. The pool keeps the largest of four units, the stride never computes three of the four.
#
# They can be combined, and each changes something besides the field: a field never changes *alone*.
# Keep that in mind for notebook 2c.
#
# ## Spanned and read
#
# Dilation has a catch. FieldNet18Dilated is a 2×2 mean and two 3×3 convolutions of dilation 2: a field
# of 18×18 pixels. **How many of these 324 does one unit read?**

# %%
for name in ("FieldNet18Dilated", "FieldNet26Dilated"):
    rows = describe(models.build(name))
    last = [row for row in rows.rows if row.kind == "Conv2d"][-2]
    read, spanned = last.pixels_read
    seen, image = rows["gap"].pixels_read or (784, 784)
    assert spanned == last.receptive_field**2
    print(f"{name}: a unit reads {read} of {spanned} pixels, all {seen} of {image}")

# %% [markdown]
# The weights lie on a grid, and both layers use the *same* grid: what falls between is never read. With
# dilation 3 the whole network is blind to half of the image, whatever its weights. A dilated layer leaves
# no holes if its step, dilation · jump, is no larger than the field before it: then the gaps are filled already. So
# dilation 1, then 2, is safe where 2, then 2, is not.

# %%
mixed = [Window(2, stride=2), Window(3), Window(3, dilation=2)]
for before, window in ((mixed[:1], mixed[1]), (mixed[:2], mixed[2])):
    field, jump = receptive_field(before)
    assert window.dilation * jump <= field
    print(f"step {window.dilation * jump}, field before it {field}: no holes")

# %% [markdown]
# ## A whole field in one layer
#
# Seven 3×3 convolutions see 15 pixels; so does one 15×15 (Ding et al. 2022 go up to 31×31). With 10 channels:

# %%
small = 7 * sum(p.numel() for p in nn.Conv2d(10, 10, 3, bias=False).parameters())
large = sum(p.numel() for p in nn.Conv2d(10, 10, 15, bias=False).parameters())
thin = sum(p.numel() for p in nn.Conv2d(10, 10, 15, groups=10, bias=False).parameters())
print(f"seven 3×3: {small:,} weights; one 15×15: {large:,}")
print(f"one 15×15 on each channel alone: {thin:,}")

# %%
assert receptive_field([Window(3)] * 7) == receptive_field([Window(15)])

# %% [markdown]
# And **attention**, the layer of transformers, compares each patch of the image with all others and adds up
# what they say, each weighted by how well it fits. Here the image is cut into 4×4 patches of 7 pixels. **What does one
# output see?**


# %%
class Attention(nn.Module):
    """Patches of 7×7 pixels, each a vector of 16, and one layer of attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, kernel_size=7, stride=7)
        self.attention = nn.MultiheadAttention(16, num_heads=1, batch_first=True)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)  # (N, 16 patches, 16)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


# %%
describe(Attention(), (1, 28, 28))

# %% [markdown]
# Everything, after one layer: 7 pixels before it, 28 after. Where a field comes in one step, the question
# is no longer how large it is, but how it is used.
#
# ## A real network
#
# ResNet-50 (He et al. 2016) reads images of 224 pixels. **How much does a unit of its last map see?** (Below
# torchvision's version with random weights: a field does not depend on them.)

# %%
from torchvision.models import resnet50

torch.manual_seed(0)
stages = describe(resnet50(weights=None).eval(), (3, 224, 224))
for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
    row = stages[name]
    size = f"map {row.output_shape[-1]:3}, field {row.receptive_field:3}"
    print(f"{name:8} {size}, jump {row.jump:2}, start {row.start}")

# %% tags=["hide-input"]
assert stages["layer4"].receptive_field == 427

# %% [markdown]
# 427 of 224: nearly twice the image, on paper. All starts are 0, so padding everywhere keeps the two paths of
# each block aligned. And 427 is the longest of very many routes: each of its 16 blocks can be bypassed.
#
# ## At the bench
#
# Go back to the lab. **Predict before each change:**
#
# 1. In "small: two layers", what is the last convolution's field? Put a max pool below row 7, and below that a 3×3
#    convolution with BatchNorm and ReLU. What is the field now, and the map?
# 2. Give the first convolution padding 2. Which columns change?
# 3. Reach a field of exactly 28 with three convolutions of 3×3 and as many pools as you like.
# 4. Reach 20 pixels or more without a pool, a stride or holes. What does it cost in MACs?
#
# Whatever you designed, `chains.build(lab.rows)` is its network.
#
# ## What was shown
#
# - field += d·(k − 1)·jump; start += (d·(k − 1)/2 − p)·jump; then jump *= s. Map: ⌊(n + 2p − d·(k − 1) − 1)/s⌋ + 1.
# - Padding changes map and start, never the field.
# - Where two paths meet, the longer one gives the field, and both must have the same jump and start.
# - Spanned is not read: a dilated layer leaves holes unless the field before it covers its step.
# - A large kernel or attention sees everything in one layer; ResNet-50 sees more than its image.
#
# Your turn: [exercises](exercises/02b_receptive_fields.ipynb), pools, strides, padding, paths, holes, and a
# whole table by hand.
#
# Next: [2c · What a field is worth](02c_field_worth.ipynb)
