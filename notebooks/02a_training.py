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
# | notebook 1; Python; knowing what a derivative is | 1 minute to run, 40 to read | nothing |
#
# A network is a chain of simple steps with many adjustable numbers. We do one step by hand, train a small network,
# compare it with a rival, break it, and look at a real run, whose curves are easily misread.

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
import copy
import math
from dataclasses import replace
from statistics import mean

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
# Lay a **kernel** of 3×3 numbers over nine pixels of the image. Each pixel is multiplied by the
# number on top of it, and the nine products are added up: that sum is one **unit**. This kernel
# has ones in its top row and minus ones in its bottom row. **Where on a seven will the sum be large?**

# %%
kernel = torch.tensor([[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]])
seven = data.load(train=False).images[0] / 255
patch = seven[8:11, 10:13]
print(patch.numpy().round(1))
print(f"the sum of the products: {(patch * kernel).sum():.1f}")

# %% [markdown]
# Bright above and dark below: the lower edge of a stroke. Now slide the kernel over the image, one pixel
# at a time. The units make up a **map** of 26×26, two less each way, since the kernel must lie inside
# the image. `nn.Conv2d` does the same; its kernels are **weights**, and training finds them.

# %%
places = range(28 - 3 + 1)
units = [[(seven[r : r + 3, c : c + 3] * kernel).sum() for c in places] for r in places]
by_hand = torch.tensor(units)
by_hand.shape

# %%
conv2d = nn.Conv2d(1, 1, kernel_size=3, bias=False)
with torch.no_grad():
    conv2d.weight[0, 0] = kernel
    feature_map = conv2d(seven[None])[0]

# %%
assert torch.allclose(by_hand, feature_map, atol=1e-6)

# %% [markdown]
# Two convolutions in a row are again weighted sums of the pixels: one with a larger kernel could do the same. So
# something must stand between them. **ReLU** replaces negative values by 0: what is left says "an edge is here",
# and how strongly. A **max pool** of 2×2 then keeps the largest of every four units.

# %%
positive = feature_map.relu()
pooled = F.max_pool2d(positive[None], 2)[0]
large = pooled.repeat_interleave(2, 0).repeat_interleave(2, 1)
drawn = (feature_map / 6 + 0.5, positive / 3, large / 3)
shown = torch.stack([seven, *(F.pad(one, [1] * 4) for one in drawn)])
titles = ["the image", "its map", "after ReLU", "pooled"]
sheet = plots.images(shown, titles, columns=4)
plots.keep(
    sheet,
    "02_one_convolution",
    "A seven; its map, bright at lower edges, dark at upper; its bright part; coarser.",
)

# %% [markdown]
# A layer has several such kernels, and each makes a map of its own, a **channel**; the kernels of
# the next layer lie over all channels of this one at once.
#
# ## The same kernel everywhere
#
# Why slide one kernel, and not give every pixel a weight of its own? Because a stroke is a stroke
# wherever it lies. **Move the seven to the right by 4 pixels. What happens to its map, and to the pooled map?
# And if you move it by 1?**


# %%
@torch.no_grad()
def maps_of(image):
    """The map after ReLU, and the pooled map."""
    feature_map = conv2d(image[None]).relu()
    return feature_map[0], F.max_pool2d(feature_map, 2)[0]


# %%
def moved_by(before, after):
    """By how many units, or None."""
    all_steps = [n for n in range(5) if torch.allclose(before.roll(n, 1), after)]
    return all_steps[0] if all_steps else None


# %%
before = maps_of(seven)
for pixels in (4, 2, 1):
    after = maps_of(seven.roll(pixels, dims=1))
    in_map, in_pooled = map(moved_by, before, after)
    assert (in_map, in_pooled) == (pixels, {4: 2, 2: 1, 1: None}[pixels])
    print(f"image moved by {pixels}: map by {in_map}, pooled map by {in_pooled}")

