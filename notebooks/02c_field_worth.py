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
# # 2c · What a field is worth
#
# **How large a field does a digit need, and how could we tell?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebook 2b; mean and standard deviation | 1 minute to run, 40 to read | nothing |
#
# Networks that see more read better. But a field never changes alone.
#
# Unless the text says otherwise, networks were trained by one short recipe (four epochs) and judged on 5,000
# **validation digits** that none of them learnt from. n counts seeds, ± is their standard deviation. "Errors left 65%
# (59% to 71%)": where the first network makes 100 errors the second makes 65; in brackets the 95% interval for other
# seeds, on these digits.

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
import numpy as np

# %%
from classroom import factorial
from classroom.factorial import DESIGNS, TOO_LARGE
from classroom.lab.expect import measured
from mnist_utils import data, explain, models, plots, results
from mnist_utils.receptive_field import Window, receptive_field, variance
from receptive import describe

# %% [markdown]
# ## Must a unit see the whole digit?
#
# A digit is 20 pixels long on its longer side, but it is not exactly centred. How many digits lie wholly
# inside the field of the middle unit if that field is 20 pixels wide? If it is 24?

# %%
ink = data.load(train=True).images.double()
for window in (20, 24):
    edge = (28 - window) // 2
    inside = ink[:, edge : 28 - edge, edge : 28 - edge].sum((1, 2)) == ink.sum((1, 2))
    print(f"{window} pixels hold {inside.double().mean():.0%} of the digits whole")

# %% [markdown]
# At 20 pixels, three in four are cut. Does that matter? The network of the recipe `course` cuts two pixels off
# each border, where one test digit in eight has ink. **Are these read worse than the others?** (Test digits, n = 15.)

# %%
images = data.load(train=False).images.double()
cut = images[:, 2:26, 2:26].sum((1, 2)) < images.sum((1, 2))
misread = np.zeros(len(images))
for run in results.runs("course"):
    misread[run["mistakes"]] += 1 / len(results.runs("course"))

# %%
for words, some in (("with ink in the border", cut), ("without", ~cut)):
    print(f"{some.sum():,} digits {words}: {misread[some].mean():.2%} misread")

# %% tags=["hide-input"]
assert misread[cut].mean() < misread[~cut].mean() / 2

# %%
crop = results.errors_left([("ablations/course-no_crop", "ablations/course")])
print(f"uncropped → cropped, all else equal, n = 5: errors left {crop}")

# %% tags=["hide-input"]
assert 0.8 < crop.low < 1 < crop.high < 1.2

# %% [markdown]
# They are read *better*. (We did not ask why: they may differ in size or place. Over all digits, cropping costs nothing.) So
# "a unit must see the whole digit" does not hold as a law.
#
# ## Seen is not used
#
# From a corner pixel one route leads to a logit; from a pixel in the middle, very many do. So the weight of the pixels is a
# bump, the **effective receptive field** (Luo et al. 2016). Its width σ is the standard deviation of where the weight
# lies; for equal weights, and a mean for each pool, σ² = Σ jump²·(k² − 1)/12 over the layers. With four times as many 3×3
# layers the field grows about fourfold but the bump only twofold, as the *square root* of the depth:

# %%
for depth in (2, 8, 32):
    chain = [Window(3)] * depth
    field, sigma = receptive_field(chain)[0], variance(chain) ** 0.5
    share = f"σ / field {sigma / field:.2f}"
    print(f"{depth:2} layers: field {field:2}, σ {sigma:.1f}, {share}")

# %% [markdown]
# In a trained network we measure it by the squared gradient of the winning logit,
# averaged over 300 test digits:

# %%
digits = data.standardize(data.load(train=False).images[:300])
network = results.network("reference")
weight = explain.effective_receptive_field(network, digits, layer="head")
f"half of the weight lies on {explain.pixels_holding(weight, 0.5)} of 784 pixels"

# %% tags=["hide-input"]
assert explain.pixels_holding(weight, 0.5) < 784 / 6

# %%
plots.keep(
    plots.effective_field(weight, ((0, 27), (0, 27))),
    "02_effective_field",
    "A bright bump in the middle of the 28-pixel square, fading to black at its edges.",
)

