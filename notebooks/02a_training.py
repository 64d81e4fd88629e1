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
# # 2a · A convolution, and a network that learns
#
# **What does a network compute, and what does training change?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebook 1; Python; what a derivative is | 1 minute to run, 30 to read | nothing |
#
# A network is a chain of simple steps with many adjustable numbers. We do one step by hand, let a small
# network learn, and then look at a real run, whose curves are easily misread.

# %%
import copy
from dataclasses import replace
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import nn

# %%
from mnist_utils import augment, data, models, plots, results
from mnist_utils.recipes import RECIPES
from mnist_utils.train.report import comparison

# %% [markdown]
# ## One convolution, by hand
#
# A **kernel** of 3×3 numbers is laid over nine pixels of the image. Each pixel is multiplied by the
# kernel's number that lies on it, and the nine products are added up: that sum is one **unit**. This kernel
# has ones in its top row and minus ones in its bottom row. **Where on a seven will the sum be large?**

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
# Two convolutions in a row are again sums of products of the pixels: one with a larger kernel could do the
# same. So something that is not such a sum stands between them. **ReLU** puts 0 in place of what is
# negative: what is left says "an edge is here", and how strongly. A **max pool** of 2×2 then keeps the
# largest of each four units: half as many rows and columns, which still tell that there is an edge, and
# roughly where.

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
# Ten digits want ten numbers at the end, the **logits**. `Flatten` writes the last maps as one row of
# numbers; `Linear`, a **dense** layer, gives each logit one weight for each of them and one constant, its
# **bias**. What turns the last maps into logits is called the **head**.
#
# *Softmax* turns logits into probabilities, and the **loss** of a digit is minus the logarithm of the
# probability that its true class got: 0 if the network was sure and right, large if it was sure and wrong.
# The loop takes a few digits at a time, a **batch**, and averages their losses. `backward` computes the
# derivative of that with respect to every weight, and `step` moves each weight a little downhill; **Adam**
# chooses how far. (`zero_grad` clears the derivatives of the batch before.) Once through all digits is an
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
# loop: a better network, better digits, better steps.
#
# ## What Model3 is made of
#
# The course's first serious network is `Model3`, the source's. It has seven convolutions, each in a block
# of four steps:

# %%
models.conv_relu_norm(1, 10)

# %% [markdown]
# Two of them are new. **BatchNorm** shifts and scales every channel to mean 0 and deviation 1, over the
# digits of a batch while training and by stored values afterwards; steps can then be larger. **Dropout**
# sets each unit to 0 with some probability while training, here 0.05, so that no unit can rely on one
# other alone. (Most people put BatchNorm before ReLU. The source has it behind, and we follow the source.)
#
# ## A real run
#
# The source's recipe is the loop above with 20 epochs, batches of 32, and the turned and punched digits
# of notebook 1. It was run once and is stored (`python -m mnist_utils.train --recipe reference` runs it
# again, in a quarter of an hour). The *test digits* are 10,000 others, by which a finished network is judged.
# **Which accuracy will be higher after 20 epochs, on the right: that of the training digits, measured while
# training, or that of the test digits?** (On the left is the loss, where lower is better.)

# %%
reference = results.history("reference")
plots.keep(
    plots.history(reference["epochs"]),
    "reference_curves",
    "Twenty epochs of the reference: the test accuracy lies above the accuracy while training.",
)

# %%
print(comparison(reference["epochs"][-1]))

# %% [markdown]
# The test curve lies *above* the training curve. The source calls that good generalisation. But the
# two are measured differently, and in three ways: while it trains, the network is shown turned digits
# with holes; Dropout takes units away; and BatchNorm standardises by the few digits of a batch, not by
# what it has learnt of all. Ask the finished network about training digits as they are, and then with
# one of the three put back, or all. **Which costs most?**

# %%
trained = results.network("reference")
digits = data.load(train=True).take(slice(6_400))
len(digits)

# %%
conditions = {
    "as they are": (False, ()),
    "augmented": (True, ()),
    "Dropout": (False, nn.Dropout),
    "BatchNorm of the batch": (False, nn.BatchNorm2d),
    "all three": (True, (nn.Dropout, nn.BatchNorm2d)),
}


# %%
def accuracy_under(augmented, kinds):
    """Of the trained network, modules of these kinds working as in training."""
    network = copy.deepcopy(trained)
    for module in network.modules():
        module.train(isinstance(module, kinds))
    torch.manual_seed(0)
    config = RECIPES["reference_batch"]
    config = config if augmented else replace(config, augmentation="none")
    with torch.no_grad():
        batches = augment.training_batches(digits, config, 0, torch.Generator().manual_seed(0))
        right = [(network(images).argmax(1) == labels).sum() for images, labels in batches]
    return sum(right).item() / len(digits)


# %%
found = {name: accuracy_under(*how) for name, how in conditions.items()}
for name, accuracy in found.items():
    cost = 100 * (found["as they are"] - accuracy)
    print(f"{name:23} {accuracy:.2%}, {cost:.2f} points less")

# %%
last = reference["epochs"][-1]
one_alone = [found["as they are"] - found[name] for name in list(found)[1:4]]
assert 0.0015 < min(one_alone) < max(one_alone) < 0.0035
assert found["as they are"] > last["held_out_accuracy"] > found["all three"]
assert found["all three"] - last["train_accuracy"] < 0.3 * (
    found["as they are"] - last["train_accuracy"]
)
print(
    f"{last['held_out_accuracy']:.2%} on the test digits, {last['train_accuracy']:.2%} while training"
)

