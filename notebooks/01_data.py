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
# # 1 · The data
#
# **What do 60,000 digits look like, and what may we do to them?**
#
# | needs | takes | costs |
# |---|---|---|
# | this repository, nothing else | 1 minute to run, 20 to read | nothing |
#
# Much of this course's design starts from three facts about the images: how large a digit is, where it
# lies, and which values its pixels take. We measure all three.

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

import numpy as np
import torch

from mnist_utils import augment, data, plots
from mnist_utils.recipes import REFERENCE

warnings.filterwarnings(
    "ignore", "This DataLoader will create 2 worker"
)  # where there is one CPU

# %%
train = data.load(train=True)
test = data.load(train=False)
train.images.shape, train.images.dtype, test.images.shape

# %% [markdown]
# The files are in `data/`; `load` compares their MD5 sums with the published ones before it
# returns a single pixel. Here are the first twenty digits, as they are stored.

# %%
sheet = plots.images(train.images[:20] / 255, train.labels[:20].tolist())
plots.keep(
    sheet,
    "01_digits",
    "The first twenty training digits, white on black, labels above.",
)

# %% [markdown]
# ## Pixels: 0 is black
#
# Most of an image is background. How much, exactly?

# %%
background = (train.images == 0).double().mean().item()
print(
    f"{background:.1%} of all pixels are 0, "
    f"{(train.images == 255).double().mean():.1%} are 255"
)

# %% tags=["hide-input"]
assert 0.80 < background < 0.82

# %% [markdown]
# So four pixels in five are exactly 0: **black**. Keep that in mind for the section on `fill`.
#
# Networks often train more easily on inputs of mean 0 and deviation 1 (LeCun et al. 1998; not measured
# here). The two constants in every MNIST script, 0.1307 and 0.3081, are not magic: they are the mean and the standard deviation of
# the 47 million training pixels, scaled to 0..1.

# %%
pixels = train.images.double() / 255
mean, deviation = pixels.mean().item(), pixels.std().item()
print(f"mean {mean:.4f}, deviation {deviation:.4f}")

# %% tags=["hide-input"]
assert pixels.numel() == 47_040_000
assert (
    (round(mean, 4), round(deviation, 4)) == (data.MEAN, data.STD) == (0.1307, 0.3081)
)

# %% [markdown]
# After standardisation black is no longer 0, and white is far from it:

# %%
black, white = (0 - mean) / deviation, (1 - mean) / deviation
print(f"black {black:.2f}, white {white:.2f}")

# %% tags=["hide-input"]
assert round(black, 2) == -0.42

# %% [markdown]
# ## Classes: nearly balanced
#
# If one class were rare, accuracy would flatter a network that ignores it. A network that always
# guesses the commonest class is right as often as that class comes up.

# %%
counts = train.labels.bincount().tolist()
rarest, commonest = min(counts), max(counts)
bars = plots.bars(range(10), counts, xlabel="digit", ylabel="training images")
plots.keep(
    bars,
    "01_classes",
    "Bars of training images per digit, all between 5,400 and 6,750.",
)

# %%
print(f"fewest: {rarest:,} (digit {counts.index(rarest)})")
print(
    f"most: {commonest:,} (digit {counts.index(commonest)}), "
    f"{commonest / len(train):.1%} of all"
)

# %% [markdown]
# ## Size: a digit of 20 pixels in an image of 28
#
# NIST's digits were scaled to fit a box of 20×20 pixels, then centred by mass in 28×28. But do not
# take our word for it: find each digit's first and last inked row and column.


# %%
def extent(images, axis):
    """Height (axis 1) or width (axis 2) of the ink of each image, pixels."""
    inked = (images > 0).any(dim=3 - axis).int()
    return 28 - inked.argmax(dim=1) - inked.flip(1).argmax(dim=1)


heights, widths = extent(train.images, 1), extent(train.images, 2)

# %%
longer = torch.maximum(heights, widths)
print(
    f"the longer side is 20 pixels in {(longer == 20).sum():,} of {len(longer):,} "
    "digits"
)

# %% tags=["hide-input"]
assert (longer == 20).double().mean() > 0.999

# %% [markdown]
# Practically every digit is 20 pixels long on its longer side, in an image of 28. With these two
# numbers in mind notebook 2c asks how much of a digit one part of a network should see.
#
# Where do they lie? **How much of all the ink lies in the middle 20×20 pixels of the image?** Write your guess
# down in the next cell, here and in every notebook: a guess you did not write down was always right.

# %%
guess = ""  # yours, in %

# %%
mean_digit = pixels.mean(dim=0).numpy()
for margin in (4, 3, 2):
    middle = mean_digit[margin : 28 - margin, margin : 28 - margin]
    share = middle.sum() / mean_digit.sum()
    print(
        f"the middle {28 - 2 * margin}×{28 - 2 * margin} pixels hold {share:.1%} of "
        "all ink"
    )

# %% [markdown]
# The mean of all digits, and in orange the middle 24×24:

# %%
plots.keep(
    plots.mean_digit(mean_digit, (2, 2, 25, 25)),
    "01_mean_digit",
    "The mean of all digits: a slanted blur, brightest in its middle, in a square of "
    "24 pixels.",
)

