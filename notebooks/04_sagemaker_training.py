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
# # 4 · Training on SageMaker
#
# **How does `python -m mnist_utils.train` become a job on a rented GPU, its network an endpoint,
# and what does that cost?**
#
# | needs | takes | costs |
# |---|---|---|
# | this repository: every step is rehearsed here | 2 minutes to run, 30 to read | nothing |
# | with one line changed, an AWS account | about 30 minutes | less than a dollar, if you delete |

# %%
import json
import os
import secrets
import shutil
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

# %%
import numpy as np
import torch

from mnist_utils import checkpoint, data, evaluate, jobs, recipes, report, tracking, train

# %%
REHEARSE = True  # False: your AWS account, and real dollars

# %% [markdown]
# `connect` finds role, region and bucket in your AWS configuration or in Studio. In a rehearsal it
# starts a stand-in for AWS on this machine, and nothing can leave it.

# %%
place = jobs.connect(rehearse=REHEARSE)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The price, before anything starts
#
# SageMaker bills an instance by the second, from start to end of the job. `minutes` is the longest
# that a job may run, and so the most that it can cost. Spot capacity is what AWS has left over:
# often a third of the price, and AWS may take it back.

# %%
print(jobs.price("ml.g4dn.xlarge", minutes=60, spot=True))
print(jobs.price("ml.g4dn.xlarge", minutes=15, spot=True, jobs=40))

# %% [markdown]
# The second line is a class of forty, each with a job: `jobs.tune` has SageMaker's own tuner start
# them, four at a time, to search the learning rate.
#
# ## The job
#
# Hyperparameters are the options of `mnist_utils.train`. To be quick we take the `fast` recipe and
# 6,000 digits. `submit` checks them here, where a mistake is free, copies data and source to S3 and
# starts the job.

# %%
hyperparameters = {"recipe": "fast", "subset": 6000, "epochs": 3, "batch_size": 64}
hyperparameters |= {"evaluate_every": 1}
job = jobs.submit(place, hyperparameters, minutes=30)

# %% [markdown]
# `wait` would print the log as it grows; `logs=False` keeps this page short.

# %%
jobs.wait(place, job, logs=False)

# %% [markdown]
# SageMaker reads metrics off the log with regular expressions, and draws them in its console. The
# lines are `train`'s own: `epoch=1 train_loss=… test_accuracy=…`.

# %%
metrics = jobs.metrics(place, job)
print(*metrics)
print("test accuracy above 95 %:", metrics["test:accuracy"] > 0.95)

# %% [markdown]
# ## The network, back here
#
# What the job leaves in `/opt/ml/model` becomes `model.tar.gz`. An archive can hold `../` paths and
# links; `fetch` refuses those, and reads the weights without pickle.

# %%
whole = jobs.fetch(place, job, folder / "whole")
print(*sorted(path.name for path in whole.iterdir()), sep="\n")

# %%
story = json.loads((whole / "history.json").read_text())
curves = report.draw_curves(story["epochs"])
# %% [markdown]
# Three epochs on a tenth of the digits. Beside it the real thing: the source's recipe, 20 epochs,
# 60,000 digits, measured once and stored (`python -m mnist_utils.train --recipe reference` makes it
# again, in about 17 minutes).

# %%
reference = json.loads((evaluate.REFERENCE.parent / "history.json").read_text())
print(report.comparison(reference["epochs"][-1]))

# %%
curves = report.draw_curves(reference["epochs"])
# %% [markdown]
# ## A spot interruption
#
# When AWS wants its capacity back, the job gets a SIGTERM and two minutes. `train` saves a
# checkpoint after every epoch, SageMaker copies it to S3, and a job that starts with the same
# checkpoint folder goes on after the last whole epoch. We interrupt one ourselves, in epoch 2.

# %%
run = f"lesson-{secrets.token_hex(4)}"  # names the checkpoint folder
first = jobs.submit(place, hyperparameters, name=run, minutes=30)
jobs.wait(place, first, until="epoch=1 ", logs=False)
jobs.stop(place, first)

