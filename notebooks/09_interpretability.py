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
# # 9 · Interpretability
#
# **What does a network look at?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebooks 2a and 2b; the trained weights in `results/` | 1 minute to run, 30 to read | nothing |
#
# People explain networks with pictures of which pixels counted. Four such pictures are drawn here, for
# one trained Model3 and the first 200 test digits, and we ask each three questions. *Does it change when the
# network is replaced by one that has learnt nothing?* *If the pixels it points to are removed, does the
# network change its answer sooner than if any ink is?* And, if so: *does it tell us about this network, or
# about the digit?*

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
import warnings

warnings.filterwarnings(
    "ignore", "IProgress not found"
)  # captum's bar; none is shown here

# %%
import statistics

import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, Occlusion, Saliency
from scipy.stats import spearmanr

# %%
from mnist_utils import data, explain, models, plots, results

torch.manual_seed(0)
torch.set_num_threads(1)

# %%
test = data.load(train=False)
network = results.network("reference").eval()
images = data.standardize(test.images[:200])
black = images.min().item()

# %% [markdown]
# ## Filters, and what they find
#
# Here are the first layer's ten kernels, and each one's map of a seven, before ReLU. White is 0, red positive, blue
# negative. **Which of them would you call an edge detector?**

# %%
kernels = network.block1[0][0].weight.detach()  # (10, 1, 3, 3)
large = F.interpolate(kernels, size=(28, 28), mode="nearest")[:, 0]
found = explain.output_of(network, images[:1], "block1.0.0").detach()[0]
found = F.pad(found, [1] * 4, value=torch.nan)
signed = torch.cat(
    [large / large.abs().max(), found / found[:, 1:-1, 1:-1].abs().max()]
)

# %%
titles = [f"{what} {i}" for what in ("filter", "map") for i in range(10)]
plots.keep(
    plots.images(torch.zeros_like(signed), titles, over=signed),
    "09_filters",
    "Ten kernels of 3×3 and below each the map it makes of a seven: edges of several "
    "directions.",
)

# %% [markdown]
# Filters 4 and 6 detect upper or lower edges, 5 and 8 left or right ones, and 3 wherever there is ink.
# Deeper layers read ten such maps at once, and their kernels are hard to read; so people look at pixels instead.
#
# ## Class activation: a mean that is exact
#
# Model3 ends in a mean over 3×3 units and a linear head. Both are linear, so they can be swapped: apply
# the head to each of the nine units first, and the mean of the nine results is the logit. The nine numbers
# are called a **class activation map** (Zhou et al. 2016). The equality is exact, up to rounding:

# %%
activation = explain.class_activation(network, images, maps="block3", head="head")
logits = explain.output_of(network, images, "head").detach().flatten(1)
print(f"largest difference {(activation.mean((2, 3)) - logits).abs().max():.0e}")

# %%
assert torch.allclose(activation.mean((2, 3)), logits, atol=1e-4)

# %% [markdown]
# But where do the nine lie? They are usually blown up to the size of the image. **Predict: in a true drawing,
# how far apart are the centres of the outer ones?** (Notebook 2b's table has it: start 11.5, jump 2.)

# %%
shown = range(4)
winner = logits.argmax(1)
cells = torch.stack([activation[i, winner[i]] for i in shown])
print("the seven's nine cells:", *[f"{cell:.0f}" for cell in cells[0].flatten()])
cells = cells / cells.amax((1, 2), True)  # the strongest is 1, and red
true = torch.full((4, 28, 28), torch.nan)
true[:, 11:17, 11:17] = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)

# %%
blown_up = F.interpolate(cells[:, None], size=(28, 28), mode="bilinear")[:, 0]
digits = (test.images[:4] / 255).repeat(2, 1, 1)
plots.keep(
    plots.images(
        digits,
        ["nine cells"] * 4 + ["blown up"] * 4,
        columns=4,
        over=torch.cat([true, blown_up]),
    ),
    "09_class_activation",
    "Four digits with their nine cells, a small square in the middle; the same blown "
    "up over the image.",
)

