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
# # 6 · Augmentation
#
# **Which augmentation earns its place?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebooks 1, 2a and 5; the stored trainings in `results/` | 1 minute to run, 25 to read | nothing |
#
# Everything is judged on 5,000 validation digits, training digits set aside; no test digit is looked at.

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
import statistics

import torch
from scipy.stats import t
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from mnist_utils import augment, data, plots, results
from mnist_utils.config import TrainConfig
from mnist_utils.evaluate import evaluate

# %% [markdown]
# ## Six ways to change a digit
#
# The recipe `course` turns digits by up to 12°, moves them by up to 1.5 pixels, makes them up to 12% larger or
# smaller in each direction, slants them (*shear*) by up to 9°, and bends them (*elastic distortion*) by about 0.6 pixels.
# The source cuts one to three *holes* into half of the digits; on black they do not show. Each alone, at the strength
# of its recipe, on five digits, with the original in orange:

# %%
parts = ("rotation", "shift", "scale", "shear", "elastic", "holes")
train = data.load(train=True)
five = train.images[:5, None] / 255

# %%
rows = [five]
for part in parts:
    settings = TrainConfig.from_dict(results.read(f"augmentation/{part}")["config"])
    chance = torch.Generator().manual_seed(1)
    rows.append(augment.augment_batch(five.clone(), settings, chance))

# %%
titles = [title for name in ("as they are", *parts) for title in (name, "", "", "", "")]
digits = torch.cat(rows)[:, 0]
plots.keep(
    plots.images(
        digits, titles, columns=5, outlines=five[:, 0].repeat(len(rows), 1, 1)
    ),
    "06_parts",
    "Five digits as they are, then turned, moved, scaled, slanted, bent, and with "
    "holes, each with its old outline.",
)

# %% [markdown]
# ## One at a time
#
# We train `course` from five seeds with no augmentation, and with each of the six alone; the network, the
# steps and the schedule stay. (`python -m tools.reproduce augmentation/none` and so on: two hours on one
# processor for this whole page.) **Before you look: which of the six would you bet on, does any do harm, and can
# five seeds show it?**

# %%
names = {"none": "augmentation/none"} | {part: f"augmentation/{part}" for part in parts}
names["all five"] = "ablations/course"
found = {name: results.runs(where) for name, where in names.items()}
rows = [
    (name, [run["held_out_accuracy"] for run in runs]) for name, runs in found.items()
]

# %%
none = statistics.mean(rows[0][1])
plots.keep(
    plots.seeds(
        rows, mark=("none", none), xlabel="validation accuracy, one point per seed"
    ),
    "06_one_at_a_time",
    "Validation accuracies of five seeds: no augmentation, each part alone, all five "
    "but the holes.",
)

# %% [markdown]
# (The bar is the mean of five seeds, a darker point is two of them; "all five" leaves out only the holes.) Next, the gains
# over no augmentation, in points of accuracy, with half of Welch's 95% interval: for other seeds on these digits. (A seed
# is not a pair: with another augmentation it draws other numbers.) Other digits would add about ± 0.1. One of
# seven comparisons may pass by chance; so Holm's correction asks p < .05/7 of the smallest p, .05/6 of the next, and so
# on, and a star marks what passes. An interval may exclude zero and have no star.

# %%
others = [name for name in names if name != "none"]
print(results.compared({name: (names[name], names["none"]) for name in others}))

# %% [markdown]
# Five seeds can detect about a tenth of a point. Elastic distortion, shear and scale pass, alone as well as together; holes
# and shift exclude zero and fail Holm's correction, and rotation, whose seeds scatter most, does not come near it. The
# gains differ by less than their intervals, so the stars are not a ranking. None of the six does harm that we can see.
#
# ## All together, holes, and the colour of the corners
#
# **Do the holes add anything to the other five? Does it matter whether what is turned in from outside is black
# or white (notebook 1)?**

# %%
whole = "ablations/course"
asked = {"all, less elastic alone": (whole, names["elastic"])}
asked |= {"holes besides": ("augmentation/all_and_holes", whole)}
asked |= {"white in place of black": ("augmentation/all-white_fill", whole)}
print(results.compared(asked))

