# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
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
# | notebook 1: a digit measures 20 pixels, the image 28 | 1 minute to run, 40 to read | nothing |
#
# A network that recognises a digit must *see* a digit. How much one unit sees is its **receptive
# field**, and it can be worked out on paper, before anything is trained.

# %%
from itertools import pairwise

from mnist_utils import data, explain, models, plots, reproduce
from mnist_utils.describe import describe
from mnist_utils.layers import Window
from mnist_utils.receptive_field import receptive_field, variance

# %% [markdown]
# ## One recurrence
#
# A 3×3 convolution sees 3 pixels. A second one on top sees 3 units, each of which sees 3 pixels
# that overlap: 5 pixels. A pool of stride 2 doubles the step between neighbours, the **jump**
# (Araujo et al. call it *effective stride*), and from then on each layer reaches twice as far:
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
# `receptive_field` is the same five lines. Four more convolutions, now at jump 2, add 4 pixels each;
# the mean over the last 3×3 units adds the rest:

# %%
conv, pool, mean = Window(3), Window(2, stride=2), Window(3, stride=3)
chain = [conv] * 3 + [pool] + [conv] * 4 + [mean]
sizes = [receptive_field(chain[: depth + 1])[0] for depth in range(len(chain))]
assert sizes == [3, 5, 7, 8, 12, 16, 20, 24, 28]
sizes

# %% [markdown]
# **The last one sees 28 pixels: the image, exactly, and without any padding.** That is the source's
# network. No pixel is missed, none is wasted; and at 20, one layer earlier, it saw a digit.
#
# ## The same, read off the network
#
# On paper we could have forgotten a layer. `describe` follows the data through any PyTorch module:

# %%
model = models.build("Model3")
network = describe(model, (1, 28, 28))
network

# %%
layers = ["block1.0.0", "block1.1.0", "block1.2.0", "pool", "block2.0.0", "block2.1.0",
          "block2.2.0", "block3.0", "gap", "head"]  # fmt: skip
fields = [network[name].receptive_field for name in layers]
assert fields == [*sizes, 28]
plots.keep(plots.plot_staircase(layers, fields).figure, "02_staircase")

# %% [markdown]
# The stairs are shallow before the pool, steep behind it, and end on the line of the image. Here is
# what the middle unit of each layer sees of a real digit:


# %%
def middle_box(row):
    """((top, bottom), (left, right)): the pixels that the middle unit of a row sees."""
    unit = row.output_shape[-1] // 2
    centre = row.start + unit * row.jump
    first = round(centre - (row.receptive_field - 1) / 2)
    return ((first, first + row.receptive_field - 1),) * 2


# %%
test = data.load(train=False)
boxes = {
    f"{name}: {network[name].receptive_field}": middle_box(network[name]) for name in layers[2:9:2]
}
plots.keep(plots.plot_fields_on_digit(test.images[0] / 255, boxes).figure, "02_fields_on_digit")

# %% [markdown]
# ## "Sees everything" is not "uses everything"
#
# A pixel in the corner reaches a logit by one path; a pixel in the middle by very many. So the
# weight of a pixel is a bump: the **effective receptive field** (Luo et al. 2016). If all weights
# were equal, its variance would be Σ jump²·(k²−1)/12 over the layers.

# %%
before_gap, logit = variance(chain[:-1]), variance(chain)
assert round(before_gap, 3) == 12.917
assert round(logit, 3) == 15.583
print(f"σ {before_gap**0.5:.2f} pixels of a 24-pixel field, {logit**0.5:.2f} of 28 at a logit")

# %% [markdown]
# That is the theory, for equal weights. The trained network, on 500 test digits: how much does each
# pixel move the winning logit?

# %%
from mnist_utils import evaluate

trained, _ = evaluate.load_weights(evaluate.REFERENCE)
digits = data.standardize(test.images[:500])
weight = explain.effective_receptive_field(trained, digits, layer="head")
half, most = (explain.pixels_holding(weight, share) for share in (0.5, 0.95))

# %%
figure = plots.plot_effective_field(weight, middle_box(network["head"])).figure
plots.keep(figure, "02_effective_field")