# %% [markdown]
# Centred by mass, digits stray: practically all ink, but not all, lies in the middle 24×24. Remember it when
# notebook 2c asks how much a unit should see.
#
# ## Augmentation: new digits from old
#
# A digit turned by a few degrees is the same digit. This course began with somebody's README and code,
# [session_7](https://github.com/anirudh-s97/session_7): we call it *the source*, repeat its training (our
# *reference*), and check what it claims. Its *recipe*, all the settings of a training, turns by up to 7° and,
# with *CoarseDropout* (Cutout), blots out one to three holes of 4 or 5 pixels. Each happens to half of the
# images. Holes are filled with 0, so on the black background they do not show. The same digit ten times:

# %%
transform = augment.sample_transform(REFERENCE, seed=3)
five = (train.images[0] / 255).numpy()
many = [transform(image=five)["image"] for _ in range(10)]
sheet = plots.images(np.stack(many))
plots.keep(
    sheet,
    "01_augmented",
    "One five, ten times: some turned, with white wedges at a border, some with black "
    "holes.",
)

# %% [markdown]
# ### What does `fill=1` mean?
#
# Rotation leaves empty corners, where no pixel lands; `fill` says what goes there. The source says
# 1, "(white)". Is it? Look at the corner of a black image, turned by some angle up to 45°, in three
# representations. **Which will be white?**

# %%
from dataclasses import replace

turn = augment.sample_transform(
    replace(REFERENCE, affine_p=1, holes_p=0, rotation=45), seed=0
)
blank = np.zeros((28, 28), np.float32)
corners = {
    "uint8, 0..255": turn(image=blank.astype(np.uint8))["image"][0, 0] / 255,
    "float, 0..1": turn(image=blank)["image"][0, 0],
    "after Normalize": turn(image=blank + np.float32(black))["image"][0, 0] * deviation
    + mean,
}

# %%
for representation, brightness in corners.items():
    print(f"{representation:16} the corner is {brightness:.3f} of white")

# %% tags=["hide-input"]
assert corners["uint8, 0..255"] < 0.005
assert corners["float, 0..1"] == 1
assert 0.4 < corners["after Normalize"] < 0.5

# %% [markdown]
# The same 1 is **black** on bytes, **white** on floats in 0..1, and **mid-grey** once the image is
# standardised. The author meant one of the three, and the other two raise no error.
# Our reference follows the words, so it turns floats in 0..1, and its wedges are white. The course's other
# recipes fill with 0, since digits are written on black; notebook 6 measures whether that helps.
#
# ### A trap: workers that repeat each other
#
# A `DataLoader` feeds digits to the network; its *workers* are processes that prepare them in parallel,
# and one pass over all digits is an *epoch*. Each worker gets a *copy* of the transform, random state and
# all, and albumentations ignores `torch.manual_seed`. So both workers, in every epoch (the
# workers restart), draw the same augmentations. `augment.seed_worker`, run by each worker as it starts, fixes it in one line:
# `dataset.transform.set_random_seed(torch.initial_seed() % 2**32)`. How bad is it? Count different
# images: of one digit that is loaded 24 times in each of two epochs, and of 200 different digits, shuffled,
# loaded once in each. **Guess both counts, without the fix, before you run the cell.**


# %%
def different(chosen, epochs, mended):
    """How many different images two workers load of the digits at `chosen`."""
    always = replace(REFERENCE, affine_p=1, holes_p=1)
    digits = augment.AugmentedDigits(
        train.take(chosen), augment.sample_transform(always, seed=0)
    )
    start = augment.seed_worker if mended else None
    order = {"shuffle": True, "generator": torch.Generator().manual_seed(0)}
    loader = torch.utils.data.DataLoader(
        digits, batch_size=4, num_workers=2, worker_init_fn=start, **order
    )
    return len(
        {
            image.numpy().tobytes()
            for _ in range(epochs)
            for x, _ in loader
            for image in x
        }
    )


# %%
one, many = torch.zeros(24, dtype=torch.long), torch.arange(200)
found = {
    mended: (different(one, 2, mended), different(many, 2, mended))
    for mended in (False, True)
}
for mended, (of_one, of_many) in found.items():
    how = "with seed_worker" if mended else "as it is"
    print(f"{how:16} {of_one} of 48 images of one digit, {of_many} of 400 of many")

# %% tags=["hide-input"]
assert found[True] == (48, 400)
assert found[False][0] == 12
assert 380 < found[False][1] < 400

# %% [markdown]
# Of one digit three images in four are repeats: two workers make the same 12 draws, in two epochs. Of many
# digits in random order hardly any is an exact repeat, since a repeated draw seldom meets the same digit.
# What the trap costs in accuracy is not measured here: where many digits are shuffled, as in this course,
# perhaps little; where few are loaded often, it loses most of the augmentation. No warning tells you which case is yours. **Look at what the network sees, not at what
# the configuration says.**
#
# ## What was shown
#
# - Black is 0, and standardised black is −0.42: know which representation you are in.
# - A digit's longer side is 20 pixels, in an image of 28: notebook 2c designs for these two numbers.
# - Look at your augmentations: `fill=1` and `num_workers=2` do what they say, which need not
#   be what was meant.
#
# Your turn: [exercises](exercises/01_data.ipynb), on the corner, the classes, and which changes keep a label.
#
# Next: [2a · A convolution, and a network that learns](02a_training.ipynb)