# %%
second = jobs.submit(place, hyperparameters, name=run, minutes=30)
jobs.wait(place, second, logs=False)

# %% [markdown]
# Order, augmentation and dropout are functions of seed and epoch alone, so the interrupted run must
# end where the other did. Here, on one CPU thread, it does so to the last bit; a GPU adds in
# varying order, and comes close.

# %%
resumed = jobs.fetch(place, second, folder / "resumed")
a, _ = checkpoint.load_tensors(whole / "model.safetensors")
b, _ = checkpoint.load_tensors(resumed / "model.safetensors")
print(len(a), "tensors, all equal:", all(torch.equal(a[name], b[name]) for name in a))

# %% [markdown]
# ## An endpoint
#
# A job ends and its bill with it. An endpoint is billed every second until you delete it, asked or
# not: this is the line on which courses lose money.

# %%
endpoint = jobs.deploy(place, job, "mnist-lesson")

# %% [markdown]
# A thousand test digits, as grey levels 0..255. The endpoint must say what the same weights say
# here.

# %%
digits = data.load(train=False).take(slice(1000))
answer = jobs.invoke(place, endpoint, digits.images.numpy())
local = evaluate.evaluate(evaluate.load_weights(whole / "model.safetensors")[0], digits)
print(answer["probabilities"].shape, np.array_equal(answer["labels"], local.predictions))
print("accuracy above 95 %:", local.accuracy > 0.95)

# %% [markdown]
# Callers send anything. Each gets told what is wrong, and the next is served.

# %%
for wrong in (np.zeros((1, 3, 28, 28)), np.full((28, 28), np.nan), np.zeros((0, 28, 28))):
    try:
        jobs.invoke(place, endpoint, wrong)
    except jobs.InputError as error:
        print(error)

# %% [markdown]
# The container is SageMaker's PyTorch 2.6 inference image, the last with TorchServe; it was patched
# until 30 June 2026. The successor that AWS names serves with Ray, and `mnist_utils.serve_ray`
# wraps the same four functions for it. For anything that lasts, take that one.
#
# ## Where people look for metrics
#
# With `MLFLOW_TRACKING_URI` set, a run logs its configuration, every epoch, pictures and weights to
# MLflow: a local folder, a server, or SageMaker's managed one. Here a folder, and a tiny run.

# %%
os.environ["MLFLOW_TRACKING_URI"] = str(folder / "mlflow")
tiny = recipes.RECIPES["fast"].to_dict() | {"subset": 1000, "epochs": 2}
settings = train.TrainConfig.from_dict(tiny)
with tracking.run(settings, "lesson") as tracker, redirect_stdout(StringIO()):
    train.train(settings, None, folder / "tracked", watch=tracker.epoch)
    tracker.files(folder / "tracked")

# %%
losses = tracking.read("train_loss")
print("train_loss of epochs", [epoch for epoch, _ in losses])

# %% [markdown]
# `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows such runs side by side.
#
# ## Leave nothing that costs
#
# `delete` removes endpoint, configuration and model, also where a deployment failed half-way, and
# says what it could not remove. Data and models in S3 remain: cents a month.

# %%
jobs.delete(place, endpoint)

# %%
print(len(place.client("sagemaker").list_endpoints(NameContains="mnist")["Endpoints"]))
place.close()
shutil.rmtree(folder)

# %% [markdown]
# ## What was shown
#
# - A training job is a container, a folder `/opt/ml` and a command: ours, unchanged.
# - The bill is known before: price × longest time. Endpoints have no longest time; delete them.
# - A spot interruption costs at most an epoch, and changes no result.
# - An endpoint says what the weights say, and refuses politely.
#
# Not shown, because a rehearsal cannot: CUDA, IAM, quotas, image pulls, real spot capacity. The
# least permissions that suffice are in `iam/sagemaker_policy.json`, each with its reason.
#
# Next: [05 · Misclassification](05_misclassification.ipynb): which digits does it get wrong, and is
# it wrong?