# %% [markdown]
# All three cost about the same, two or three tenths of a point; which costs most, one draw of 6,400 digits does
# not tell. Together they take the finished network most of the way down to the accuracy that was measured
# while training. (The rest we did not take apart. While it trained, the network was not finished, for one.)
# Measured alike, the training digits lie above the test digits, not below, though by no more than so few
# digits might by chance.
#
# ## What the regularizers do
#
# *Regularizers* are what makes training harder, so that a network does not merely learn its digits by
# heart. The source calls its own "heavy". How much are BatchNorm, Dropout and the holes worth? The recipe
# above, for 10 epochs instead of 20: once with everything, then with one of the three left out, then with
# BatchNorm alone (no Dropout, no holes, no turning). Each is trained three times from other random starting
# weights (*seeds*), and judged on 5,000 **validation digits**: training digits that were set aside, so that
# choices need not look at the test digits (`python -m mnist_utils.reproduce regularizers/all`, and so on).
# The *gap* is the validation accuracy less the accuracy while training, in percentage points. **Which of the
# three can the network least afford to lose? And what becomes of the gap when only BatchNorm is left?**

# %%
names = ("all", "no_CoarseDropout", "no_Dropout", "only_BatchNorm", "no_BatchNorm")
table = {name: results.runs(f"regularizers/{name}") for name in names}
validation = {n: [100 * run["held_out_accuracy"] for run in runs] for n, runs in table.items()}
training = {n: [100 * run["train_accuracy"] for run in runs] for n, runs in table.items()}

# %%
for name in names:
    held_out, seen = mean(validation[name]), mean(training[name])
    spread = f"{held_out:.2f} ± {stdev(validation[name]):.2f}%"
    print(f"{name:17} validation {spread}, while training {seen:.2f}%, gap {held_out - seen:+.2f}")

# %%
for name in names[1:]:
    pairs = zip(validation[name], validation["all"], strict=True)
    print(f"{name:17} less all, by seed: " + ", ".join(f"{a - b:+.2f}" for a, b in pairs))

# %%
gaps = {name: mean(validation[name]) - mean(training[name]) for name in names}
assert mean(validation["no_BatchNorm"]) == min(map(mean, validation.values()))
for name in ("only_BatchNorm", "no_CoarseDropout"):
    assert all(a > b for a, b in zip(validation[name], validation["all"], strict=True))
assert gaps["only_BatchNorm"] < 0.3 < 0.9 < gaps["all"]
assert gaps["only_BatchNorm"] < min(gaps["no_Dropout"], gaps["no_CoarseDropout"]) < gaps["all"]
print(
    f"the gap: {gaps['all']:.1f} points with all, {gaps['only_BatchNorm']:.1f} with BatchNorm alone"
)

# %% [markdown]
# None of this is large. BatchNorm is missed most, by a tenth of a point or two, and one seed of three disagrees.
# Dropout is not missed. The holes cost more than they bring, in ten epochs: without them, or with BatchNorm
# alone, the network is ahead of the whole recipe with each of the three seeds (a hint, no proof). Six thousand
# parameters have little room to learn 55,000 digits by heart; a larger network, or more epochs, may need what
# this one does not.
#
# And the gap? It is what the regularizers take away *while training*: a point with all of them, a fifth of that
# with BatchNorm alone. It does not say how well a network reads new digits: here the smaller gaps belong to the
# networks that do as well or better.
#
# ## What `course` does otherwise
#
# The recipe named `course` trains a network with fewer parameters, and misreads fewer digits. Apart from its
# network (notebook 3) and stronger distortions of the digits, it adds:
#
# - *one cycle*: the step grows for a while, then shrinks to nothing, so that the network settles;
# - *averaged weights*: what is kept is a running mean of the weights of many steps;
# - *share*: from the second epoch on the network is shown only a part of the digits, preferably those that it
#   read worst, which saves time;
# - *Muon*: an optimizer like Adam that evens its step out, so that no combination of weights is favoured.
#
# `fast` adds *label smoothing*: the target for the true class is a little less than 1, so that no logit need
# grow without end. (`reference_batch` below is the source's recipe with a faster augmentation.)

# %%
for name in ("reference_batch", "course"):
    row = results.summary(name)
    accuracy = f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}%"
    print(f"{name:15} {row['parameters']:,} parameters, {accuracy} on test, {row['n']} seeds")

# %% [markdown]
# What some of them are worth alone stands in [the results](../results/README.md): for none of those tried in `course` could five seeds
# see an effect on the accuracy, and the averaged weights raise the loss. What its other network is worth was
# not measured apart.
#
# ## What was shown
#
# - A convolution is a sum of products, slid over the image; a network is a chain of them with something
#   that is not linear in between.
# - Training is a loop of ten lines: predict, measure the loss, step downhill.
# - Accuracy while training and accuracy on held-out digits are different measurements. Compare them only
#   after asking the same question of both.
#
# Your turn: [exercises](exercises/02a_training.ipynb), write a convolution that PyTorch agrees with.
#
# Next: [2b · Architecture and receptive fields](02b_architecture.ipynb)
