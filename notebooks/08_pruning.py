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
# # 8 · Pruning
#
# **How small can it get?**
#
# | needs | takes | costs |
# |---|---|---|
# | notebooks 2c, 3 and 5; the trained weights in `results/` | 1 minute to run, 25 to read | nothing |
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
import copy
import statistics
import time
import zlib

# %%
import torch
import torch.nn.functional as F
from torch.nn.utils import prune

# %%
from mnist_utils import data, plots, results
from mnist_utils.evaluate import Evaluation, evaluate
from mnist_utils.pruning import slimmed

train, validation = data.hold_out(data.load(train=True), 5_000)

# %% [markdown]
# ## Weights that nobody misses
#
# **Pruning** sets weights to zero; the simplest rule, *magnitude* pruning, takes the smallest. Model1's dense head
# has 20,490 of its 36,858 parameters, and three trainings of it are stored. **How many of the head's weights
# can go before the errors double: half, eight in ten, nine in ten?**

# %%
guess = ""  # yours, in %

# %%
networks = [results.network("ladder/Model1", seed=seed) for seed in range(3)]


@torch.inference_mode()
def features(network, images):
    """What the head reads, (N, 2048)."""
    chunks = data.standardize(images).split(1000)
    return torch.cat([network.features(chunk).flatten(1) for chunk in chunks])


# %%
held_out = [features(network, validation.images) for network in networks]
learnt = [features(network, train.images[:10_000]) for network in networks]


# %%
def pruned_head(network, share):
    """A copy of the head with the smallest `share` of its weights at zero."""
    head = torch.nn.Linear(2048, 10)
    head.load_state_dict(network.head.state_dict())
    return prune.l1_unstructured(head, "weight", amount=share)


# %%
@torch.inference_mode()
def errors(head, read):
    """Validation errors of a head on what the convolutions give."""
    return Evaluation(F.log_softmax(head(read), dim=1), validation.labels).n_errors


# %%
shares = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
heads = {
    share: [pruned_head(network, share) for network in networks] for share in shares
}
cut = {share: list(map(errors, three, held_out)) for share, three in heads.items()}
for share, found in cut.items():
    print(
        f"{share:4.0%} zeros: {found} errors of 5,000, mean "
        f"{statistics.mean(found):.0f}"
    )

# %% [markdown]
# Half of them are hardly missed: less than one error on average. The errors double between eight and nine in ten. And
# what if we retrain the remaining weights, for two epochs on 10,000 digits, and keep the zeros at zero?


# %%
def trained_again(head, read):
    """Two epochs of Adam for the weights that are left, batches of 128."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.001)
    for batch in [
        *torch.randperm(10_000).split(128),
        *torch.randperm(10_000).split(128),
    ]:
        loss = F.cross_entropy(head(read[batch]), train.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


# %%
again = {}
for share, three in heads.items():
    again[share] = list(map(errors, map(trained_again, three, learnt), held_out))
    print(
        f"{share:4.0%} zeros: {again[share]} errors, mean "
        f"{statistics.mean(again[share]):.0f}"
    )

# %%
found = {"cut": cut, "cut, and trained again": again}
curves = {
    name: [statistics.mean(three) / 5_000 for three in values.values()]
    for name, values in found.items()
}

# %%
ax = plots.lines(
    [100 * share for share in shares],
    curves,
    xlabel="% of the head's weights at zero",
    ylabel="validation errors, mean of 3",
    percent=True,
)
ax.set(ylim=(0, 0.05))
plots.keep(
    ax,
    "08_magnitude",
    "Errors against the share of zeros, cut at 5%: level, then steep from 80%.",
)

# %% [markdown]
# Retraining helps from nine tenths on: there the errors are twice those of the whole head instead of five
# times. One often reads that nine weights in ten are superfluous; of this head, cut in one go and retrained this
# briefly, it is closer to one in two. (Three seeds; the picture is cut at 5%. The first row, where no weight was cut,
# shows what two epochs on few digits do on their own.)
#
# ## Zeros are not bytes, and not speed
#
# "Ten times smaller", they say of a network with nine tenths of its weights at zero. **How many bytes does its head
# take, and how many times faster does it answer?**

# %%
dense, sparse = networks[0].head, pruned_head(networks[0], 0.9)
prune.remove(sparse, "weight")  # makes the zeros permanent
for name, head in (("dense", dense), ("nine tenths zeros", sparse)):
    raw = head.weight.detach().numpy().tobytes()
    packed = len(zlib.compress(raw)) / 1000
    print(f"{name:18} {len(raw):,} bytes, {packed:.0f} thousand if packed by zlib")


# %%
def fastest(compute):
    """Seconds, the fastest of seven times."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return min(times)