# %% [markdown]
# Four pixels: the nine centres lie in the middle of the image, and each unit sees 24 pixels around its own. The
# enlargement looks like a map of the image, but it is not one. **The mean is exact; the place is not.**
#
# ## Four pictures of pixels
#
# Each says how much a pixel counts for the winner's logit:
#
# - *saliency*: how fast the logit changes with the pixel, the gradient's absolute value;
# - *gradient × digit*: the gradient times how far the pixel is from black;
# - *integrated gradients*: the same, but the gradient is averaged on the way from black to the digit;
# - *occlusion*: how much the logit falls when a black square of 5×5 hides the place, moved by 2 pixels; a pixel
#   gets the mean over all squares that cover it.
#
# All but saliency have a sign: plus speaks for the answer, minus against it. We draw only the strength.
#
# One rule first. Most of the image is black, and there the four units that a max pool compares are equal.
# Which of them gets the gradient? Rounding would decide, differently on every processor. So we let them share it
# (`explain.sharing_ties`), and treat differences below a ten-thousandth of the strongest pixel as zero.


# %%
def logits_of(model):
    """What each method asks of a network: the ten logits of each digit."""
    return lambda digits: explain.output_of(model, digits, "head").flatten(1)


# %%
def pictures(model, digits, target):
    """Each method's picture of some digits, (N, 28, 28); its strongest pixel is 1."""
    score, start = (
        logits_of(explain.sharing_ties(model)),
        torch.full_like(digits, black),
    )
    gradient = Saliency(score).attribute(
        digits.clone().requires_grad_(), target, abs=False
    )
    along = IntegratedGradients(score).attribute(
        digits, start, target, internal_batch_size=400
    )
    hidden = Occlusion(score).attribute(digits, (1, 5, 5), (1, 2, 2), black, target)
    named = {
        "saliency": gradient.abs(),
        "gradient × digit": gradient * (digits - black),
    }
    named |= {"integrated gradients": along, "occlusion": hidden}
    return {
        name: (p / p.abs().amax((2, 3), True)).detach()[:, 0].double().round(decimals=4)
        for name, p in named.items()
    }


# %%
trained = pictures(network, images, winner)
sheet = torch.cat([picture[:4].abs() for picture in trained.values()])
plots.keep(
    plots.images(sheet, [t for n in trained for t in (n, "", "", "")], columns=4),
    "09_pictures",
    "Four digits by four methods: specks, two outlines of the digit, and soft blobs "
    "along its strokes.",
)

# %% [markdown]
# ## Does it know what the network knows?
#
# A picture that explains a network should differ for a different network (Adebayo et al. 2018). So draw the
# same for networks with random weights, and compare by Spearman's **rank correlation**: 1 is the same order of
# pixels, 0 is nothing in common. First the whole image, by strength, as is often done. And as a check of
# the check: what do two sets of *random numbers* get when placed on the ink of the same digits? **Guess.**


# %%
def agreement(one, other, on=None):
    """Mean rank correlation of pictures of the same digits, `on` these pixels only."""
    pairs = zip(one.flatten(1), other.flatten(1), strict=True)
    if on is not None:
        pairs = ((a[i], b[i]) for (a, b), i in zip(pairs, on.flatten(1), strict=True))
    return statistics.mean(float(spearmanr(a, b)[0]) for a, b in pairs)


# %%
few, rounds = images[:60], []
ink = test.images[:200].double()
on = ink[:60] > 0
dice = [on * torch.rand(on.shape, dtype=torch.double) for _ in range(2)]

# %%
for seed in range(3):
    torch.manual_seed(seed)
    rounds.append(pictures(models.build("Model3").eval(), few, winner[:60]))


# %%
def over_networks(compare):
    """Least and greatest agreement of each picture with the random networks' own."""
    found = {
        n: [compare(p[:60], other[n]) for other in rounds] for n, p in trained.items()
    }
    return {
        name: f"{min(values):5.2f} to {max(values):5.2f}"
        for name, values in found.items()
    }


# %%
whole = over_networks(lambda one, other: agreement(one.abs(), other.abs()))
for name, agreed in whole.items():
    print(f"{name:21} {agreed}")
print(f"{'random numbers':21} {agreement(*dice):5.2f}")

# %% [markdown]
# Two pictures seem to be the same for every network: 0.99. But so do dice! Most of the image is black, and
# there a picture that multiplies by the digit is 0 for any network; that alone creates the correlation.
# (60 digits, the range over three random networks.) **A test must be tested, too.** So ask again, on the ink
# alone, and with the sign:

# %%
within = over_networks(lambda one, other: agreement(one, other, on))
for name, agreed in within.items():
    print(f"{name:21} {agreed}")