# %% [markdown]
# The map moves along: that is **equivariance**, and it needs no training. A pool of stride 2 keeps it for even steps only.
#
# ## A network and its loop
#
# Ten classes need ten numbers at the end, the **logits**. `Flatten` writes the last maps as one row of numbers; `Linear`,
# a **dense** layer, gives each logit one weight for each of them and one constant, its **bias**. What turns the last maps
# into logits is called the **head**.
#
# *Softmax* turns logits into probabilities. The **loss** of a digit is minus the logarithm of the probability that its
# true class got: 0 if the network was sure and right, large if it was sure but wrong. The loop takes a few digits at a
# time, a **batch**, and averages their losses. `backward` differentiates that average by every weight, and `step`
# moves each weight a little downhill; **Adam** chooses how far. (`zero_grad` clears the last batch's derivatives.) Once
# through all digits is an **epoch**. Here is the whole loop, on 6,000 digits:

# %%
train = data.load(train=True)
images, labels = data.standardize(train.images[:7_000]), train.labels[:7_000]
images.shape


# %%
def small_network():
    first = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(16 * 5 * 5, 10))


# %%
torch.manual_seed(0)
net = small_network()
sum(p.numel() for p in net.parameters())


# %%
def train_epoch(net, optimizer, digits=6_000):
    for batch in torch.randperm(digits).split(64):
        logits = net(images[batch])
        loss = F.cross_entropy(logits, labels[batch])  # softmax and logarithm in one
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# %%
@torch.no_grad()
def accuracy(net, moved=0):
    """On 1,000 digits that it was not trained on, moved to the right by some pixels."""
    logits = net(images[6_000:].roll(moved, dims=3))
    return (logits.argmax(1) == labels[6_000:]).double().mean().item()


# %%
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
for epoch in range(3):
    train_epoch(net, optimizer)
    assert accuracy(net) > 0.8
    print(f"epoch {epoch + 1}: validation_accuracy={accuracy(net):.3f}")

# %% [markdown]
# Everything else in this course is this loop: a better network, better digits, better steps.
#
# ## A rival without convolutions
#
# What did the convolutions bring? A rival with dense layers alone: 784 pixels to 7 units to 10 logits, a few parameters
# more, the same digits, loop, rate and epochs. **Which reads better? And which suffers more when the digits are moved to
# the right?** Three seeds each:


# %%
def dense_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 7), nn.ReLU(), nn.Linear(7, 10))


# %%
def when_moved(build, seed):
    """Accuracies of a trained network on digits moved by 0, 2 and 4 pixels."""
    torch.manual_seed(seed)
    rival = build()
    optimizer = torch.optim.Adam(rival.parameters(), lr=0.003)
    for _ in range(3):
        train_epoch(rival, optimizer)
    return [accuracy(rival, moved) for moved in (0, 2, 4)]


# %%
means = {}
for build in (small_network, dense_network):
    seeds = [when_moved(build, seed) for seed in range(3)]
    means[build.__name__] = [mean(values) for values in zip(*seeds, strict=True)]

# %%
convolved, dense = means.values()
for name, values in means.items():
    for moved, value in zip((0, 2, 4), values, strict=True):
        print(f"{name}, moved by {moved}: validation_accuracy={value:.3f}")

# %% tags=["hide-input"]
assert all(ours > theirs + 0.05 for ours, theirs in zip(convolved, dense, strict=True))
assert convolved[2] < 0.7

# %% [markdown]
# At equal size the convolutional network leads by a tenth, and by more on moved digits. A dense unit pays 784 weights
# to look once; a kernel pays 9 and looks at 676 places. (Parameters, digits, rate and steps are equal. Depth and
# multiply-adds are not, and neither network had its own best rate.) But the convolutional network also suffers: its dense
# head has weights for every place. **Equivariant maps do not make an invariant network.** Notebook 2c asks what does.
#
# ## A run that fails
#
# Here is the same network with one setting changed:


# %%
def start(lr):
    torch.manual_seed(0)
    net = small_network()
    return net, torch.optim.Adam(net.parameters(), lr=lr)


# %%
def loss_of(net, digits, labels):
    with torch.no_grad():
        return F.cross_entropy(net(digits), labels).item()