# %%
for name, head in (("dense", dense), ("nine tenths zeros", sparse)):
    taken = fastest(lambda head=head: errors(head, held_out[0]))
    print(f"{name:18} seconds={taken:.4f} for 5,000 digits")

# %% [markdown]
# As many bytes, and about as many seconds (yours will differ; the two, little): a processor multiplies by zero as
# patiently as by anything else. A zip program makes a smaller *file* of it. To get smaller tables, and smaller maps,
# leave out whole channels.
#
# ## Channels, and a fair rival
#
# CourseNet has 16 channels after its stem and 32 after each block. BatchNorm brings them all to one size, and then
# multiplies each by a learnt *scale*. Drop the half of the channels with the smallest scales, and rebuild the network
# with 8 and 16 (`mnist_utils.pruning`). Five networks, trained for 20 epochs. **How many of the 5,000
# digits will the remaining network misread?**

# %%
whole = [results.network("ablations/course", seed=seed) for seed in range(5)]
left = [slimmed(network, 8, (16, 16, 16, 16)) for network in whole]

# %%
for name, group in (("CourseNet", whole), ("larger scales", left)):
    parameters = sum(p.numel() for p in group[0].parameters())
    found = [evaluate(network, validation).n_errors for network in group]
    print(f"{name:16} {parameters:,} parameters, {found} errors of 5,000")

# %% [markdown]
# It needs more training: 20 more epochs, by the same recipe (`python -m tools.reproduce pruning/pruned`).
# The usual report ends here, with a table of "before" and "after". But what would the *same small network* have
# reached, had it been trained from scratch for as long, 40 epochs? And SmallNet, which was designed for this size,
# by its own recipe, in as many epochs? **Rank the three.** (± is the standard deviation of the seeds.)

# %%
rivals = {"pruned": "pruning/pruned", "from scratch": "pruning/from_scratch"}
rivals["SmallNet"] = "pruning/SmallNet"
for name, where in rivals.items():
    row = results.summary(where)
    accuracy = f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}%"
    accuracy += f", {5_000 * (1 - row['mean']):.1f} errors"
    print(f"{name:13} {row['parameters']:,} parameters, {accuracy}, {row['n']} seeds")

# %%
asked = {"pruned, less from scratch": ("pruning/pruned", "pruning/from_scratch")}
asked["pruned, less SmallNet"] = ("pruning/pruned", "pruning/SmallNet")
asked["from scratch, less SmallNet"] = ("pruning/from_scratch", "pruning/SmallNet")
print(results.compared(asked))

# %% [markdown]
# (Here ± is half of Welch's 95% interval of the difference. No star: none has p < .05, corrected for asking three times.)
#
# 34.2 errors each, on average: the large network's weights brought no gain after 20 more epochs, to within 7 errors
# of 34 either way. Liu et al. (2019) found the same on larger networks. Nor did it save time: the large network had
# to be trained first. (The pruned one went through a second full cycle of the learning rate; a gentler one
# might forget less, and was not tried. The one from scratch had a single cycle of 40 epochs.) SmallNet came out
# about four errors lower, which three seeds cannot distinguish from chance; its recipe was chosen at its size, theirs for
# CourseNet, so what is compared here is a design *with* its training.
#
# ## Fewer bits
#
# A third way leaves every weight where it is and writes it down in fewer bits. **Quantisation** rounds the weights of
# each filter to a whole number of steps; with 8 bits there are 127 steps to either side of zero. One more number per
# filter says how large a step is. That is how networks get onto the chips of watches and doorbells, whose memory
# is counted in kilobytes. No training follows. **At how many bits per weight do CourseNet's errors double?**

# %%
guess = ""  # bits; a weight has 32 now


# %%
@torch.no_grad()
def rounded(network, bits):
    """A copy with weights rounded filter by filter, and the bytes that it takes."""
    network = copy.deepcopy(network)
    n_rounded, n_steps = 0, 0
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            largest = layer.weight.abs().amax((1, 2, 3), keepdim=True)
            step = (largest / (2 ** (bits - 1) - 1)).half().float()  # itself in 16 bits
            layer.weight.copy_((layer.weight / step).round() * step)
            n_rounded, n_steps = n_rounded + layer.weight.numel(), n_steps + len(step)
    others = (
        sum(p.numel() for p in network.parameters()) - n_rounded + n_steps
    )  # 16 bits each
    return network, n_rounded * bits // 8 + 2 * others


