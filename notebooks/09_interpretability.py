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
# **What does it look at?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebooks 2a and 2b; the trained weights in `results/` | 1 minute to run, 30 to read | nothing |
#
# People explain a network by pictures that show which pixels counted. Four such pictures are drawn here, and
# each is asked two questions. *Does it change when the network is replaced by one that has learnt nothing?*
# *If the pixels that it names are taken away, does the network change its answer sooner than if any ink is?*
#
# The answer in short, for one trained Model3 and the first 200 test digits: **occlusion**, which hides one place
# after another, names the ink that counts. With two fifths of a digit's ink gone in its order, 45% of the
# digits are still read as before; with the brightest ink gone first, four in five. Two pictures made of gradients lie
# between, and *saliency*, the plain gradient, is no better than chance. And no such picture tells what the
# network makes of the places that are *empty*, though it does look at them.

# %%
import warnings

warnings.filterwarnings("ignore", "IProgress not found")  # captum's bar; none is shown here

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
# The first layer's ten kernels, and the map that each makes of a seven, before ReLU. Grey is 0, white positive,
# black negative; the frame around a map is no part of it. **Which of them would you call an edge detector?**

# %%
kernels = network.block1[0][0].weight.detach()  # (10, 1, 3, 3)
large = F.interpolate(kernels, size=(28, 28), mode="nearest")[:, 0]
found = explain.output_of(network, images[:1], "block1.0.0").detach()[0]
found = F.pad(found, [1] * 4)
sheet = torch.cat([large / (2 * large.abs().max()), found / (2 * found.abs().max())]) + 0.5

# %%
plots.keep(
    plots.images(sheet, [f"filter {i}" for i in range(10)] + [f"map {i}" for i in range(10)]),
    "09_filters",
    "Ten kernels of 3×3 and below each the map it makes of a seven: edges of several directions.",
)

# %% [markdown]
# Filters 4 and 6 answer to upper or lower edges, 5 and 8 to left or right ones, and 3 wherever there is ink.
# Deeper layers read ten such maps at once, and their kernels are hard to read; so people ask for pixels instead.
#
# ## Class activation: a mean that is exact
#
# Model3 ends in a mean over 3×3 units and a linear head. Both are sums, so that they may change places: apply
# the head to each of the nine units first, and the mean of the nine results is the logit. The nine numbers
# are called a **class activation map** (Zhou et al. 2016). The equality is exact, but for rounding:

# %%
activation = explain.class_activation(network, images, maps="block3", head="head")
logits = explain.output_of(network, images, "head").detach().flatten(1)
assert torch.allclose(activation.mean((2, 3)), logits, atol=1e-4)
print(f"largest difference {(activation.mean((2, 3)) - logits).abs().max():.0e}")

# %% [markdown]
# But where do the nine lie? They are usually blown up to the size of the image. **Predict: in a true drawing,
# how far apart are the centres of the outer ones?** (Notebook 2b's table has it: start 11.5, jump 2.)

# %%
shown = range(4)
winner = logits.argmax(1)
cells = torch.stack([activation[i, winner[i]] for i in shown])
print("the seven's nine cells:", *[f"{cell:.0f}" for cell in cells[0].flatten()])
cells = cells.clamp(min=0) / cells.amax((1, 2), True)  # black is 0 or less
true = torch.zeros(4, 28, 28)
true[:, 11:17, 11:17] = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)

# %%
blown_up = F.interpolate(cells[:, None], size=(28, 28), mode="bilinear")[:, 0]
sheet = torch.cat([test.images[:4] / 255, true, blown_up])
plots.keep(
    plots.images(sheet, ["digit"] * 4 + ["its nine cells"] * 4 + ["blown up"] * 4, columns=4),
    "09_class_activation",
    "Four digits; their nine cells as a small square in the middle; the same blown up to the image.",
)