# %%
broken, optimizer = start(lr=0.3)
for epoch in range(2):
    train_epoch(broken, optimizer)
    print(f"epoch {epoch + 1}: validation_accuracy={accuracy(broken):.3f}")

# %% [markdown]
# It only guesses. Now ask four questions in this order; each takes the one before for granted.
#
# *1 · Is the loss right before the first step?* A network that knows nothing gives each class a tenth: the loss
# is −ln(1/10) = ln 10. Much more means that inputs or weights are too large. Ours, and with digits that somebody forgot
# to standardise:

# %%
fresh, _ = start(lr=0.3)
right = loss_of(fresh, images[:1_000], labels[:1_000])
wrong = loss_of(fresh, train.images[:1_000, None].float(), labels[:1_000])
print(f"ln 10 is {math.log(10):.2f}; ours {right:.1f}; not standardised: above 3 ln 10")

# %% tags=["hide-input"]
assert accuracy(broken) < 0.2
assert abs(right - math.log(10)) < 0.1
assert wrong > 3 * math.log(10)

# %% [markdown]
# *2 · Can it learn one batch by heart?* 64 digits, 60 steps. If it cannot, the fault lies between the digits, the loss and
# the step: no other data, no larger network would help.


# %%
def one_batch_loss(lr):
    """After 60 steps on the same 64 digits."""
    one, optimizer = start(lr)
    for _ in range(60):
        train_epoch(one, optimizer, digits=64)
    return loss_of(one, images[:64], labels[:64])


# %%
for lr in (0.003, 0.3):
    learnt = one_batch_loss(lr) < 0.1
    assert learnt == (lr == 0.003)
    print(f"rate {lr}: {'learnt by heart' if learnt else 'not learnt'}")

# %% [markdown]
# *3 · Is the rate right?* At 0.003 it learns, so digits, loss and network are fine: it is the step. Divide it by ten
# until it learns, then raise it until it does not.
#
# *4 · What do the units do?* Why does it not recover? Count the channels of the last map that are 0 at every place of every
# digit, and how many different answers it gives:


# %%
@torch.no_grad()
def health(network):
    """Dead channels after the second ReLU, and how many different answers."""
    dead = (network[:5](images[6_000:]).amax((0, 2, 3)) == 0).sum().item()
    return dead, len(network(images[6_000:]).argmax(1).unique())


# %%
for name, network in (("rate 0.003", net), ("rate 0.3", broken)):
    dead, answers = health(network)
    assert (dead, answers) == (16, 1) if name == "rate 0.3" else dead < 8
    some = "all" if dead == 16 else "not all"
    print(f"{name}: {some} channels dead, answers: {answers}")

# %% [markdown]
# All of them are **dead**. The first large steps made the sums negative for every digit; ReLU gives 0 there, its derivative
# is 0, and `backward` tells these kernels nothing, for ever. What is left of the network is the bias of its head, one
# answer for every digit. A smaller rate from the start prevents this; from here no rate can undo it.
#
# ## What Model3 is made of
#
# The course's first serious network is the source's, `Model3`. It has seven convolutions, each in a block
# of four steps:

# %%
[type(step).__name__ for step in models.conv_relu_norm(1, 10)]

# %% [markdown]
# **BatchNorm** shifts and scales every channel to mean 0 and deviation 1, using the digits of the batch
# while training and stored values afterwards; steps can then be larger. **Dropout** sets each unit to 0 with some
# probability while training, here 0.05, so no unit can rely on a single other one.
#
# ## A real run
#
# The source's recipe is the loop above with 20 epochs, batches of 32, and the turned digits with holes of notebook 1. It
# was run once and stored (`python -m mnist_utils.train --recipe reference` repeats it, in a quarter of an hour). The
# *test digits* are 10,000 others, on which a finished network is judged. **Which accuracy will be higher after 20 epochs:
# that of the training digits, measured while training, or that of the test digits?**

# %%
reference = results.history("reference")
plots.keep(
    plots.history(reference["epochs"]),
    "reference_curves",
    "Twenty epochs: the test accuracy lies above the accuracy while training.",
)

# %%
print(comparison(reference["epochs"][-1]))

