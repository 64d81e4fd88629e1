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
# # 2b · Architecture and receptive fields
#
# **How much of the image must a network see?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebook 1: a digit measures 20 pixels, the image 28; notebook 2a: convolution, pool, loss | 1 minute to run, 40 to read | nothing |
#
# A network that recognises a digit must *see* a digit. How much one unit sees is its **receptive
# field**, and it can be worked out on paper, before anything is trained.

# %%
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from mnist_utils import data, explain, models, plots, results
from mnist_utils.describe import describe
from mnist_utils.receptive_field import Window, receptive_field, variance

# %% [markdown]
# ## Two layers overlap
#
# A unit of a second 3×3 layer reads nine units of the first, three in each direction. What do they see
# between them? The first and the last of the nine, and all together:

# %%
test = data.load(train=False)
seven = test.images[0] / 255
boxes = {
    "the first": ((10, 12), (10, 12)),
    "the last": ((12, 14), (12, 14)),
    "all nine": ((10, 14), (10, 14)),
}
plots.keep(
    plots.fields_on_digit(seven, boxes),
    "02_overlap",
    "On a seven, two squares of 3 pixels that share one, in the corners of a square of 5 pixels.",
)

# %% [markdown]
# ## One recurrence
#
# A unit of the first layer sees 3 pixels along each axis; a unit of the second, on top of three that
# overlap, 5. A pool moves on by 2 units at a time, its **stride**. So it doubles the step between the
# fields of neighbours, the **jump** (Araujo et al. call it *effective stride*), and from then on each
# layer reaches twice as far:
#
# - size grows by `(kernel_size − 1) · jump`,
# - jump is multiplied by the stride.
#
# Try it for three convolutions and a pool. What do you expect?

# %%
size, jump = 1, 1
for kernel_size, stride in [(3, 1), (3, 1), (3, 1), (2, 2)]:
    size += (kernel_size - 1) * jump
    jump *= stride
    print(f"kernel {kernel_size}, stride {stride}: sees {size} pixels, jump {jump}")

# %% [markdown]
# The pool itself adds one pixel, not as many again: doubled is the jump, not the size.
#
# `receptive_field` does the same to a list of layers, a `Window` each. Four more convolutions, now at
# jump 2, add 4 pixels each. The last step is **global average pooling** (GAP): the mean over the
# 3×3 units that are left, which to the recurrence is a window of 3 and adds the rest.

# %%
conv, pool, mean = Window(3), Window(2, stride=2), Window(3, stride=3)
chain = [conv] * 3 + [pool] + [conv] * 4 + [mean]
sizes = [receptive_field(chain[: depth + 1])[0] for depth in range(len(chain))]
assert sizes == [3, 5, 7, 8, 12, 16, 20, 24, 28]
sizes

# %% [markdown]
# **The last one sees 28 pixels: the image, exactly, and without any padding.** That is the source's
# network. Before the mean a unit sees 24. Is that enough for a digit of 20? The digit does not lie
# exactly in the middle, so ask the images: how many lie wholly inside the window of the middle unit,
# and how many inside that of any unit? At jump 2, the windows lie 2 pixels apart.