# %% [markdown]
# Four pixels: the nine centres lie in the middle of the image, and each unit sees 24 pixels around its own. The
# blow-up looks like a map of the image and is none. **The mean is exact; the place is not.**
#
# ## Four pictures of pixels
#
# Each says how much a pixel counts for the winner's logit:
#
# - *saliency*: how fast the logit changes with the pixel, the gradient's absolute value;
# - *gradient × digit*: the gradient times how far the pixel is from black;
# - *integrated gradients*: the same with the gradient's mean on the way from a black image to the digit;
# - *occlusion*: how much the logit falls when a black square of 5×5 hides the place, moved by 2 pixels; a pixel
#   gets the mean over the squares that cover it.
#
# All but saliency have a sign: plus speaks for the answer, minus against it. Drawn is the strength alone.
#
# One rule is needed. Most of the image is black, and there the four units that a max pool compares are equal.
# Which of them gets the gradient? Rounding would decide, differently on every processor. So we let them share it
# (`explain.sharing_ties`), and count differences below a ten-thousandth of the strongest pixel as none.


# %%
def logits_of(model):
    """What each method asks of a network: a function from digits to their ten logits."""
    return lambda digits: explain.output_of(model, digits, "head").flatten(1)


# %%
def pictures(model, digits, target):
    """Each method's picture of some digits, (N, 28, 28), the strongest pixel of each being 1."""
    score, start = logits_of(explain.sharing_ties(model)), torch.full_like(digits, black)
    gradient = Saliency(score).attribute(digits.clone().requires_grad_(), target, abs=False)
    along = IntegratedGradients(score).attribute(digits, start, target, internal_batch_size=400)
    hidden = Occlusion(score).attribute(digits, (1, 5, 5), (1, 2, 2), black, target)
    named = {"saliency": gradient.abs(), "gradient × digit": gradient * (digits - black)}
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
    "Four digits by four methods: specks, two outlines of the digit, and soft blobs along its strokes.",
)

# %% [markdown]
# ## Does it know what the network knows?
#
# A picture that explains a network should be another one for another network (Adebayo et al. 2018). So draw the
# same for networks with random weights, and compare by Spearman's **rank correlation**: 1 is the same order of
# pixels, 0 has nothing in common. Over the whole image first, by strength, as is often done. And as a check of
# the check: what do two sets of *random numbers* get, put on the ink of the same digits? **Guess.**


# %%
def agreement(one, other, on=None):
    """Mean rank correlation of pictures of the same digits; `on`: of these pixels only."""
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
    """Least and greatest agreement of each picture with those of the random networks, in words."""
    found = {n: [compare(p[:60], other[n]) for other in rounds] for n, p in trained.items()}
    return {name: f"{min(values):5.2f} to {max(values):5.2f}" for name, values in found.items()}


# %%
whole = over_networks(lambda one, other: agreement(one.abs(), other.abs()))
for name, agreed in whole.items():
    print(f"{name:21} {agreed}")
print(f"{'random numbers':21} {agreement(*dice):5.2f}")

# %% [markdown]
# Two pictures seem to be the same for every network, 0.99. But so are dice! Most of the image is black, and
# there a picture that multiplies by the digit is 0, whatever the network; that alone makes the correlation.
# (60 digits, the range over three random networks.) **A test must be tested, too.** So ask again, on the ink
# alone, and with the sign:

# %%
within = over_networks(lambda one, other: agreement(one, other, on))
for name, agreed in within.items():
    print(f"{name:21} {agreed}")

# %% [markdown]
# Nothing is left: which ink speaks for the answer, and which against, depends on what was learnt, in all three
# pictures that have a sign. Saliency's little rest says that any network, trained or not, looks less to the border.
#
# ## Does the network miss them?
#
# The other test: blacken a digit's ink in the order in which a picture names it, what speaks *for* the answer
# first, and see how long the network still says what it said. Every order takes the same share of the digit's
# ink. Three rivals need no network at all: *brightest ink* first, *any ink*, in random order, and *any patches*,
# random order of whole places, since a gap may hurt more than many specks. **Where do you expect the three?**

# %%
shares = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
pixels = (ink > 0).flatten(1).sum(1)  # of ink, in each digit