# %% [markdown]
# Nothing is left: which ink speaks for the answer, and which against, depends on what was learnt, in all three
# pictures that have a sign. Of saliency, a little is left. Any network, trained or not, looks less at the border; so
# compare once more, only among ink equally far from the middle, in rings two pixels wide:

# %%
from_middle = (torch.arange(28) - 13.5).square()
distance = (from_middle[:, None] + from_middle).sqrt()
ring = on & (distance >= 6) & (distance < 8)
ringed = over_networks(lambda one, other: agreement(one, other, ring))
print(f"saliency              {ringed['saliency']}")

# %% [markdown]
# That accounted for all of it.
#
# ## Does the network miss them?
#
# The other test: blacken a digit's ink in the order in which a picture ranks it, what speaks *for* the answer
# first, and see how long the network keeps its answer. Every order takes the same share of the digit's
# ink. Four rivals need no network at all:
#
# - *any ink*, in random order, and *brightest ink* first;
# - *from the centre*: ink nearest to the digit's centre of mass first;
# - *a round hole*: ink nearest to one pixel of ink, drawn at random, first.
#
# **With two fifths of the ink gone, how many of the 200 digits are still read as before, if any ink goes? If a
# round hole goes? If the ink that occlusion ranks first goes?**

# %%
guess = {"any ink": "", "a round hole": "", "occlusion": ""}  # yours, in %

# %%
shares = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
pixels = (ink > 0).flatten(1).sum(1)  # of ink, in each digit


def still_read(picture):
    """Is each digit read as before, (shares, N), with these shares of its ink gone?"""
    tied = picture + 1e-9 * torch.rand(picture.shape, dtype=torch.double)
    order = (
        tied.masked_fill(ink == 0, -torch.inf).flatten(1).argsort(1, descending=True)
    )
    rank = order.argsort(1)
    left = [
        images.flatten(1).masked_fill(rank < (s * pixels)[:, None], black)
        for s in shares
    ]
    return torch.stack(
        [logits_of(network)(x.view_as(images)).argmax(1) == winner for x in left]
    )


# %%
def several(draw, times=5):
    """The mean of several random orders."""
    return torch.stack(
        [still_read(draw().double()).double() for _ in range(times)]
    ).mean(0)