# %%
ink = data.load(train=True).images.double()
for window in (20, 22, 24, 28):
    starts = range(0, 28 - window + 1, 2)
    places = [(top, left) for top in starts for left in starts]
    inside = [
        ink[:, t : t + window, c : c + window].sum((1, 2)) == ink.sum((1, 2)) for t, c in places
    ]
    half = starts[len(starts) // 2]
    middle, some = inside[places.index((half, half))], torch.stack(inside).any(0)
    shares = f"the middle unit {middle.double().mean():4.0%}, some unit {some.double().mean():4.0%}"
    print(f"{window} pixels, {len(places):2} units, hold digits whole: {shares}")

# %% [markdown]
# At 20 pixels the middle unit cuts three digits in four, at 24 one in eight (the seven below is one of
# these). From 22 pixels on, practically every digit lies whole inside the window of some unit. So 22 or 24
# will do, and neither is a law: the source has 24, the best networks of this course 22. (Of an even number
# of windows the "middle" one is the one just after the middle.)
#
# ## The same, read off the network
#
# On paper we could have forgotten a layer. `describe` follows the data through any PyTorch module;
# k, s, p and d are kernel
# size, stride, padding and dilation, start is the centre of the first unit's field, and the last column
# counts multiply-adds, the business of notebook 3:

# %%
model = models.build("Model3")
network = describe(model, (1, 28, 28))
network

# %%
kinds = ("Conv2d", "MaxPool2d", "AdaptiveAvgPool2d")
layers = [row.name for row in network.rows if row.kind in kinds]
fields = [network[name].receptive_field for name in layers]
assert fields == [*sizes, 28]
fields

# %%
stairs = plots.staircase(layers, fields)
plots.keep(stairs, "02_staircase", "Field by layer: 3, 5, 7, 8 at the pool, then by fours to 28.")

# %% [markdown]
# The stairs are shallow before the pool, steep behind it, and end on the line of the image. The
# source's README also speaks of residual connections. In a residual network the input of some layers
# is added to their output, so there is a row that two others feed. How many are there? (Our Model3
# follows `src/model_3.py` of [the source's repository](https://github.com/anirudh-s97/session_7),
# whose forward pass is a plain chain, too.)

# %%
sums = [row.name for row in network.rows if len(row.inputs) > 1]
assert not sums
len(sums)

# %% [markdown]
# None. Here is what the middle unit of some layers sees of a real digit:


# %%
def middle_box(row):
    """((top, bottom), (left, right)): the pixels that the middle unit of a row sees."""
    centre = row.start + row.output_shape[-1] // 2 * row.jump
    first = round(centre - (row.receptive_field - 1) / 2)
    return ((first, first + row.receptive_field - 1),) * 2


# %%
shown = {
    size: name for name, size in zip(layers, fields, strict=True) if size in (7, 12, 20, 24, 28)
}
boxes = {name: middle_box(network[name]) for name in shown.values()}
plots.keep(
    plots.fields_on_digit(seven, boxes),
    "02_fields_on_digit",
    "A seven, and over it five squares: what units see, from 7 pixels by 12, 20 and 24 to all 28.",
)

# %% [markdown]
# ## "Sees everything" is not "uses everything"
#
# Follow a corner pixel to a logit: in each layer only one place of the kernel touches it, so there is one
# route. From a pixel in the middle there are very many. So middle pixels count for more: over the image,
# the weight of a pixel is a bump, the **effective receptive field** (Luo et al. 2016). Its width is σ, the
# standard deviation of where the weight lies, in pixels. If all weights were equal, and the pool a mean, a
# layer would spread the bump like k equally likely places, whose variance is (k²−1)/12, in units a jump
# apart; and the variances of the layers add up: Σ jump²·(k²−1)/12.

# %%
before_gap, logit = variance(chain[:-1]), variance(chain)
assert round(before_gap, 3) == 12.917
assert round(logit, 3) == 15.583
print(f"σ {before_gap**0.5:.2f} pixels of a 24-pixel field, {logit**0.5:.2f} of 28 at a logit")

# %% [markdown]
# That is the theory, for equal weights. Weights that are drawn at random give the same bump, if one
# takes the *squared* gradient and averages over many networks. (The routes add up by their variances.) So we
# measure everything by the squared gradient, the square of the derivative of the winning **logit** with
# respect to each pixel, averaged over 500 test digits. (On a digit's black background the four units of a max
# pool are often equal. They share the gradient; otherwise rounding would pick one of them, a different one on
# each processor.) Thirty fresh networks, and the trained one. **Will training make the bump wider or narrower?**

# %%
trained = results.network("reference")
digits = data.standardize(test.images[:500])
weight = explain.effective_receptive_field(trained, digits, layer="head")
half, most = (explain.pixels_holding(weight, share) for share in (0.5, 0.95))

before = 0
for seed in range(30):
    torch.manual_seed(seed)
    fresh = models.build("Model3")
    before = before + explain.effective_receptive_field(fresh, digits[:20], layer="head")

# %%
plots.keep(
    plots.effective_field(weight, middle_box(network["head"])),
    "02_effective_field",
    "A bright bump in the middle of the 28-pixel square, fading to black at its edges.",
)

# %%
assert half < 784 / 6
assert all(abs(sigma - logit**0.5) < 0.3 for sigma in explain.spread(before))
assert min(explain.spread(weight)) > 1.2 * logit**0.5
print(f"trained: half of the weight lies in {half} of 784 pixels, 95% in {most}")
for state, w in (("equal weights", None), ("random weights", before), ("trained", weight)):
    sigma = (logit**0.5,) * 2 if w is None else explain.spread(w)
    print(f"{state:15} σ {sigma[0]:.1f} pixels down, {sigma[1]:.1f} across")

# %% [markdown]
# And on one digit: inside the inner line lies half of what moves its logit, inside the outer one
# 95% (a single digit's weights are spiky, so they are averaged over 5×5 pixels first).

# %%
one = explain.effective_receptive_field(trained, digits[:1], layer="head")
smooth = F.avg_pool2d(one[None], 5, 1, 2, count_include_pad=False)[0]
levels = smooth.flatten().sort(descending=True).values
lines = {f"{n:.0%}": levels[explain.pixels_holding(smooth, n)].item() for n in (0.95, 0.5)}

# %%
seen = middle_box(network["head"])
plots.keep(
    plots.effective_field(smooth, seen, image=test.images[0], contours=lines),
    "02_effective_field_on_digit",
    "A seven with two outlines: the inner one in the hollow of its strokes, the outer one around them.",
)

# %% [markdown]
# The dashed square is what the logit *can* see; the bump is what it *uses*. Random weights are nearly as
# wide as the theory says, training widens the bump by a fifth, and still half of the weight falls on less
# than a sixth of the pixels. Design by the theoretical field, and leave room around the object.

# %% [markdown]
# ## The ladder: one idea a step
#
# (One more word: a **1×1 convolution** looks at one place only. It mixes the channels there, and sees no
# neighbours.)
#
# Nobody designs Model3 at once. Three networks, each with a target, a result, and an analysis; each
# trained by one recipe, four epochs, three seeds, and judged on 5,000 validation digits that none
# of them learnt from (`python -m mnist_utils.reproduce ladder/Model1 ladder/Model2 ladder/Model3`).


# %%
def stored(study, name):
    """Parameters, mean and deviation of the stored accuracies in per cent."""
    row = results.summary(f"{study}/{name}")
    return row["parameters"], 100 * row["mean"], 100 * row["deviation"]


# %%
def last_field(name):
    """What a unit of the last feature map sees, pixels."""
    rows = describe(models.build(name), (1, 28, 28)).rows
    maps = [row for row in rows if row.kind == "Conv2d" and row.output_shape[-1] > 1]
    return maps[-1].receptive_field


# %%
ladder = {name: stored("ladder", name) for name in ("Model1", "Model2", "Model3")}
for name, (parameters, mean_accuracy, deviation) in ladder.items():
    size, accuracy = last_field(name), f"{mean_accuracy:.2f} ± {deviation:.2f}%"
    print(f"{name}: sees {size} pixels, {parameters:6,} parameters, {accuracy}")

# %% [markdown]
# | step | target | idea | analysis |
# |---|---|---|---|
# | Model1 | a skeleton that learns | convolutions, one pool, a dense head | accurate, but more than half of its parameters sit in the head |
# | Model2 | a tenth of the parameters | 10 channels; GAP and a 1×1 convolution in place of the dense head | the head is nearly free, and three points of accuracy are gone: why? |
# | Model3 | Model1's accuracy at a sixth of its size | BatchNorm, Dropout, 24 pixels before GAP | most of the gap is closed, the target not quite met |
#
# Read the targets again, and hold them against the numbers:

# %%
model1, model2, model3 = ladder.values()
assert model2[0] < model1[0] / 10
assert 2.5 < model1[1] - model2[1] < 3.5
assert model2[1] < model3[1] < model1[1]
assert model3[0] < model1[0] / 6
gain, price = model3[1] - model2[1], model3[0] - model2[0]
print(f"Model3 gains {gain:.1f} points over Model2, for {price:,} parameters")

# %% [markdown]
# Here is a puzzle. Model1 sees 14 pixels, just as Model2, and is the best of the three. Did we not
# say that a unit must see the digit? Two controls change one thing in Model2: one has a dense head in
# place of GAP, the other BatchNorm after each ReLU. (`python -m
# mnist_utils.reproduce ladder/Model2Dense ladder/Model2BatchNorm`) **Guess how much of the three points
# each brings back**, then look:

# %%
repaired = {name: stored("ladder", name) for name in ("Model2Dense", "Model2BatchNorm")}
assert repaired["Model2Dense"][1] > repaired["Model2BatchNorm"][1] > model2[1] + 1.5
for name, (parameters, mean_accuracy, deviation) in repaired.items():
    back = (mean_accuracy - model2[1]) / (model1[1] - model2[1])
    print(
        f"{name}: {parameters:,} parameters, {mean_accuracy:.2f} ± {deviation:.2f}%, {back:.1f} back"
    )

# %% [markdown]
# **A dense head keeps where things are: each of its weights belongs to one place of the map. Global
# average pooling throws that away.** What a unit does not see whole, a dense head can still put
# together from parts, and a mean cannot. So it is
# before GAP that a unit should see most of the digit. But a dense head also brings three times the
# parameters, and BatchNorm alone, at the same 14 pixels, brings back seven tenths: so not all of the
# loss is the field's, and the two overlap. (Whether Model2 would get there in more epochs was not tried. Three
# seeds each: enough for the order of the three networks; Model2's own mean is known to a point and a half.)
#
# Model3 changed four things at once: BatchNorm, Dropout, the field, and three layers more. What is the
# field's share?
#
# ## Accuracy against receptive field, at one budget
#
# Five networks of about the same size, all with BatchNorm, whose units before GAP see 10 to 26
# pixels; the same recipe, three seeds each (`python -m mnist_utils.reproduce fields/FieldNet10`, and
# so on).

# %%
deeper = {size: stored("fields", f"FieldNet{size}") for size in (10, 14, 18, 22, 26)}
assert all(later[1] - sooner[1] > 0.2 for sooner, later in pairwise(list(deeper.values())[:3]))
for size, (parameters, mean_accuracy, deviation) in deeper.items():
    assert last_field(f"FieldNet{size}") == size
    print(f"{size} pixels, {parameters:,} parameters: {mean_accuracy:.2f} ± {deviation:.2f}%")

# %% [markdown]
# Accuracy climbs steeply to 14 pixels, and slowly further. From 14 on three seeds tell no single step for
# certain.
#
# Is it the field, then? Not so fast: each of these networks has one layer more than the one before.
# Two kinds of control take the two apart. Some have the layers of the first network and a larger
# field: their kernels are **dilated**, the nine weights spread out with gaps. Another has the field of
# the first network and twice its layers: half of them are 1×1.
#
# Each of these networks is a 2×2 mean and then 3×3 convolutions: two in FieldNet10, six in FieldNet26. In
# FieldNet18Dilated there are two, and their weights lie two units apart. Its field spans 18×18 pixels. **How
# many of these 324 does it read?**

# %%
controls = ("FieldNet18Dilated", "FieldNet26Dilated", "FieldNet10Pointwise")
for name in controls:
    parameters, mean_accuracy, deviation = stored("fields", name)
    assert 5_400 < parameters < 5_800
    maps = [row for row in describe(models.build(name)).rows if row.kind == "Conv2d"]
    size = maps[-2].receptive_field
    read, spanned = maps[-2].pixels_read or (size**2, size**2)
    accuracy = f"{mean_accuracy:.2f} ± {deviation:.2f}%"
    print(
        f"{name:20} {size} pixels, reads {read} of {spanned}, {parameters:,} parameters: {accuracy}"
    )

# %%
dilated = {size: stored("fields", f"FieldNet{size}Dilated") for size in (18, 26)}
pointwise = {10: stored("fields", "FieldNet10Pointwise")}
two_layers = {10: deeper[10]} | dilated


def columns(study):
    """Fields in pixels, mean accuracies and deviations as fractions."""
    return list(study), *([row[k] / 100 for row in study.values()] for k in (1, 2))


# %%
series = {
    "one layer more each": columns(deeper),
    "always 2 layers, dilated": columns(two_layers),
    "4 layers, of which two 1×1": columns(pointwise),
}
title, marks = "mean ± standard deviation, 3 seeds", {"a digit's longer side": 20}
plots.keep(
    plots.accuracy_against_field(list(deeper), series, title=title, marks=marks),
    "02_accuracy_against_field",
    "Accuracy rises with the field, ever more slowly, if layers are added; dilated it stays, then falls.",
)

# %%
by_field = [dilated[18][1] - deeper[10][1], deeper[18][1] - pointwise[10][1]]
by_layers = [pointwise[10][1] - deeper[10][1], deeper[18][1] - dilated[18][1]]
assert by_field[0] < 0.2 < 0.5 < by_field[1] < 0.6
assert min(by_layers) > 0.95
assert 89.5 < dilated[26][1] < 90.5
print("            10 pixels  18 pixels")
for layers_, pair in ((2, (deeper[10], dilated[18])), (4, (pointwise[10], deeper[18]))):
    print(f"{layers_} layers " + "".join(f"{row[1]:11.2f}" for row in pair))

# %% [markdown]
# Read the table by rows: by a field of 18 pixels two layers gain nothing that three seeds could see, four
# layers half a point. But the two rows do not buy the same: the dilated network still reads 100 pixels, only
# farther apart. By columns: twice the layers bring a point at 10 pixels, and at 18, where they also read
# more, nearly one and a half. (All of this after four epochs, and three seeds each.)
#
# And the point at 26 pixels, in the corner of the picture? With the weights three units apart, the units of
# the last map together read only a part of the image, whatever the weights:

# %%
blind = describe(models.build("FieldNet26Dilated"))["gap"].pixels_read
assert blind == [400, 784]
print(f"the whole network reads {blind[0]} of {blind[1]} pixels")

# %% [markdown]
# It is blind to half of the image. **A field is worth what is read in it.** Whether a wide field also needs many
# layers these networks do not tell: those of two layers with a larger field leave gaps in it.
#
# ## Field and size together
#
# So far one budget. Now seventeen designs, with fields from 6 to 40 pixels, each at four sizes from about
# 1,250 to 19,000 parameters: 68 networks, three seeds each, all convolutions with BatchNorm and ReLU, pools, GAP
# and a 1×1 head. One short recipe trained them all, and again validation digits judge (`python -m
# mnist_utils.reproduce "sweep/16C5s2-16C3-MP2-32C3"`, and so on: 16 channels of 5×5 at a stride of 2, 16 of 3×3, a 2×2
# max pool, 32 of 3×3).
#
# **Predict two things.** With a field of 10 pixels, can more parameters make up for what a unit does not see?
# And is there a field beyond which accuracy falls?

# %%
from mnist_utils.lab.expect import sweep

networks = sweep()  # by field, then by size
print(f"{len(networks)} networks, for example {networks[-4].notation}")

# %%
designs = {}
for network in networks:
    designs.setdefault(network.family, []).append(network)  # alike but for their channels
by_size = list(zip(*designs.values(), strict=True))
print(f"{len(designs)} designs, fields from {by_size[0][0].field} to {by_size[0][-1].field} pixels")


# %%
def swept(networks, against):
    """Fields or parameters, mean accuracies and deviations as fractions."""
    spread = [np.std(network.accuracies, ddof=1) for network in networks]
    return [getattr(n, against) for n in networks], [n.accuracy for n in networks], spread


# %%
sizes = ("about 1,250", "3,000", "7,500", "19,000 parameters")
series = {size: swept(row, "field") for size, row in zip(sizes, by_size, strict=True)}
ticks = (6, 10, 14, 18, 22, 28, 32, 40)
plots.keep(
    plots.accuracy_against_field(ticks, series, marks=marks),
    "02_sweep_by_field",
    "Accuracy climbs steeply up to 12 pixels; from 18 on it is flat, at the smallest size uneven.",
)

# %%
chosen = {n[0].field: n for n in designs.values() if n[0].field in (6, 10, 14, 20)}
series = {f"{field} pixels": swept(row, "parameters") for field, row in chosen.items()}
ticks = (1_250, 3_000, 7_500, 19_000)
plots.keep(
    plots.accuracy_against_field(ticks, series, xlabel="parameters", logarithmic=True),
    "02_sweep_by_size",
    "At every field more parameters bring accuracy; a wider field brings more than four times the size.",
)

# %%
large = {n.field: n.accuracy for n in by_size[-1]}
wide = [n.accuracy for n in by_size[-1] if n.field >= 18]
at_20 = chosen[20][1].accuracy
assert large[10] < at_20
assert max(wide) - min(wide) < 0.003
print(f"10 pixels, 19,000 parameters: {large[10]:.1%}; 20 pixels, 3,000: {at_20:.1%}")
print(f"19,000 parameters, from 18 pixels on: {min(wide):.1%} to {max(wide):.1%}")

# %% [markdown]
# With a field of 10 pixels, 19,000 parameters read worse than 3,000 with a field of 20: **size does not
# buy back what a unit does not see.** And from 18 pixels on, at 19,000 parameters, no field is better than another by
# more than three digits in a thousand: nothing falls, up to 40 pixels. Between designs of one field there are
# differences too, most at the smallest size, where a few layers leave each other hardly a channel. (One recipe
# and one kind of network: what others would give was not measured.)
#
# ## Your bench
#
# Enough read: design one. The lab below shows, for any chain of layers, what this notebook worked out by hand, and
# what accuracy the 68 networks let one expect. Run the cell, then **predict before you change**:
#
# 1. Begin with "small: two layers". Which field does it have, and what does the sweep expect of it?
# 2. Put a max pool below row 7, and beneath that a convolution with BatchNorm and ReLU. What is the field now?
# 3. Stay below 3,000 parameters, and find a design from which more than 98.5% can be expected.
#
# Without a kernel the same lab is a page: open [lab.html](lab.html) in a browser ([more](LAB.md)). It also reads the digit that you
# draw.

# %% tags=["nbval-ignore-output"]
from mnist_utils.lab import Lab

lab = Lab("16C5-MP2-16C3")
lab

# %% [markdown]
# Whatever you designed, `chains.build(lab.rows)` is its network, and `make train ARGS="--model 16C5-MP2-16C3"` trains
# one like it.
#
# ## What was shown
#
# - A receptive field is worked out on paper: size grows by `(k − 1)·jump`, jump by the stride.
# - Averaging throws away where things are: before GAP a unit should see most of the digit. The middle unit's
#   24 pixels hold nearly nine digits in ten whole, and some unit holds practically every one.
# - Seeing is not using: the effective field is a bump in the middle of the theoretical square.
# - Spanning is not reading: a dilated kernel leaves gaps. A larger field pays only where it is read.
# - At every size from 1,250 to 19,000 parameters the field pays up to about 18 pixels, and no size makes up for
#   a field of 10.
#
# Your turn: [exercises](exercises/02b_architecture.ipynb), pools, strides, padding, holes, and a whole table by hand.
#
# Next: [3 · Counting parameters](03_parameter_counting.ipynb)