def still_read(picture):
    """Whether each digit is read as before, (shares, N), once these shares of its ink are gone."""
    tied = picture + 1e-9 * torch.rand(picture.shape, dtype=torch.double)
    order = tied.masked_fill(ink == 0, -torch.inf).flatten(1).argsort(1, descending=True)
    rank = order.argsort(1)
    left = [images.flatten(1).masked_fill(rank < (s * pixels)[:, None], black) for s in shares]
    return torch.stack([logits_of(network)(x.view_as(images)).argmax(1) == winner for x in left])


# %%
def several(draw, times=5):
    """The mean of several random orders."""
    return torch.stack([still_read(draw().double()).double() for _ in range(times)]).mean(0)


# %%
kept = {name: still_read(picture).double() for name, picture in trained.items()}
kept["brightest ink"] = still_read(ink).double()
kept["any ink"] = several(lambda: torch.rand(ink.shape))
kept["any patches"] = several(lambda: F.avg_pool2d(torch.rand(200, 1, 28, 28), 5, 1, 2)[:, 0])

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
    "Share of digits read as before, falling as ink goes: in the order of occlusion by far the fastest.",
)

# %%
at, rival = shares.index(0.4), kept["brightest ink"]
lead = {name: 100 * (rival - left)[at] for name, left in kept.items() if left is not rival}
for name, less in lead.items():
    half = 1.96 * less.std() / len(less) ** 0.5
    fewer = f"{less.mean():+3.0f} ± {half:.0f} points fewer than by the brightest ink"
    print(f"{name:21} {kept[name][at].mean():4.0%}   {fewer}")

# %%
mean = {name: less.mean().item() for name, less in lead.items()}
assert mean["occlusion"] > 25 > mean["integrated gradients"] > mean["gradient × digit"] > 0
assert mean["any patches"] < 0
assert abs((kept["saliency"] - kept["any ink"])[at].mean()) < 0.05
print(f"by the brightest ink: {rival[at].mean():.0%}")

# %% [markdown]
# Two fifths of the ink gone. (± is the 95% interval of the difference, paired digit by digit, for these 200 digits
# as a sample of others; six comparisons, not corrected.) Occlusion is far ahead, and not because it takes
# whole places: any patches are no faster than any ink. The two pictures made of gradients are ahead of the
# brightest ink as well, not by much. Saliency is as good as chance.
#
# ## And where there is no ink?
#
# To blacken black changes nothing, so this test is blind to empty places. Whiten a few of them: those that
# saliency names, or any, both in the middle 20×20 pixels. **Is Model3 interested in them?**

# %%
white = images.max().item()
empty = F.pad(torch.ones(20, 20), [4] * 4).bool() & (ink == 0)
for name, picture in (("by saliency", trained["saliency"]), ("any", torch.rand(ink.shape))):
    order = picture.masked_fill(~empty, -1).flatten(1).argsort(dim=1, descending=True, stable=True)
    said = []
    for count in (5, 10, 20):
        whitened = images.flatten(1).scatter(1, order[:, :count], white).view_as(images)
        said.append((logits_of(network)(whitened).argmax(1) == winner).double().mean().item())
    print(
        f"{name:12} 5, 10, 20 pixels whitened: {said[0]:.0%}, {said[1]:.0%}, {said[2]:.0%} read as before"
    )

# %% [markdown]
# It is: ten white pixels, wherever they lie, change the answer for a fifth of the digits, and ten that saliency
# names for nearly a third. A picture that multiplies by the ink cannot show that.
#
# ## What was shown
#
# - The mean of a class activation map is the logit, exactly; its cells lie in the middle of the image, four
#   pixels apart.
# - Test a picture on a network that has learnt nothing, and test the test on random numbers.
# - Say what rivals without any network reach. Occlusion beat "brightest ink first" and "any patches"; saliency
#   beat neither.
# - One trained network and 200 digits: what is true of Model3's pictures may not be so of another's.
#
# Your turn: [exercises](exercises/09_interpretability.ipynb), nine cells, and what dice agree on.
#
# Next: [10 · Ensembles](10_ensembles.ipynb)
