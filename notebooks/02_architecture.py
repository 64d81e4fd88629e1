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
# # 2 · Architecture and receptive fields
#
# **How big must a network see?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebook 1: a digit measures 20 pixels, the image 28; what a derivative is | 1 minute to run, 50 to read | nothing |
#
# A network that recognises a digit must *see* a digit. How much one unit sees is its **receptive
# field**, and it can be worked out on paper, before anything is trained. First, though, what is a unit?

# %%
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from mnist_utils import data, explain, models, plots, results
from mnist_utils.describe import describe
from mnist_utils.receptive_field import Window, receptive_field, variance

# %% [markdown]
# ## One convolution, by hand
#
# A **kernel** of 3×3 numbers is laid over nine pixels of the image. Each pixel is multiplied by the
# number above it, and the products are added up: that sum is one **unit**. This kernel has ones above
# and minus ones below. **Where on a seven will the sum be large?**

# %%
kernel = torch.tensor([[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]])
seven = data.load(train=False).images[0] / 255
patch = seven[8:11, 10:13]
print(patch.numpy().round(1))
print(f"the sum of the products: {(patch * kernel).sum():.1f}")

# %% [markdown]
# Bright above and dark below: the lower edge of a stroke. Now slide the kernel over the image, one pixel
# at a time. The units make up a **map** of 26×26, two fewer than pixels, since the kernel must lie inside
# the image. `nn.Conv2d` does the same; its kernels are **weights**, and training finds them.

# %%
places = range(28 - 3 + 1)
units = [[(seven[r : r + 3, c : c + 3] * kernel).sum() for c in places] for r in places]
by_hand = torch.tensor(units)

conv2d = nn.Conv2d(1, 1, kernel_size=3, bias=False)
with torch.no_grad():
    conv2d.weight[0, 0] = kernel
    feature_map = conv2d(seven[None])[0]
assert torch.allclose(by_hand, feature_map, atol=1e-6)
by_hand.shape

# %% [markdown]
# Between two convolutions stands something that is not linear, or the two would be no more than one.
# **ReLU** puts 0 in place of what is negative: what is left says "an edge is here", and how strongly. A
# **max pool** of 2×2 then keeps the largest of each four units: half as many rows and columns, and what
# was found is still found.

# %%
pooled = (
    F.max_pool2d(feature_map.relu()[None], 2)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
)
shown = [F.pad(one, [1] * 4) for one in (feature_map / 6 + 0.5, feature_map.relu() / 3, pooled / 3)]
sheet = plots.images(
    torch.stack([seven, *shown]), ["the image", "its map", "after ReLU", "pooled"], columns=4
)
plots.keep(
    sheet,
    "02_one_convolution",
    "A seven; its map, bright at lower edges and dark at upper ones; the lower edges alone; coarser.",
)

# %% [markdown]
# A layer has several such kernels, each with a map of its own, called **channels**; and the kernels of
# the next layer are laid over all channels of this one at once.
#
# ## A network and its loop
#
# Ten digits want ten numbers at the end, the **logits**. *Softmax* turns them into probabilities, and the
# **loss** of a digit is minus the logarithm of the probability that its true class got: 0 if the network
# was sure and right, large if it was sure and wrong. Training moves every weight a little downhill, along
# the derivative of the loss; **Adam** is a way to choose how far. One pass over the digits is an
# **epoch**. That is the whole of it, on 6,000 digits:

# %%
train = data.load(train=True)
images, labels = data.standardize(train.images[:7_000]), train.labels[:7_000]
images.shape

# %%
torch.manual_seed(0)
layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU()]
net = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 5 * 5, 10))
sum(p.numel() for p in net.parameters())

# %%
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
for epoch in range(3):
    for batch in torch.randperm(6_000).split(64):
        loss = F.cross_entropy(net(images[batch]), labels[batch])  # softmax and logarithm in one
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (net(images[6_000:]).argmax(1) == labels[6_000:]).double().mean()
    assert right > 0.8
    print(f"epoch {epoch + 1}: validation_accuracy={right:.3f}")

# %% [markdown]
# The accuracy is that of 1,000 digits it was not trained on. Everything else in this course is this
# loop: a better network, better digits, better steps. Now to the network.
#
# ## Two layers overlap
#
# A unit of a second 3×3 layer reads nine units of the first, three in each direction. What do they see
# between them? The first and the last of the nine, and all together:

# %%
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
# At 20 pixels the middle unit would cut three digits in four, at 24 one in eight, and some unit then
# holds every digit whole. That is a reason to choose 24, not a law: the best networks of this course
# see 22 before they average.
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
test = data.load(train=False)
shown = {
    size: name for name, size in zip(layers, fields, strict=True) if size in (7, 12, 20, 24, 28)
}
boxes = {name: middle_box(network[name]) for name in shown.values()}
plots.keep(
    plots.fields_on_digit(test.images[0] / 255, boxes),
    "02_fields_on_digit",
    "A seven, and over it five squares: what units see, from 7 pixels by 12, 20 and 24 to all 28.",
)