# %% [markdown]
# Half of this network's weight lies on less than a sixth of the pixels that its logit can see (n = 1). A field is an upper
# bound on what counts.
#
# ## A ladder, and what it does not show
#
# Three networks, and two controls that each change Model2 in one place (the dense head also triples its parameters):
#
# | network | idea |
# |---|---|
# | Model1 | one pool, and a dense head, which holds more than half of the parameters |
# | Model2 | GAP and a 1×1 convolution in place of the dense head, fewer channels |
# | Model3 | Model2 with BatchNorm, Dropout and three more layers |
# | Model2Dense | Model2 with the dense head again |
# | Model2BatchNorm | Model2 with BatchNorm after each ReLU |


# %%
def last_field(name):
    """What a unit of the last feature map sees, pixels."""
    rows = describe(models.build(name), (1, 28, 28)).rows
    maps = [row for row in rows if row.kind == "Conv2d" and row.output_shape[-1] > 1]
    return maps[-1].receptive_field


# %%
one, two, three = (results.summary(f"ladder/Model{n}")["mean"] for n in (1, 2, 3))
for name in ("Model1", "Model2", "Model3", "Model2Dense", "Model2BatchNorm"):
    print(f"{name:15} field {last_field(name)}, {results.line(f'ladder/{name}')}")

# %% tags=["hide-input"]
assert two < three < one

# %% [markdown]
# Model3 sees more than Model2 and reads better. But BatchNorm, Dropout and three more layers came with the field; Model1
# sees no more than Model2 and is the best; and either control recovers most of the three points at 14 pixels. What
# the field is worth, the ladder does not show.
#
# ## A picture that tempts
#
# Seventeen designs, with fields from 6 to 40 pixels, each at four sizes (n = 3). Four of the designs:

# %%
networks = measured()
chosen = {6: "AP2-C3-C1", 10: "C5-MP2-C3", 14: "C5-MP2-C3-C3", 20: "C5-MP2-C3-MP2-C3"}
series = {}
for field, family in chosen.items():
    row = [network for network in networks if network.family == family]
    names = [f"sweep/{network.notation}" for network in row]
    series[f"{field} pixels"] = results.curve([n.parameters for n in row], names)

# %%
ticks = (1_250, 3_000, 7_500, 19_000)
plots.keep(
    plots.accuracy_against_field(ticks, series, xlabel="parameters", logarithmic=True),
    "02_sweep_by_size",
    "Four rising lines, the wider field above the narrower: 6, 10, 14, 20 pixels.",
)

# %% [markdown]
# With 10 pixels, 19,000 parameters read worse than 3,000 with 20. It is tempting to write: *size does not buy back what a
# unit does not see.* **What else differs between the four designs?** Here are all seventeen:

# %%
for low, high in ((6, 10), (12, 20), (22, 40)):
    depths = {n.family.count("C") for n in networks if low <= n.field <= high}
    counts = " or ".join(map(str, sorted(depths)))
    print(f"field {low} to {high}: {counts} convolutions")

# %% [markdown]
# Depth moves with the field: it is a **confounder**, and this picture cannot say which of the two helps. The
# cure is a **control**: keep the field at 10 and the size at 19,000, and add two 1×1 convolutions, which look at no
# neighbours.

# %%
for notation in ("44C5-MP2-44C3", "40C5-MP2-40C3-40C1-40C1"):
    print(f"{notation:23} {results.line(f'factorial/{notation}')}")

# %% [markdown]
# More than half of the errors are gone, still at a field of 10, and the tempting sentence goes with them.
#
# ## One thing at a time, in three ways
#
# So we build networks in which depth and parameters are equal (to 5%) while the field changes. Something else must change
# with it, so we do it in three ways:
#
# | way | what changes the field | equal | what else changes |
# |---|---|---|---|
# | A | 1×1 kernels become 3×3 and larger | depth; parameters, by the width | width, map, multiply-adds, how many layers mix neighbours |
# | B | the pools stand earlier, or are wider | depth, every layer, parameters | map, multiply-adds, how much is pooled |
# | C | dilation, without holes | depth, every layer, parameters, map, multiply-adds | padding, how densely a layer reads |
#
# None of these side effects is common to all three. **So what all three ways agree on is unlikely to be one of them.** (The three
# share some networks, the digits, the recipe and its one rate, so they are not independent experiments.) There are 42 networks
# of 3,000 parameters and 42 of 19,000 (n = 3). First, four convolutions and 3,000 parameters:


# %%
def one_family(way, notation):
    designs = factorial.family(notation, way)
    return results.curve([d.field for d in designs], [d.name for d in designs])


