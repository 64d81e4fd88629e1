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
# # 4 · Training on SageMaker
#
# **How does `python -m mnist_utils.train` become a job on a rented GPU, its network an endpoint,
# and what does that cost?**
#
# | needs | takes | costs |
# |---|---|---|
# | this repository: every step is rehearsed here | 2 minutes to run, 30 to read | nothing |
# | with one line changed, an AWS account | about 30 minutes | less than a dollar, if you delete |
#
# Four SageMaker terms: a **channel** is a folder in S3 that a job sees as a local folder; the
# **role** says what the job may do in your account; **spot** capacity is what AWS has left over: cheaper,
# but taken back when AWS needs it; an **endpoint** is a network that answers over HTTP.
#
# On AWS you also need a role with the permissions of `cloud/jobs/iam/` (in Studio, your
# execution role), and a quota of one `ml.g4dn.xlarge for spot training job usage`; new accounts have
# none; ask for it in *Service Quotas*. If you bring a class, read [A class on AWS](TEACHING_AWS.md).

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
import json
import os
import secrets
import shutil
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

# %%
import numpy as np
import torch

from cloud import jobs
from mnist_utils import data, plots
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.recipes import RECIPES
from mnist_utils.weights import load_network, load_tensors

# %%
REHEARSE = True  # False: your AWS account, and real dollars

# %% [markdown]
# `connect` finds role, region and bucket in your AWS configuration or in Studio. In a rehearsal it
# starts a stand-in for AWS on this machine, and nothing can leave it. Names and tags of all you make carry
# your own name, so a class can share one account. The SDK's habit of reporting to AWS what you
# call is switched off.

# %%
place = jobs.connect(rehearse=REHEARSE)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The price, before anything starts
#
# SageMaker bills an instance by the second, from the start to the end of the job. `minutes` is the longest
# that a job may run, so, with two more minutes to stop in, it sets the most that the job can cost. Spot
# capacity costs less, some regions more. This notebook runs three jobs:

# %%
print(jobs.price("ml.g4dn.xlarge", minutes=15, spot=True, jobs=3))

# %% [markdown]
# A class of forty could search the best `lr`, the size of a step, together: `jobs.tune` asks SageMaker's
# own tuner for forty trials, four at a time; `jobs.best` says which won, `jobs.stop` ends it early. Here we
# only ask for the price:

# %%
print(jobs.price("ml.g4dn.xlarge", minutes=15, spot=True, jobs=40))

# %% [markdown]
# ## The job
#
# Hyperparameters are the options of `mnist_utils.train`. To be quick we take the `fast` recipe and
# 12,000 digits, all of them in every epoch. `submit` checks the hyperparameters here, where a mistake is free,
# copies data and source to S3 and starts the job; `dry_run=True` would print the whole request
# instead.
#
# Here three epochs take a few seconds. On AWS we ask for a hundred: a few minutes of a GPU, and at most
# the price above. Further down we stop a job in the middle, and its log reaches us half a minute late.

# %%
hyperparameters = {"recipe": "fast", "subset": 12_000, "share": 1.0}
hyperparameters |= {
    "epochs": 3 if REHEARSE else 100,
    "batch_size": 64,
    "evaluate_every": 1,
}
job = jobs.submit(place, hyperparameters, minutes=15)

# %% [markdown]
# `wait` tells each change of status, and would print the log as it grows; `logs=False` keeps this page short.
# On AWS a few minutes pass before *Training*; many, if no spot capacity is free.

# %%
jobs.wait(place, job, logs=False)

# %% [markdown]
# Here is what SageMaker was asked for, in its own words. (With spot capacity a job may wait as long as it
# may run; `sm_drivers` is SageMaker's own launcher.)

# %%
about = place.client("sagemaker").describe_training_job(TrainingJobName=job)
print(about["AlgorithmSpecification"]["TrainingImage"])
print(about["ResourceConfig"]["InstanceType"], about["StoppingCondition"])
for channel in about["InputDataConfig"]:
    print("/opt/ml/input/data/" + channel["ChannelName"])