def nearness(places):
    """How near each pixel is to its digit's place, (N, 28, 28); `places`: (N, 2)."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(28.0)] * 2, indexing="ij"), -1)
    return -torch.linalg.vector_norm(grid - places[:, None, None], dim=-1)


def any_of_the_ink():
    """A random pixel of each digit's ink, (N, 2)."""
    at = (torch.rand(ink.shape) * (ink > 0)).flatten(1).argmax(1)
    return torch.stack([at // 28, at % 28], 1)


# %%
inked = ink / ink.sum((1, 2), keepdim=True)
rows_columns = torch.stack(torch.meshgrid(*[torch.arange(28.0)] * 2, indexing="ij"))
centres = torch.einsum("nhw,chw->nc", inked, rows_columns.double())

kept = {name: still_read(picture).double() for name, picture in trained.items()}
kept["brightest ink"] = still_read(ink).double()
kept["from the centre"] = still_read(nearness(centres)).double()
kept["a round hole"] = several(lambda: nearness(any_of_the_ink()))
kept["any ink"] = several(lambda: torch.rand(ink.shape))

# %% tags=["nbval-ignore-output"]
plots.keep(
    plots.lines(
        [100 * share for share in shares],
        {name: left.mean(1) for name, left in kept.items()},
        xlabel="% of the digit's ink blackened",
        ylabel="of 200 digits, read as before",
        percent=True,
    ),
    "09_deletion",
    "Share of digits read as before, falling as ink goes: fastest in the order of "
    "occlusion.",
)

# %%
at, rival = shares.index(0.4), kept["a round hole"]
for name, left in kept.items():
    if left is rival:
        continue
    fewer = 100 * (rival - left)[at]
    half = 1.96 * fewer.std() / len(fewer) ** 0.5
    print(
        f"{name:21} {left[at].mean():4.0%}   {fewer.mean():+3.0f} ± {half:.0f} points "
        "fewer than by the hole"
    )
print(f"{'a round hole':21} {rival[at].mean():4.0%}")
print("your guesses:", *(f"{name} {said or '–'}%" for name, said in guess.items()))

# %%
read = {name: left[at].mean().item() for name, left in kept.items()}

# %% tags=["hide-input"]
assert (
    read["occlusion"] < 0.55 < min(read["integrated gradients"], read["a round hole"])
)
assert read["brightest ink"] > max(read["a round hole"], read["gradient × digit"])
assert abs(read["saliency"] - read["any ink"]) < 0.05

# %% [markdown]
# (± is the 95% interval of the difference, paired digit by digit, for these 200 digits as a sample of others; seven
# comparisons, not corrected.) **The strongest rival decides what a result means.** Against the brightest ink two
# pictures made from gradients look useful. Neither can be distinguished from a round hole, which uses no network: one gap
# hurts more than many specks. Occlusion stays ahead. But remember how it is made: by
# hiding places and watching the logit. It is judged by the very thing it does.
#
# ## Of this network, or of the digit?
#
# Occlusion finds ink that counts. Does it tell us what counts for *Model3*? Draw the same pictures from three other
# networks, blacken ink in *their* order, and show Model3 what is left. **If the picture is about Model3, whose order
# should hurt it most?**


# %%
def occluded(model):
    """Occlusion's pictures of the 200 digits, (N, 28, 28)."""
    return (
        Occlusion(model)
        .attribute(images, (1, 5, 5), (1, 2, 2), black, winner)[:, 0]
        .double()
    )


# %%
others = {name: results.network(name).eval() for name in ("course", "best", "small")}
borrowed = {
    name: still_read(occluded(other)).double() for name, other in others.items()
}
print(f"its own      {read['occlusion']:4.0%}")
for name, left in borrowed.items():
    less = 100 * (kept["occlusion"] - left)[at]
    print(
        f"{name:12} {left[at].mean():4.0%}  {less.mean():+3.0f} ± "
        f"{1.96 * less.std() / 200**0.5:.0f} points"
    )

# %% tags=["hide-input"]
assert all(
    abs((kept["occlusion"] - left)[at].mean()) < 0.1 for left in borrowed.values()
)

# %% [markdown]
# Other networks' pictures hurt Model3 nearly as much as its own: three gaps of a few points, none of which can be distinguished from chance.
# So what occlusion finds belongs mostly **to the digit**: where a seven's stroke must be for it to be a
# seven. A picture that explains one network would have to beat the pictures of others; this one does not.
#
# ## And where there is no ink?
#
# Blackening black changes nothing, so this test is blind to empty places. Whiten a few of them: those that
# saliency picks, or random ones, both in the middle 20×20 pixels. **Does Model3 respond to them?**

# %%
white = images.max().item()
empty = F.pad(torch.ones(20, 20), [4] * 4).bool() & (ink == 0)
for name, picture in (
    ("by saliency", trained["saliency"]),
    ("any", torch.rand(ink.shape)),
):
    order = (
        picture.masked_fill(~empty, -1)
        .flatten(1)
        .argsort(dim=1, descending=True, stable=True)
    )
    said = []
    for count in (5, 10, 20):
        whitened = images.flatten(1).scatter(1, order[:, :count], white).view_as(images)
        said.append(
            (logits_of(network)(whitened).argmax(1) == winner).double().mean().item()
        )
    print(
        f"{name:12} 5, 10, 20 pixels whitened: {said[0]:.0%}, {said[1]:.0%}, "
        f"{said[2]:.0%} read as before"
    )

# %% [markdown]
# It does: ten random white pixels change the answer for a fifth of the digits, and ten that saliency
# picks do so for nearly a third. A picture that multiplies by the ink cannot show that; saliency can.
#
# ## What was shown
#
# - The mean of a class activation map is the logit, exactly; its cells lie in the middle of the image, four
#   pixels apart.
# - Test a picture on a network that has learnt nothing, and test the test on random numbers.
# - Look for the strongest rival that needs no network. A round hole at a random place did as much as two pictures
#   made from gradients; saliency did no better than chance.
# - Occlusion did most: with two fifths of the ink gone, less than half of the digits were read as before. But pictures
#   made from other networks did as well: for all of them, it finds the ink that makes the digit.
# - Where there is no ink, three of the four pictures are blind, and the network is not.
# - One trained network and 200 digits: what is true of Model3's pictures may not be true of another's.
#
# Your turn: [exercises](exercises/09_interpretability.ipynb), nine cells, and what dice agree on.
#
# Next: [10 · Ensembles](10_ensembles.ipynb)