# %%
ways = {
    "A: 3×3 and 5×5 for 1×1": one_family("A", "10C5-MP2-10C3-10C3-10C3"),
    "B: one pool moved": one_family("B", "10C3-10C3-MP2-10C3-10C3"),
    "B: two pools moved": one_family("B", "10C3-MP2-10C3-10C3-MP2-10C3"),
    "C: dilated": one_family("C", "13C5-MP2-11C3-11C3-11C1"),
}

# %%
fields, marks = (6, 10, 14, 18, 22, 26), {"a digit's longer side": 20}
plots.keep(
    plots.accuracy_against_field(fields, ways, marks=marks),
    "02_field_three_ways",
    "Four lines rise with the field, steeply to 14 pixels, slowly to 22, then part.",
)

# %% [markdown]
# Compare along a line, not between lines, which differ in more than the field. Now all depths and both sizes, as pairs
# that differ only in what their way changes:

# %%
for size in factorial.SIZES:
    for low, high in ((10, 14), (14, 22), (22, 26)):
        ways = [factorial.wider(way, low, high, size) for way in "ABC"]
        left = [results.errors_left(pairs) for pairs in ways]
        counts = "+".join(str(len(pairs)) for pairs in ways)
        assert all((one.high < 1) == (high <= 22) for one in left)
        words = ", ".join(f"{way} {one}" for way, one in zip("ABC", left, strict=True))
        print(f"{size:6,}, {low} → {high}, {counts} pairs: errors left {words}")

# %% [markdown]
# In every one of these pairs up to 22 pixels the wider field makes fewer errors, in all three ways, at both sizes, in four
# epochs: 22 beats 14, and 14 beats 10. (The intervals are for other seeds of these same pairs; pairs differ, from 68% to
# 94% in one line.) Most of the gain comes before 18: from there to 22, ways A and B still gain at 3,000 parameters, only B
# at 19,000. From 22 to 26 no way shows a gain that three seeds could distinguish from zero.
#
# ## Depth, and width
#
# In reverse: two more 1×1 convolutions leave the field, the map and all other kernels as they are; the width shrinks a
# little, to keep the parameters equal. **What do they bring, from two convolutions to four, and from four to six?**

# %%
guess = {"2 to 4": "", "4 to 6": ""}  # errors left, in %

# %%
for size in (3_000, 19_000):
    for depth in (2, 4):
        left = results.errors_left(factorial.deeper(depth, size))
        assert (left.high < 0.7) == (depth == 2)
        words = f"{size:6,} parameters, {depth} → {depth + 2} convolutions"
        print(f"{words}, pairs: {left.pairs}, errors left {left}")

# %% [markdown]
# From two to four, two errors in five go; from four to six, none, and at 3,000 parameters a few come back. Then width: the same chains with two and a half times the channels, six
# times the parameters. All three, in way A:

# %%
for depth in (2, 4):
    for size in (3_000, 19_000):
        row = {d.field: d.name for d in DESIGNS if d[:2] + d[3:4] == ("A", depth, size)}
        for field in (10, 22):
            print(f"{depth} convolutions, field {field}: {results.line(row[field])}")

# %% [markdown]
# Start at 95.95%. A field of 22 removes half of the errors, two more convolutions two in five, six times the parameters
# half; and with four convolutions, width more than makes up for a small field. But field and depth cost no parameters,
# and width has a price. **They come first not because they bring more, but because they are free.**
#
# ## Does the knee follow the object?
#
# If 22 pixels are enough because a digit measures 20, a digit of 14 needs less, and one of 28 more. Digits of three sizes
# on a canvas of 40 pixels; four convolutions, 3,000 parameters, n = 3. **Where will each curve level off?** Way C first:

# %%
sides = {"digits of 14 pixels": 20, "of 20": 28, "of 28": 40}  # of the whole image

series = {}
for name, side in sides.items():
    stored = factorial.on_canvas("C", side)
    series[name] = results.curve(list(stored), stored.values())

# %%
plots.keep(
    plots.accuracy_against_field(list(stored), series),
    "02_objects",
    "Three lines: large digits gain most up to 20 pixels; small ones slowly.",
)

# %% [markdown]
# Now both ways together, and each by itself in brackets (way B ends at 30 pixels):

# %%
for name, side in sides.items():
    ways = [factorial.on_canvas(way, side) for way in "BC"]
    for low, high in ((12, 20), (20, 99)):
        pairs = [(at[low], at[min(high, max(at))]) for at in ways]
        left, *each = map(results.errors_left, (pairs, pairs[:1], pairs[1:]))
        assert left.high < 1
        alone = ", ".join(f"{one.share:.0%}" for one in each)
        print(f"{name:19} {low} → {min(high, 36)}: errors left {left} ({alone})")