# %%
print(f"half of the weight lies in {half} of 784 pixels, 95 % in {most}")
print(f"σ: {', '.join(f'{s:.1f}' for s in explain.spread(weight))} pixels (vertical, horizontal)")
assert half < 784 / 4
assert min(explain.spread(weight)) > logit**0.5

# %% [markdown]
# The dashed square is what the logit *can* see; the bright patch is what it *uses*. Training makes
# the bump wider than equal weights would, but half of the weight still falls on less than a quarter
# of the pixels. Design by the theoretical field, and leave room around the object.

# %% [markdown]
# ## The ladder: one idea a step
#
# Nobody designs Model3 at once. Three networks, each with a target, a result, and an analysis; each
# trained by one recipe, four epochs, three seeds, and judged on 5,000 validation digits that none
# of them learnt from (`python -m mnist_utils.reproduce ladder/Model1 ladder/Model2 ladder/Model3`).


# %%
def stored(study, name):
    """Parameters, field before the head, mean and deviation of the stored accuracies."""
    row = reproduce.summary(reproduce.read(f"{study}/{name}"))
    return row["parameters"], 100 * row["mean"], 100 * row["deviation"]


ladder = {name: stored("ladder", name) for name in ("Model1", "Model2", "Model3")}
for name, (parameters, mean_accuracy, deviation) in ladder.items():
    print(f"{name}: {parameters:6,} parameters, {mean_accuracy:.2f} ± {deviation:.2f} %")

# %% [markdown]
# | step | target | idea | analysis |
# |---|---|---|---|
# | Model1 | a skeleton that learns | convolutions, one pool, a dense head | accurate, but more than half of its parameters sit in the head |
# | Model2 | a tenth of the parameters | 10 channels, GAP and 1×1 in place of the dense head | the head is free now; a 14-pixel field before GAP cannot see a digit, and it shows |
# | Model3 | Model1's accuracy at a sixth of its size | BatchNorm, Dropout, 24 pixels before GAP | the field pays: most of the gap is closed; the rest takes a better recipe, not more parameters (see the README's `course`) |
#
# Read the targets again, and hold them against the numbers:

# %%
model1, model2, model3 = ladder.values()
assert model2[0] < model1[0] / 10
assert model2[1] < model1[1]
assert model2[1] < model3[1] < model1[1]
assert model3[0] < model1[0] / 6
print(
    f"Model3 gains {model3[1] - model2[1]:.2f} points over Model2, for {model3[0] - model2[0]:,} parameters"
)

# %% [markdown]
# ## Accuracy against receptive field, at one budget
#
# Is it the field, or the extra parameters? Five networks of about the same size, whose units before
# GAP see 10 to 26 pixels; the same recipe, three seeds each
# (`python -m mnist_utils.reproduce fields/FieldNet10`, and so on).

# %%
sizes = [10, 14, 18, 22, 26]
study = {size: stored("fields", f"FieldNet{size}") for size in sizes}
for size, (parameters, mean_accuracy, deviation) in study.items():
    field = receptive_field([pool] + [conv] * ((size - 2) // 4))[0]
    assert field == size
    print(f"{size:2} pixels, {parameters:,} parameters: {mean_accuracy:.2f} ± {deviation:.2f} %")

# %%
figure = plots.plot_accuracy_against_field(
    sizes, [row[1] / 100 for row in study.values()], [row[2] / 100 for row in study.values()]
).figure
plots.keep(figure, "02_accuracy_against_field")

# %% [markdown]
# At an equal budget the field decides: accuracy climbs steeply until a unit sees most of a digit,
# then flattens near the digit's 20 pixels. (The networks with larger fields are deeper, too: at one budget
# you cannot change the one without the other. Try it with dilation.)

# %%
accuracies = [row[1] for row in study.values()]
gains = [after - before for before, after in pairwise(accuracies)]
assert accuracies[0] < accuracies[1] < accuracies[2]
assert gains[-1] < gains[0]
assert all(5_500 < row[0] < 5_800 for row in study.values())

# %% [markdown]
# ## What was shown
#
# - A receptive field is worked out on paper: size grows by `(k − 1)·jump`, jump by the stride.
# - See the object before you average: 20 pixels before GAP for a digit of 20.
# - Seeing is not using: the effective field is a bump in the middle of the theoretical square.
#
# Next: [3 · Counting parameters](03_parameter_counting.ipynb)