# %% [markdown]
# None of the three can be distinguished from chance: what four parts add to elastic distortion, what holes add to
# them all, or white corners. And the whole is less than the sum of its parts:

# %%
five_parts = [names[part] for part in parts if part != "holes"]
gains = [results.difference(name, names["none"]).mean for name in five_parts]
together = results.difference(whole, names["none"])
print(
    f"five gains, added up: {100 * sum(gains):.2f} points; together: "
    f"{100 * together.mean:.2f}"
)

# %% [markdown]
# Is that more than chance? The five gains share one baseline, whose luck counts five times in their sum and once in the
# whole. So give each mean its weight, part +1, "none" −4, "all five" −1, and take the scatter from all seven groups:

# %%
weight = dict.fromkeys(five_parts, 1) | {names["none"]: -4, whole: -1}
groups = {n: [run["held_out_accuracy"] for run in results.runs(n)] for n in weight}
excess = sum(weight[n] * statistics.mean(values) for n, values in groups.items())
scatter = statistics.mean(map(statistics.variance, groups.values()))  # 28 degrees
half = t.ppf(0.975, 28) * (scatter * sum(w**2 / 5 for w in weight.values())) ** 0.5
print(f"the sum less the whole: {100 * excess:.2f} ± {100 * half:.2f} points")

# %% tags=["hide-input"]
assert excess > half

# %% [markdown]
# It is. Gains must not be added up: once one part is there, the others have little left to bring, and "it helps" depends
# on what is there already.
#
# ## How far does it carry?
#
# A network that was shown digits turned by up to 12° reads those well. And further? We train with no
# turning, with up to 12° and with up to 30°, three seeds each, on 1,000 validation digits turned either way. **Sketch the
# three curves first: where has each lost five digits in a hundred?**

# %%
_, validation = data.hold_out(train, 5_000)
few = validation.take(slice(1_000))


# %%
def accuracy(name, angle=0, pixels=0):
    """Mean over three seeds and both directions."""
    found = []
    for way in (1, -1):
        how = {
            "scale": 1.0,
            "shear": [0.0],
            "interpolation": InterpolationMode.BILINEAR,
        }
        moved = affine(few.images[:, None], way * angle, [way * pixels, 0], **how)[:, 0]
        for seed in range(3):
            network = results.network(f"augmentation/{name}", seed=seed)
            found.append(evaluate(network, data.Split(moved, few.labels)).accuracy)
    return statistics.mean(found)


# %%
angles = (0, 10, 15, 20, 30, 40, 50, 60)
trained = {"none": "none", "up to 12°": "rotation", "up to 30°": "rotation_30"}
turned = {
    label: [accuracy(name, angle=a) for a in angles] for label, name in trained.items()
}

# %%
plots.keep(
    plots.lines(
        angles, turned, xlabel="turned by, degrees", ylabel="accuracy", percent=True
    ),
    "06_turned",
    "Accuracy against the angle of three networks: the wider the training, the later "
    "the fall.",
)

# %% [markdown]
# Now shifts to either side: trained with no shift, with up to 1.5 and with up to 4 pixels. (At 6 some digits lose a
# little ink over the edge.)

# %%
pixels = (0, 1, 2, 3, 4, 6)
trained = {"none": "none", "up to 1.5": "shift", "up to 4": "shift_4"}
moved = {
    label: [accuracy(name, pixels=p) for p in pixels] for label, name in trained.items()
}

# %%
plots.keep(
    plots.lines(
        pixels, moved, xlabel="moved by, pixels", ylabel="accuracy", percent=True
    ),
    "06_moved",
    "Accuracy against the shift of three networks: the wider the training, the later "
    "the fall.",
)

# %%
shifts_turned = [accuracy("shift_4", angle=a) for a in angles]
turns_moved = [accuracy("rotation_30", pixels=p) for p in pixels]
for where, unit, found in ((angles, "°", turned), (pixels, " px", moved)):
    print(" " * 10 + "".join(f"{f'{value}{unit}':>8}" for value in where))
    for name, values in found.items():
        print(f"{name:10}" + "".join(f"{value:8.1%}" for value in values))

