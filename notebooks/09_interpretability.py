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
# *If the pixels that it names are taken away, does the network fail sooner than if any ink is taken away?*
#
# The answer in short, for Model3 and 200 digits: two of the pictures rank the pixels by strength as those of a
# network with *random* weights do, and as the ink does (rank correlation 0.99). And yet the pixels that they
# name first do count: 30 of these taken away change the answer for one digit in five, 30 of the brightest for
# one in twelve. After 100 pixels, the brightest ink has caught up with the best of the four.

# %%
import warnings

warnings.filterwarnings("ignore", "IProgress not found")  # captum's bar; none is shown here

# %%
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
# The first layer's ten kernels, and the map that each makes of a seven. White is positive, black negative.
# **Which of them would you call an edge detector?**

# %%
kernels = network.block1[0][0].weight.detach()  # (10, 1, 3, 3)
large = F.interpolate(kernels, size=(28, 28), mode="nearest")[:, 0]
found = explain.output_of(network, images[:1], "block1.0.0").detach()[0]
found = F.pad(found, [1] * 4)
sheet = torch.cat([large / (2 * large.abs().max()), found / (2 * found.abs().max())]) + 0.5
plots.keep(
    plots.images(sheet, [f"filter {i}" for i in range(10)] + [f"map {i}" for i in range(10)]),
    "09_filters",
    "Ten kernels of 3×3 and below each the map it makes of a seven: edges of several directions.",
)

# %% [markdown]
# Some answer to edges of one direction, some to ink as such. Deeper layers mix these, and nobody can read
# their kernels any more; so people ask for pixels instead.
#
# ## Class activation: a sum that is exact
#
# Model3 ends in a mean over 3×3 units and a linear head. Both are sums, so that they may change places: apply
# the head to each of the nine units first, and the *mean* of the nine results is the logit. The nine numbers
# are called a **class activation map** (Zhou et al. 2016). Not approximately:

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
cells = (cells - cells.amin((1, 2), True)) / (cells.amax((1, 2), True) - cells.amin((1, 2), True))
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
# blow-up looks like a map of the image and is none. **The sum is exact; the place is not.**
#
# ## Three pictures of pixels
#
# - *Saliency*: how much the logit would change with each pixel, the gradient's absolute value.
# - *Integrated gradients*: the gradient, averaged on the way from a black image to the digit, times the digit.
# - *Occlusion*: how much the logit falls when a black square of 5×5 hides the place.
#
# Besides, the gradient *times the digit*, a poor man's integrated gradients.


# %%
def logits_of(model):
    """What each method asks of a network: a function from digits to their ten logits."""
    return lambda digits: explain.output_of(model, digits, "head").flatten(1)


# %%
def pictures(model, digits, target):
    """Each method's picture of some digits, (N, 28, 28)."""
    score, start = logits_of(model), torch.full_like(digits, black)
    gradient = Saliency(score).attribute(digits.clone().requires_grad_(), target, abs=False)
    along = IntegratedGradients(score).attribute(digits, start, target, internal_batch_size=400)
    hidden = Occlusion(score).attribute(digits, (1, 5, 5), (1, 2, 2), black, target)
    named = {"saliency": gradient.abs(), "gradient × digit": gradient * (digits - black)}
    named |= {"integrated gradients": along, "occlusion": hidden}
    return {name: picture[:, 0].detach().float() for name, picture in named.items()}


# %%
trained = pictures(network, images, winner)
sheet = [(p[:4].abs() / p[:4].abs().amax((1, 2), True)) for p in trained.values()]
plots.keep(
    plots.images(torch.cat(sheet), [t for n in trained for t in (n, "", "", "")], columns=4),
    "09_pictures",
    "Four digits by four methods: specks, two outlines of the digit, and soft blobs along its strokes.",
)

# %% [markdown]
# ## Does it know what the network knows?
#
# A picture that explains a network should be another one for another network (Adebayo et al. 2018). So draw the
# same for networks with random weights, and compare by Spearman's rank correlation: 1 is the same order of
# pixels, 0 has nothing in common. And compare with the ink itself. **Guess first: which of the four depends
# least on what was learnt?**