# %% [markdown]
# The test curve lies *above* the training curve. The source calls that good generalisation. But the two are measured
# differently: while it trains, the network is shown turned digits with holes; Dropout takes units away; and BatchNorm
# standardises by the few digits of a batch, not by what it has learnt from all. Test the finished network on training
# digits as they are, and then with each of the three put back, or all. **Which costs most?**

# %%
guess = ""  # augmented, Dropout or BatchNorm of the batch

# %%
trained = results.network("reference")
digits = data.load(train=True).take(slice(6_400))

# %%
whole = RECIPES["reference_batch"]
configs = {True: whole, False: replace(whole, augmentation="none")}
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
    order = torch.Generator().manual_seed(0)
    batches = augment.training_batches(digits, configs[augmented], 0, order)
    with torch.no_grad():
        right = [(network(some).argmax(1) == label).sum() for some, label in batches]
    return sum(right).item() / len(digits)


# %%
found = {name: accuracy_under(*how) for name, how in conditions.items()}
for name, accuracy in found.items():
    cost = 100 * (found["as they are"] - accuracy)
    print(f"{name:23} {accuracy:.2%}, {cost:.2f} points less")

# %%
last = reference["epochs"][-1]
test, while_training = last["held_out_accuracy"], last["train_accuracy"]
print(f"{test:.2%} on the test digits, {while_training:.2%} while training")

# %% tags=["hide-input"]
assert found["as they are"] > test > found["all three"]

# %% [markdown]
# All three cost about the same, two or three tenths of a point; one draw of 6,400 digits cannot say which costs most.
# Together they take the finished network most of the way down to the accuracy that was measured while training. (While
# training, for one, the network was not finished.) Measured alike, the training digits lie above the test digits,
# though by no more than chance allows with 10,000 test digits.
#
# ## What the regularizers do
#
# *Regularizers* make training harder, so that a network does not merely learn its digits by heart. The source calls its
# own "heavy". How much are BatchNorm, Dropout and the holes worth? The recipe above for 10 epochs, with everything; with
# one of the three left out; with BatchNorm alone (no Dropout, no holes, no turning). Each is trained from three *seeds*,
# random starting weights, and judged on 5,000 **validation digits**, training digits that were set aside. The *gap*
# is the validation accuracy less the accuracy while training. **Which of the three can the network least afford to lose?**

# %%
names = ("all", "no_CoarseDropout", "no_Dropout", "only_BatchNorm", "no_BatchNorm")
for name in names:
    runs = results.runs(f"regularizers/{name}")
    gap = mean(run["held_out_accuracy"] - run["train_accuracy"] for run in runs)
    assert name != "only_BatchNorm" or gap < 0.003
    print(f"{name:17}{results.line(f'regularizers/{name}')}, gap {100 * gap:+.2f}")

# %%
print(
    results.compared({n: (f"regularizers/{n}", "regularizers/all") for n in names[1:]})
)

# %% [markdown]
# None of this is large, and three seeds can distinguish none of it from chance (± is half of a 95% interval of the
# difference, no star). BatchNorm seems to help by one or two tenths of a point. Dropout and the holes show no gain, not
# even a sign of one. Six thousand parameters have little room to learn 55,000 digits by heart.
#
# And the gap? It is what the regularizers take away *while training*, and says little of how a network reads new digits:
# here the networks with smaller gaps do as well or better.
#
# `course`, the network that later notebooks use most, is trained by this loop with some refinements; [the
# results](../results/README.md) explain and measure them.
#
# ## What was shown
#
# - A convolution is a sum of products, slid over the image. Training is a loop: predict, measure the loss, step downhill.
# - One kernel for all places needs few weights, and its maps move with the image; a dense head does not.
# - When a run fails, check in order: the first loss, one batch by heart, the rate, dead units.
# - Accuracy while training and accuracy on held-out digits are different measurements. Compare them only
#   after asking the same question of both.
#
# Your turn: [exercises](exercises/02a_training.ipynb), write a convolution that PyTorch agrees with.
#
# Next: [2b · The arithmetic of receptive fields](02b_receptive_fields.ipynb)