# %%
plain = [evaluate(network, validation).n_errors for network in whole]
print(
    f"32 bits  {4 * 5610:6,} bytes, {plain} errors of 5,000, mean "
    f"{statistics.mean(plain):.0f}"
)
by_bits = {}
for bits in (8, 6, 5, 4, 3):
    copies, sizes = zip(*(rounded(network, bits) for network in whole), strict=True)
    by_bits[bits] = [evaluate(network, validation).n_errors for network in copies]
    mean = statistics.mean(by_bits[bits])
    print(
        f"{bits:2} bits  {sizes[0]:6,} bytes, {by_bits[bits]} errors, mean {mean:.0f}"
    )
print(f"your guess: {guess or '–'} bits")

# %%
means = {bits: statistics.mean(errors) for bits, errors in by_bits.items()}

# %% tags=["hide-input"]
assert all(abs(means[bits] - statistics.mean(plain)) < 2 for bits in (8, 6, 5))
assert 1.4 < means[4] / statistics.mean(plain) < 2.2
assert means[3] > 200

# %% [markdown]
# Down to five or six bits, nothing is lost that five networks could show; at four, there are half as many errors again,
# and at three, the network is ruined. At six bits the network takes 5 kilobytes and misreads 22 of 5,000 digits. All of it is
# free (no training, no data): **of the three ways to make this network smaller, rounding is the cheapest by far.**
#
# Two caveats. Here only weights are rounded; a chip without floating point rounds the maps as well. And
# bytes are not seconds: this computer unpacks the numbers and multiplies in 32 bits as before. (Trained for one epoch
# more with its rounding in place, a network can often manage with four bits. That was not tried here.)
#
# ## The frontier
#
# Here are networks that this course trained on the same 55,000 digits and judged on the same 5,000: errors against
# parameters, on logarithmic axes. The *frontier* consists of those that no smaller network matches. **Which are
# they?** The bar is
# Student's 95% interval of the mean over three to five seeds. The networks are not all that differs: those of notebook 2c
# (Model1, Model2 with its variants) and five of one size, unlabelled, were trained for four epochs, `fast` for six,
# Model3 for ten, `course`, `small` and `mini` for twenty, the pruned network and its rival for forty in all. (`best`
# is missing: only its test figures are stored.)

# %%
drawn = {
    "Model1": "ladder/Model1",
    "Model2": "ladder/Model2",
    "Model3": "regularizers/all",
}
drawn |= {name: f"ablations/{name}" for name in ("fast", "course", "small", "mini")}
drawn |= {"pruned, and from scratch": "pruning/pruned", " ": "pruning/from_scratch"}
drawn |= {" " * n: f"fields/FieldNet{n}" for n in (10, 14, 18, 22, 26)}
drawn["Model2 with BatchNorm"] = "ladder/Model2BatchNorm"
drawn["Model2, dense head"] = "ladder/Model2Dense"

# %%
rows = []
for label, where in drawn.items():
    row = results.summary(where)
    low, high = row["of_seeds"]
    rows.append((label.strip(), row["parameters"], 1 - row["mean"], 1 - high, 1 - low))

# %%
plots.keep(
    plots.frontier(rows, ylabel="validation errors"),
    "08_frontier",
    "Errors against parameters: course has the fewest errors of all, "
    "mini the fewest parameters.",
)

# %% [markdown]
# The frontier, from the left: `mini`, the pruned network and its rival from scratch, `small`, `course`. The pruned network
# makes it by 59 parameters, and has more errors: 34 of 5,000 against 28 for `small`. Three differences separate
# `small` and `course` from the networks above them: a cheaper kind of convolution, another recipe, more epochs. Which of
# them mattered was not measured. `course` errs about as often as Model1, which has more than six times its parameters.
#
# ## What was shown
#
# - Half of this head's weights, the smallest, can be cut; a table of mostly zeros is as slow as before, and as large
#   unless it is packed.
# - A pruned network's rival is the same network from scratch, counting all epochs. Here neither is ahead (n = 5).
# - Rounding to six bits loses nothing here, and turns 22 kB into 5. Measure bytes, seconds and errors before you say
#   "compressed".
#
# Your turn: [exercises](exercises/08_pruning.ipynb), bytes of zeros, and half of the channels.
#
# Next: [9 · Interpretability](09_interpretability.ipynb)