# %% [markdown]
# ## "Sees everything" is not "uses everything"
#
# A pixel in the corner lies under one single place of every kernel on its way to a logit; a pixel in
# the middle lies under very many. So the weight of a pixel is a bump: the **effective receptive
# field** (Luo et al. 2016). If all weights were equal, and the pool a mean, its variance would be
# Σ jump²·(k²−1)/12 over the layers.

# %%
before_gap, logit = variance(chain[:-1]), variance(chain)
assert round(before_gap, 3) == 12.917
assert round(logit, 3) == 15.583
print(f"σ {before_gap**0.5:.2f} pixels of a 24-pixel field, {logit**0.5:.2f} of 28 at a logit")

# %% [markdown]
# That is the theory, for equal weights. Weights that are drawn at random give the same bump, if one
# takes the *squared* gradient and averages over many networks. (Each path adds its variance.) So we
# measure everything by the squared gradient: how much does each pixel of 500 test digits move the
# winning **logit**, the score of the chosen class? Thirty fresh networks, and the trained one. **Will
# training make the bump wider or narrower?**

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
assert all(abs(sigma - logit**0.5) < 0.25 for sigma in explain.spread(before))
assert min(explain.spread(weight)) > logit**0.5 + 0.5
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
# The dashed square is what the logit *can* see; the bump is what it *uses*. Random weights are as wide
# as the theory says, training widens the bump by a quarter, and still half of the weight falls on less
# than a sixth of the pixels. Design by the theoretical field, and leave room around the object.

# %% [markdown]
# ## The ladder: one idea a step
#
# Nobody designs Model3 at once. Two of its parts have not been named yet. **BatchNorm** shifts and scales
# every channel to mean 0 and deviation 1, over the digits of a batch while training and by stored values
# afterwards; steps can then be larger. **Dropout** sets each unit to 0 with some probability while
# training, so that no unit can rely on one other alone.
#
# Three networks, each with a target, a result, and an analysis; each
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
print(f"Model3 gains {gain:.2f} points over Model2, for {price:,} parameters")

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
        f"{name}: {parameters:,} parameters, {mean_accuracy:.2f} ± {deviation:.2f}%, {back:.0%} back"
    )

# %% [markdown]
# **A dense head keeps where things are: each of its weights belongs to one place of the map. Global
# average pooling throws that away.** What a unit does not see whole, a dense head can still put
# together from parts, and a mean cannot. So it is
# before GAP that a unit should see most of the digit. But a dense head also brings three times the
# parameters, and BatchNorm alone, at the same 14 pixels, brings back nearly as much: in four epochs
# Model2 also learnt too slowly. (Three seeds each: enough for the order of the three networks, not for
# hundredths.)
#
# Model3 changed three things at once. What is the field's share?
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
# Accuracy climbs up to some 18 pixels; from there on, three seeds do not tell the networks apart.
#
# Is it the field, then? Not so fast: each of these networks has one layer more than the one before.
# Two kinds of control take the two apart. Some have the layers of the first network and a larger
# field: their kernels are **dilated**, the nine weights spread out with gaps. Another has the field of
# the first network and twice its layers: half of them are 1×1.
#
# Mind what a dilated field is. A *box* of 18 pixels is spanned; how many of its pixels are read?

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
    "Accuracy rises with the field up to 18 pixels if layers are added; dilated it stays, then falls.",
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
# Read the table by rows: two layers gain nothing by a field of 18 pixels, four layers half a point. But
# the two rows do not buy the same: the dilated network still reads 100 pixels, only farther apart. By
# columns: twice the layers bring about a point, at 10 pixels and at 18. (All of this after four epochs,
# and three seeds each.)
#
# And the point at 26 pixels, in the corner of the picture? With gaps of three, the units of the last
# map together read only a part of the image, whatever the weights:

# %%
blind = describe(models.build("FieldNet26Dilated"))["gap"].pixels_read
assert blind == [400, 784]
print(f"the whole network reads {blind[0]} of {blind[1]} pixels")

# %% [markdown]
# It is blind to half of the image. **A field is worth what is read in it, and what there are layers to
# make of it.**
#
# ## What was shown
#
# - A receptive field is worked out on paper: size grows by `(k − 1)·jump`, jump by the stride.
# - Averaging throws away where things are: before GAP a unit should see most of the digit. 24 pixels
#   hold nearly nine digits in ten whole.
# - Seeing is not using: the effective field is a bump in the middle of the theoretical square.
# - Spanning is not reading: a dilated kernel leaves gaps. A larger field pays only where it is read, and
#   where there are layers to use it.
#
# Next: [3 · Counting parameters](03_parameter_counting.ipynb)