# %% [markdown]
# And this is what came back. The log is `train`'s own; SageMaker extracts metrics from it with regular
# expressions and plots them in its console. (Yours will differ in the last digits: another machine
# rounds differently.)

# %%
for line in jobs.log(place, job):
    if line.startswith("epoch="):
        print(line)

# %%
metrics = jobs.metrics(place, job)
for name, value in metrics.items():
    print(f"{name} = {value:.4f}")

# %% tags=["hide-input"]
assert metrics["test:accuracy"] > 0.95

# %% [markdown]
# ## The network, back here
#
# What the job leaves in `/opt/ml/model` becomes `model.tar.gz`. An archive can contain `../` paths and
# links; `fetch` refuses those, and reads the weights without pickle, a format that can run code.

# %%
whole = jobs.fetch(place, job, folder / "whole")
print(*sorted(path.name for path in whole.iterdir()), sep="\n")

# %% tags=["nbval-ignore-output"]
story = json.loads((whole / "history.json").read_text())
plots.keep(
    plots.history(story["epochs"]),
    "04_lesson_curves",
    "Training loss falls and both accuracies rise over the three epochs of the "
    "rehearsed job.",
)

# %% [markdown]
# (Your curves will differ a little, like the figures.) Three epochs on a fifth of the digits; *nats* means that the logarithm is the natural one. In its last
# epoch `fast` is shown the digits undistorted: one reason why the training curves cross here, as they did
# not in notebook 2a.
#
# ## A spot interruption
#
# When AWS wants its capacity back, it interrupts the job, and promises no warning. `train` saves
# a *checkpoint* after every epoch: the weights and the state of the optimizer; SageMaker copies it
# to S3, and when it finds capacity again it restarts the job with the same checkpoint folder: `train` goes
# on after the last whole epoch. We
# play AWS: we stop a job after its first epoch, and start another one with its checkpoints. (A *stop*
# does give warning: a signal, SIGTERM, and two minutes to save.)

# %%
run = f"lesson-{secrets.token_hex(4)}"  # names the checkpoint folder
first = jobs.submit(place, hyperparameters, name=run, minutes=15)
jobs.wait(place, first, until="epoch=1 ", logs=False)
jobs.stop(place, first)

# %%
second = jobs.submit(place, hyperparameters, name=run, minutes=15)
jobs.wait(place, second, logs=False)

# %%
logs = [jobs.log(place, name) for name in (first, second)]
epochs = [
    [line.split()[0] for line in log if line.startswith("epoch=")] for log in logs
]
print("the two together:", *epochs[0] + epochs[1])
print(
    "the second resumed:",
    any(line.startswith("resuming after epoch") for line in logs[1]),
)

# %% tags=["hide-input"]
assert len(epochs[0]) > 0

# %% [markdown]
# Order, augmentation and dropout depend only on seed and epoch, and the checkpoint holds the rest, so the
# interrupted run must end where the other did. Here, on one CPU thread, it does, to the last bit. A GPU adds in
# varying order: on the one we tried, not a T4, two runs of one seed differ from the first epoch on.

# %%
resumed = jobs.fetch(place, second, folder / "resumed")
a, _ = load_tensors(whole / "model.safetensors")
b, _ = load_tensors(resumed / "model.safetensors")
print(len(a), "tensors, all equal:", all(torch.equal(a[name], b[name]) for name in a))

# %% [markdown]
# ## An endpoint
#
# A job ends, and so does its bill. An endpoint is billed every second until you delete it, whether anybody
# uses it or not: this is where courses lose money. So `serving` deletes endpoint, configuration
# and model when its block ends, even after an error or Ctrl-C.
#
# We send a thousand test digits, as grey levels 0..255, and three things that are none. Each caller is told
# what is wrong, and the next one is served as usual.