# %% [markdown]
# Up to 20 pixels, a wider field leaves 76% of the errors on small digits, 59% on middle ones and 45% on large ones.
# In both ways the estimates come in this order: **the larger the object, the more a small field costs.** That half of the
# rule holds.
#
# The other half does not. Beyond 20 pixels digits of 14 should have nothing left to gain; yet in both ways together they
# lose another fifth of their errors. (In way C alone each size loses a fifth to a quarter, which no single size can
# distinguish from nothing.) So "a field of the object's size is enough" is a first guess: try larger ones too. (Compare
# along a line: the sizes differ in detail and in empty canvas.)
#
# ## Layer by layer, and too large
#
# A **probe** asks each layer what it knows: a linear classifier is fitted to the layer's
# output; the network itself is not trained (Alain and Bengio 2016). One probe reads the *mean* of each map, as GAP
# would; the other reads nine, on a 3×3 grid, which keep roughly where things are. We probe Model3 (`reference`, n = 1,
# also trained on the probes' digits, so do not compare its level) and a longer network whose fields reach 60 pixels,
# twice the image (n = 3). **Where does the gap between the two probes close? And which layers of the long network could
# go?**

# %%
longest = f"cut/{next(iter(TOO_LARGE))}"
series = {
    f"{words}, {reading}": factorial.probes(name, reading)
    for words, name in (("Model3", "recipes/reference"), ("long", longest))
    for reading in ("grid", "mean")
}

# %%
ticks, marks = (5, 10, 14, 20, 28, 36, 44, 52, 60), {"the image": 28}
xlabel = "receptive field of the layer, pixels"
plots.keep(
    plots.accuracy_against_field(ticks, series, marks=marks, xlabel=xlabel),
    "02_probes",
    "On grids high throughout; on means rising to meet them, at 20 pixels and at 44.",
)

# %% [markdown]
# Even in the first layers, nine means identify 97% of the digits, single means 64 to 74%: a mean throws away *where*
# things are. In Model3 the gap is nearly closed at 20 pixels, the digit's size. In the long
# network it is wide at 20 and closes at 44. But each layer is also nearer the end than the one before, and only the last
# layer must give a mean. A probe shows where in a network the work is done, not what a field is worth.
#
# Layers that add nothing to a probe are *unproductive* (Richter et al. 2021). Here the grid gains nothing beyond 28
# pixels, the mean nothing beyond 44. So cut them, train again, and then give the parameters back as width:

# %%
for name, field in TOO_LARGE.items():
    left = results.errors_left([(longest, f"cut/{name}")])
    channels, line = name.split("C")[0], results.line(f"cut/{name}")
    words = f"{channels} channels, up to field {field}: {line}"
    print(words + (f", errors left {left}" if field < 60 else ""))

# %% [markdown]
# Cutting the two layers beyond 44 brings 10% more errors, which three seeds cannot confirm. Cutting all beyond 28
# brings 60% more. But those layers held half of the parameters: given back as width, 14 channels for 10, they make up for
# four layers and 32 pixels of field, as far as three seeds can see. Nothing here needed a field beyond the image, and
# nothing shows that it did harm.
#
# ## The answer
#
# For a classifier that ends in a mean and reads centred objects:
#
# 1. **Field first**: the size of the object or a little more, here 22 pixels, with no gaps. It costs no parameters. Try
#    larger ones from there; here 26 brought no gain that we could detect.
# 2. **Depth next**: four convolutions rather than two, 1×1 where the field is large enough. Six brought no gain.
# 3. **Width last**, with all the parameters that are left.
#
# This holds for one kind of object, one short recipe with one rate for all, and up to 19,000 parameters. What carries over
# is the method: *say what is equal, look for what else moves, and change one thing in several ways.*
#
# What it all took (`python -m tools.reproduce "factorial/10C5-MP2-10C5"`, and so on repeats it):

# %%
for study in ("ladder", "sweep", "factorial", "objects", "cut"):
    print(results.spent(study))

# %% [markdown]
# ## What was shown
#
# - A digit that no unit sees whole is read all the same.
# - Two networks that differ in two ways cannot show which of the two counts. A control holds one still.
# - At equal depth and size 22 pixels beat 14, and 14 beat 10, in three ways that differ in their side effects.
#
# Your turn: [exercises](exercises/02c_field_worth.ipynb), find the confounder and build the control.
#
# Next: [3 · Counting parameters](03_parameter_counting.ipynb)