# %%
def agreement(one, other):
    """Mean rank correlation of two sets of pictures, by strength."""
    pairs = zip(one.abs().flatten(1), other.abs().flatten(1), strict=True)
    return sum(float(spearmanr(a, b)[0]) for a, b in pairs) / len(one)


# %%
few, rounds = images[:60], []
ink = images[:, 0] - black
for seed in range(3):
    torch.manual_seed(seed)
    rounds.append(pictures(models.build("Model3").eval(), few, winner[:60]))

# %%
with_random = {
    name: [agreement(p[:60], other[name]) for other in rounds] for name, p in trained.items()
}
with_ink = {name: agreement(p, ink) for name, p in trained.items()}

# %%
for name in ("gradient × digit", "integrated gradients"):
    assert min(*with_random[name], with_ink[name]) > 0.98
for name, values in with_random.items():
    span = f"{min(values):.2f} to {max(values):.2f}"
    print(f"{name:21} with 3 random networks' {span}, with the ink {with_ink[name]:.2f}")

# %% [markdown]
# The two that multiply by the digit order the pixels as *any* network would, trained or not: as the ink does.
# They are 0 where the image is black, which is most of it, and that decides the order. What they show is the
# digit. Saliency does not follow the ink, and still is half the same for a network that knows nothing.
#
# ## Does the network miss them?
#
# The other test: blacken pixels in the order in which a picture names them, and see how long the network
# still says what it said. Two rivals need no network at all: *the brightest ink first*, and *any ink*, in random
# order. A picture that knows more than these should be faster. **Where do you expect "brightest ink"?**

# %%
orders = dict(trained) | {"brightest ink": ink, "any ink": (ink > 0) * torch.rand(ink.shape)}
counts = (0, 10, 20, 30, 40, 60, 80, 100)
kept = {}
for name, picture in orders.items():
    order = (picture + 1e-6 * torch.rand(picture.shape)).flatten(1).argsort(1, descending=True)
    left = []
    for count in counts:
        blackened = images.flatten(1).scatter(1, order[:, :count], black).view_as(images)
        said = explain.output_of(network, blackened, "head").flatten(1).argmax(1)
        left.append((said == winner).double().mean().item())
    kept[name] = left

# %%
plots.keep(
    plots.lines(
        counts, kept, xlabel="pixels blackened", ylabel="still reads it as before", percent=True
    ),
    "09_deletion",
    "Share of digits read as before, falling with pixels blackened: occlusion falls furthest.",
)

# %%
at = dict(zip(counts, zip(*kept.values(), strict=True), strict=True))
assert 0.75 < at[30][2] < 0.85 < 0.9 < at[30][4] < 0.94
assert at[80][4] < min(at[80][1:3])
assert abs(at[100][3] - at[100][4]) < 0.05
print(f"30 pixels: {at[30][2]:.0%} by integrated gradients, {at[30][4]:.0%} by the brightest ink")

# %%
print(f"{'pixels blackened':21}" + "".join(f"{count:6}" for count in counts))
for name, left in kept.items():
    print(f"{name:21}" + "".join(f"{share:6.0%}" for share in left))

# %% [markdown]
# Saliency names hardly any ink, and to blacken black changes nothing. The three others are ahead of the ink at
# first: what they name early matters. But the brightest ink, which needs no network, catches up: after 80
# pixels it is ahead of the two that multiply by the digit, after 100 level with occlusion, the best. (200
# digits: each share is good to about ± 7 points.)
#
# So what does Model3 look at? At ink, most of it, and not at any ink alike; more than that these pictures do not
# bear out.
#
# ## What was shown
#
# - A class activation map adds up to the logit exactly, and says next to nothing about where.
# - A picture that multiplies by the digit looks convincing because it shows the digit. Ask it about a network
#   with random weights before you believe it.
# - Say what a rival without any network reaches: "brightest ink first" is hard to beat.
#
# Next: your own digits.