# %%
digits = data.load(train=False).take(slice(1000))
unusable = (
    np.zeros((1, 3, 28, 28)),
    np.full((28, 28), np.nan),
    255 - digits.images[0].numpy(),
)

# %%
with jobs.serving(place, job) as endpoint:
    answer = jobs.invoke(place, endpoint, digits.images.numpy())
    for wrong in unusable:
        try:
            jobs.invoke(place, endpoint, wrong)
        except InputError as error:
            print(error)

# %% [markdown]
# The endpoint must have read each digit just as the same weights do here.

# %%
local = evaluate(load_network(whole / "model.safetensors"), digits)
print(
    answer["probabilities"].shape, np.array_equal(answer["labels"], local.predictions)
)
print(f"test_accuracy={local.accuracy:.4f}")

# %% tags=["hide-input"]
assert local.accuracy > 0.95

# %% [markdown]
# ### Leave nothing behind that costs money
#
# `running` finds what a crashed kernel has left: your endpoints, jobs and searches, nobody else's.
# `jobs.clean(place, older="2h")` ends them; `python -m cloud.jobs list` and `clean` do so from a
# terminal. Data and models stay in S3, at a few cents a month.

# %%
print(*jobs.running(place) or ["nothing of yours runs"], sep="\n")

# %% [markdown]
# For a class that asks only now and then, *serverless inference* is better: a CPU, billed by the
# millisecond of work, nothing while nobody asks. That is `serving(place, job, serverless=True)`; the first
# answer after a pause takes a few seconds longer.
#
# The endpoint ran in an older SageMaker image than the job: PyTorch 2.6, which AWS patched until
# 30 June 2026. That will do for an hour's lesson, and for nothing that lasts. Its named successor is the Ray
# Serve image; `cloud.serve.ray` is made for it, and tested with Ray on this machine, not in AWS's image.
#
# ## Where people look for metrics
#
# With `MLFLOW_TRACKING_URI` set, a run logs its configuration, every epoch, pictures and weights to
# MLflow: a local folder, a server, or SageMaker's managed one. Here we use a folder and a tiny run.

# %%
from mnist_utils.train import tracking, train

os.environ["MLFLOW_TRACKING_URI"] = str(folder / "mlflow")
tiny = replace(RECIPES["fast"], subset=1000, epochs=2)
with tracking.run(tiny, "lesson") as tracker, redirect_stdout(StringIO()):
    train(tiny, folder / "tracked", watch=tracker.epoch)
    tracker.files(folder / "tracked")

# %%
import mlflow

(logged,) = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
print(f"train_loss={logged.data.metrics['train_loss']:.4f}")

# %% [markdown]
# `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows such runs side by side; FOLDER is what you
# gave as `MLFLOW_TRACKING_URI`. Here it is deleted with everything else:

# %%
place.close()
shutil.rmtree(folder)

# %% [markdown]
# ## What was shown
#
# - A training job is a container, a folder `/opt/ml` and a command: ours, unchanged.
# - A job's largest bill is known before: price × longest time. An endpoint has no longest time; delete it.
# - A spot interruption costs the epoch it falls into, and the wait for another machine; on one CPU
#   thread it changed no bit of the result.
# - An endpoint reads digits just as the weights do here, and tells a caller what is wrong with a request.
#
# If a job ends with "has a GPU, but torch sees none", the image's CUDA 13 is too new for the driver
# of its machine. Ask for the newest image of CUDA 12: `submit(…, image=…)` with the address printed
# above, its end replaced by `2.8.0-gpu-py312`.
#
# Not shown, because a rehearsal cannot: CUDA, your role and quotas, image pulls, real spot capacity. The
# minimal permissions are in `cloud/jobs/iam/sagemaker_policy.json`, each with its reason;
# the rehearsal ran under them.
#
# Your turn: [exercises](exercises/04_sagemaker_training.ipynb) on what a forgotten weekend costs.
#
# Next: [5 · Misclassified digits](05_misclassification.ipynb)