# %% [markdown]
# Each falls slowly within what it was trained on and faster beyond; the wider the training, the later the fall. **And a
# network trained on shifts of up to 4 pixels, on turned digits? Is it better than the one without any, as
# good, or worse?**

# %%
for label, found, plain, at in (
    ("trained on shifts, turned", shifts_turned, turned["none"], angles),
    ("trained on turns, moved", turns_moved, moved["none"], pixels),
):
    gaps = [100 * (one - other) for one, other in zip(found, plain, strict=True)]
    print(
        label, "  ".join(f"{gap:+.1f} at {x}" for gap, x in zip(gaps, at, strict=True))
    )
    assert gaps[-1] < -3

# %% [markdown]
# (In points of accuracy above the network without augmentation, good to about half a point near 99% on other digits, and
# two near 50%.) Far out it is *worse*: robustness to one change is bought with robustness to another. A network learns
# what it was shown, not "to be robust".
#
# ## Or more digits?
#
# Augmentation makes new digits from old. What if we had more old ones? The same network on the first 1,000,
# 5,000, 20,000 and all 55,000 training digits, with no augmentation and with all five. One trap: with nine epochs each,
# 1,000 digits would get a fiftieth of the steps, and lose for that reason. So every run takes about 3,900 *steps* of
# 128 digits, which makes 484 epochs of 1,000; and the clean steps at the end (`course` ends with an epoch that is not
# augmented) are nearly equally many, too. (All digits in every epoch, unlike `course`, so that the figures at 55,000 are
# not those above.) **By what factor does augmentation cut the errors at 1,000 digits, and at 55,000?**

# %%
guess = {1_000: "", 55_000: ""}  # yours, times fewer


# %%
def errors(kind, digits):
    """Mean share of validation errors, three seeds."""
    runs = results.runs(f"data/{digits}_{kind}")
    return statistics.mean(run["errors"] / run["digits"] for run in runs)


sizes = (1_000, 5_000, 20_000, 55_000)
curves = {kind: [errors(kind, n) for n in sizes] for kind in ("plain", "augmented")}

# %%
axes = {
    "xlabel": "training digits",
    "ylabel": "validation errors, mean of 3",
    "percent": True,
}
ax = plots.lines(sizes, curves, logarithmic=True, **axes)
plots.keep(
    ax,
    "06_data",
    "Errors against training digits, both axes logarithmic: two falling lines.",
)

# %%
for n, plain, augmented in zip(sizes, *curves.values(), strict=True):
    factor = f"{plain / augmented:.1f} times fewer"
    print(
        f"{n:6,} digits: {plain:.2%} errors plain, {augmented:.2%} augmented, {factor}"
    )
print("your guesses:", *(f"{said or '–'} times at {n:,}" for n, said in guess.items()))

# %%
pairs = {f"{n:,} digits": (f"data/{n}_augmented", f"data/{n}_plain") for n in sizes}
for n in sizes[2:]:
    pairs[f"5,000 augmented, less {n:,}"] = ("data/5000_augmented", f"data/{n}_plain")
print(results.compared(pairs))

# %% [markdown]
# With 1,000 and with 5,000 digits augmentation about halves the errors; the gain at 1,000 passes Holm's correction for
# six. At 20,000 and 55,000 digits it takes a quarter and a sixth of them, which three seeds cannot distinguish from
# chance. Can it replace digits? 5,000 with augmentation came out between 20,000 and 55,000 without (the last
# two lines), and three seeds distinguish it from neither.
#
# ## What was shown
#
# - On all 55,000 digits the whole augmentation of `course` brings 0.14 points, one error in four (n = 5), and elastic
#   distortion alone cannot be distinguished from the whole. Gains do not add up.
# - A network is robust to what it was shown: the wider the training, the later the fall. To changes it was not
#   shown, it may become *less* robust.
# - Augmentation is worth having when training digits are few (at 1,000 and 5,000 it about halves the errors), or when the
#   digits to be read will be turned or shifted. Compare at equal *steps*, and choose its strength on validation digits.
#
# Your turn: [exercises](exercises/06_augmentation.ipynb), on equal steps, and what a difference is worth.
#
# Next: [7 · The learning rate](07_learning_rate.ipynb)
