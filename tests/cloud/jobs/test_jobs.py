"""The whole way through SageMaker, rehearsed, and what goes wrong on it.

One rehearsal and one trained job serve most of this file; `fast` on a few thousand digits.
"""

import importlib.util
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from botocore.exceptions import ClientError
from moto.core.exceptions import JsonRESTError
from moto.sagemaker.responses import SageMakerResponse as Control
from networks import npy
from sagemaker.core import image_uris
from sagemaker.core.resources import Endpoint
from sagemaker.train import ModelTrainer

from cloud import jobs
from cloud.jobs import archive, inventory, training
from cloud.jobs import endpoint as endpoints
from cloud.jobs.__main__ import _clean, _list, main
from cloud.jobs.place import IMAGES, LIBRARIES, aws_errors, needs_toolkit
from cloud.rehearsal import permissions
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.files import ROOT
from mnist_utils.train import options, train
from mnist_utils.weights import load_network, load_tensors

QUICK = {"recipe": "fast", "subset": 6000, "epochs": 3, "batch_size": 64, "evaluate_every": 1}


@pytest.fixture(scope="module")
def asked():
    """Every action that the rehearsal judged by our policy."""
    made, real = set(), permissions.allows

    def judged(policy, action, *where):
        made.add(action)
        return real(policy, action, *where)

    with mock.patch.object(permissions, "allows", judged):
        yield made


@pytest.fixture(scope="module")
def place(asked):
    with jobs.connect(rehearse=True) as place:
        yield place


@pytest.fixture
def aws(place):
    """SageMaker as AWS sees it, whatever our policy allows."""
    return place.rehearsal.client("sagemaker")


@pytest.fixture(scope="module")
def job(place):
    """A finished job."""
    name = jobs.submit(place, QUICK)
    assert jobs.wait(place, name, logs=False) == "Completed"
    return name


@pytest.fixture(scope="module")
def model(place, job, tmp_path_factory):
    """Its weights, fetched."""
    return jobs.fetch(place, job, tmp_path_factory.mktemp("fetched") / "model")


# --- the whole way ------------------------------------------------------------------------------


def test_the_job_leaves_its_metrics_its_model_and_its_bill(place, job, model):
    history = json.loads((model / "history.json").read_text())
    assert {key: history["config"][key] for key in ("epochs", "subset")} == {
        "epochs": 3, "subset": 6000,
    }  # fmt: skip
    found = jobs.metrics(place, job)
    assert found["test:accuracy"] == pytest.approx(history["held_out_accuracy"], abs=6e-5)
    assert found["train:loss"] == pytest.approx(history["train_loss"], abs=6e-5)
    assert (model / "curves.png").stat().st_size > 1000
    assert "billable seconds of ml.g4dn.xlarge, $0.0" in jobs.bill(place, job)
    about = place.client("sagemaker").describe_training_job(TrainingJobName=job)
    assert about["EnableManagedSpotTraining"] is True
    assert about["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200,
    }  # fmt: skip
    tags = place.client("sagemaker").list_tags(ResourceArn=about["TrainingJobArn"])["Tags"]
    assert {"Key": "project", "Value": "mnist"} in tags


@pytest.fixture(scope="module")
def endpoint(place, job):
    """An endpoint that serves the job's model."""
    name = jobs.deploy(place, job)
    yield name
    jobs.delete(place, name)


def test_an_endpoint_classifies_as_the_weights_do(place, endpoint, model, test_split):
    thousand = test_split.take(slice(1000))
    answer = jobs.invoke(place, endpoint, thousand.images.numpy())
    local = evaluate(load_network(model / "model.safetensors"), thousand)
    accuracy = (answer["labels"] == thousand.labels.numpy()).mean()
    assert accuracy == pytest.approx(local.accuracy, abs=1e-12)
    assert np.array_equal(answer["labels"], local.predictions.numpy())
    assert local.accuracy > 0.9


def test_each_is_served_and_trained_by_aws_s_image_for_it(place, job, endpoint):
    client = place.client("sagemaker")
    trained = client.describe_training_job(TrainingJobName=job)["AlgorithmSpecification"]
    parts = client.describe_endpoint(EndpointName=endpoint)
    parts = client.describe_endpoint_config(EndpointConfigName=parts["EndpointConfigName"])
    (variant,) = parts["ProductionVariants"]
    served = client.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]
    assert "/pytorch-training:" in trained["TrainingImage"]
    assert "/pytorch-inference:" in served["Image"]


def test_an_endpoint_holds_under_load(place, endpoint, model, test_split):
    """200 requests, 8 clients, one in ten malformed."""
    digits = test_split.take(slice(1000))
    labels = evaluate(load_network(model / "model.safetensors"), digits).predictions.numpy()
    served = Endpoint.get(endpoint_name=endpoint, session=place.session.boto_session)
    images = digits.images.numpy()

    def request(number):
        if number % 10 == 0:
            body, kind, reason = BAD[number // 10 % len(BAD)]
            with pytest.raises(ClientError) as refused:
                served.invoke(body=body, content_type=kind)
            assert refused.value.response["OriginalStatusCode"] in (400, 415)
            return reason in refused.value.response["OriginalMessage"]
        body = json.dumps(images[number : number + 3].tolist())
        answer = served.invoke(body=body, content_type="application/json").body.read()
        return json.loads(answer)["labels"] == labels[number : number + 3].tolist()

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(request, range(200))) == [True] * 200


BAD = [
    (b'{"instances": [[', "application/json", "not whole JSON"),
    (npy(np.zeros((1, 3, 28, 28))), "application/x-npy", "3 channels"),
    (npy(np.full((28, 28), np.nan)), "application/x-npy", "NaN"),
    (b"abc", "image/jpeg", "Content-Type 'image/jpeg'"),
]


def test_names_carry_owner_and_chance_and_what_exists_already_is_left_alone(
    place, job, endpoint, monkeypatch, aws
):
    assert re.fullmatch(r"mnist-you-[0-9a-f]{8}", endpoint)
    monkeypatch.setattr("secrets.token_hex", lambda _: endpoint[-8:])
    with pytest.raises(InputError, match=f"endpoint {endpoint} exists already"):
        jobs.deploy(place, job)
    assert aws.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
    monkeypatch.setattr("secrets.token_hex", lambda _: "00000000")
    made = {"ExecutionRoleArn": place.role, "PrimaryContainer": {"Image": "image"}}
    aws.create_model(ModelName="mnist-you-00000000", **made)
    with pytest.raises(InputError, match="model mnist-you-00000000 exists already"):
        jobs.deploy(place, job)
    assert aws.describe_model(ModelName="mnist-you-00000000")
    assert jobs.delete(place, "mnist-you-00000000") == ["model mnist-you-00000000"]


def test_an_endpoint_of_a_context_is_found_while_it_lives_and_gone_whatever_fails(
    place, job, endpoint, aws, capsys, monkeypatch, test_split
):
    """One serverless endpoint, through all that can befall it."""
    capsys.readouterr()
    with pytest.raises(ZeroDivisionError), jobs.serving(place, job, serverless=True) as mine:  # noqa: PT012
        said = capsys.readouterr().out
        assert "serverless, 3 GB: billed while it answers" in said
        assert "endpoint: Creating\nendpoint: InService" in said
        (variant,) = aws.describe_endpoint_config(EndpointConfigName=mine)["ProductionVariants"]
        assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 5}
        assert "-cpu-" in aws.describe_model(ModelName=mine)["PrimaryContainer"]["Image"]
        for kind in ("endpoint", "endpoint-config", "model"):
            arn = f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/{mine}"
            tags = aws.list_tags(ResourceArn=arn)["Tags"]
            assert {"Key": "owner", "Value": "you"} in tags, kind
        assert [one.name for one in jobs.running(place)] == [endpoint, mine]
        other = replace(place, owner="other")
        assert jobs.running(other) == jobs.clean(other) == []
        assert mine in str(jobs.running(other, everyone=True))
        assert mine in _list(place, everyone=False)
        assert _list(other, everyone=False) == "nothing of other runs"
        assert _clean(place, older="2h", everyone=False) == "nothing is older than 2h"

        server = place.rehearsal.servers[mine]
        server.process.kill()
        with pytest.raises(InputError, match="does not answer"):
            jobs.invoke(place, mine, test_split.images[:1].numpy())
        with monkeypatch.context() as patch:
            patch.setattr(
                endpoints, "_wait_while_creating", mock.Mock(side_effect=KeyboardInterrupt)
            )
            words = f"endpoint {mine} stays, and costs: `python -m cloud.jobs delete {mine}`"
            with pytest.raises(KeyboardInterrupt, match=words):
                jobs.delete(place, mine)
        with monkeypatch.context() as patch:
            denied = {"Error": {"Code": "AccessDenied", "Message": "no"}}
            refusal = mock.Mock(side_effect=ClientError(denied, "DeleteEndpoint"))
            patch.setattr(place.client("sagemaker"), "delete_endpoint", refusal)
            with pytest.raises(InputError, match=f"may cost money: endpoint {mine}"):
                jobs.delete(place, mine)
        assert aws.describe_model(ModelName=mine)  # as long as the endpoint stays
        raise ZeroDivisionError
    assert "deleted: endpoint, configuration, model" in capsys.readouterr().out
    assert jobs.delete(place, mine) == []
    assert not server.folder.exists()
    assert [one.name for one in jobs.running(place)] == [endpoint]


def test_what_is_older_than_a_time_is_ended_by_kind(place, monkeypatch):
    ended, now = [], datetime.now(UTC)
    found = [
        inventory.Running(kind, f"mnist-{kind}", now - timedelta(hours=hours))
        for kind, hours in (("endpoint", 30), ("search", 3), ("job", 1))
    ]
    monkeypatch.setattr(inventory, "running", lambda place, everyone: found)
    for kind, known in inventory.KINDS.items():
        end = lambda place, name: ended.append(name)  # noqa: E731
        monkeypatch.setitem(inventory.KINDS, kind, (*known[:-1], end))
    assert jobs.clean(place, "2h") == [
        "ended endpoint mnist-endpoint, 30.0 hours old", "ended search mnist-search, 3.0 hours old",
    ]  # fmt: skip
    assert len(jobs.clean(place, "45m")) == 3
    assert len(jobs.clean(place, "1d")) == 1
    for wrong in ("2", "h", "-1h", "2 hours"):
        with pytest.raises(InputError, match="is not a time such as 30m, 2h or 1d"):
            jobs.clean(place, wrong)

    def denied(place, name):
        raise InputError("no")

    monkeypatch.setitem(inventory.KINDS, "search", (*known[:-1], denied))
    with pytest.raises(InputError, match="ended endpoint .*; no$"):
        jobs.clean(place, "2h")


# --- a job that is killed, a job that fails -----------------------------------------------------


def test_a_job_killed_after_an_epoch_and_resumed_ends_with_the_same_weights(
    place, job, model, tmp_path, capsys
):
    killed = jobs.submit(place, QUICK, name="spot")
    jobs.wait(place, killed, until="epoch=1 ", logs=False)
    place.rehearsal.jobs[killed].stop(grace=0)  # SIGKILL, at once
    assert jobs.wait(place, killed, logs=False) == "Stopped"
    resumed = jobs.submit(place, QUICK, name="spot")
    capsys.readouterr()
    assert jobs.wait(place, resumed) == "Completed"
    log = capsys.readouterr().out
    assert re.search(r"resuming after epoch [123] of 3", log)  # a fast machine runs on to the end
    assert "epoch=1 " not in log
    again = jobs.fetch(place, resumed, tmp_path / "again")
    one, _ = load_tensors(model / "model.safetensors")
    two, _ = load_tensors(again / "model.safetensors")
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_job_with_a_bad_hyperparameter_fails_with_our_reason(place):
    bad = QUICK | {"lr": "fast"}
    with pytest.raises(InputError, match="--lr 'fast' is not a number"):
        jobs.submit(place, bad)  # free, and at once
    name = jobs.submit(place, bad, check=False)
    with pytest.raises(InputError, match="AlgorithmError: --lr 'fast' is not a number"):
        jobs.wait(place, name, logs=False)
    about = place.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert about["TrainingJobStatus"] == "Failed"
    assert about["FailureReason"].startswith("AlgorithmError: --lr 'fast' is not a number")
    with pytest.raises(InputError, match="left no artifact"):
        jobs.fetch(place, name, "nowhere")


def test_two_machines_train_as_one_and_one_alone_evaluates_and_writes(place, tmp_path, capsys):
    short = {"recipe": "fast", "precision": "float32", "subset": 63, "epochs": 2, "batch_size": 64}
    name = jobs.submit(place, short, instances=2)
    assert jobs.wait(place, name) == "Completed"
    log = capsys.readouterr().out
    for rank in (0, 1):
        first = r"--master_addr=(algo-1|127\.0\.0\.1)"  # the latter without a mount namespace
        words = f"--nnodes=2 --nproc_per_node=1 {first} --master_port=7777 --node_rank={rank}"
        assert re.search(f"{words} train.py", log)
    assert "2 × ml.g4dn.xlarge" in log
    assert log.count("epoch=1 ") == 1
    out = jobs.fetch(place, name, tmp_path / "two")
    two = json.loads((out / "history.json").read_text())
    assert two["errors"] == round((1 - two["held_out_accuracy"]) * 10_000)  # not counted twice

    one = train(options.resolve(short), tmp_path / "one").history
    assert two["epochs"][0]["train_accuracy"] == one[0]["train_accuracy"]
    for row, other, tolerance in zip(two["epochs"], one, (1e-5, 1e-2), strict=True):
        assert row["digits"] == other["digits"]  # of the second epoch, the same hard quarter
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=tolerance)


# --- what is submitted --------------------------------------------------------------------------


def test_a_dry_run_prints_the_price_and_the_request_and_starts_nothing(place, capsys):
    before = set(place.rehearsal.jobs)
    assert jobs.submit(place, QUICK, minutes=30, dry_run=True) == ""
    first, request = capsys.readouterr().out.split("\n", 1)
    assert first.startswith(
        "ml.g4dn.xlarge: at most 30 min, and 2 to stop in, at $0.7364 an hour in us-east-1, so $0.3"
    )
    request = json.loads(request)
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 1800
    assert request["HyperParameters"]["recipe"] == "fast"
    assert "pytorch-training:2.10.0-gpu" in request["AlgorithmSpecification"]["TrainingImage"]
    assert set(place.rehearsal.jobs) == before


def test_a_toolkit_that_a_rehearsal_lacks_is_named():
    with pytest.raises(InputError, match=r"an endpoint .* `pip install no-such==1 none-such==2`"):
        needs_toolkit("an endpoint", "no-such==1", "numpy==1.0", "none-such==2")


with_toolkit = pytest.mark.skipif(
    importlib.util.find_spec("sagemaker_training") is None,
    reason="sagemaker-training is C source, and was left out where there is no compiler",
)


@with_toolkit
def test_a_search_runs_its_trials_each_with_checkpoints_of_its_own(place, capsys, aws):
    quick = {"recipe": "fast", "subset": 1000, "epochs": 1, "batch_size": 64, "validation": 5000}
    name = jobs.tune(place, quick, {"lr": (0.005, 0.05)}, jobs=40)
    assert "40 × ml.g4dn.xlarge" in capsys.readouterr().out
    assert [one.kind for one in jobs.running(place) if one.name == name] == ["search"]
    with pytest.raises(InputError, match="no trial of it has ended well yet"):
        jobs.best(place, name)
    about = aws.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    config, definition = about["HyperParameterTuningJobConfig"], about["TrainingJobDefinition"]
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 40
    assert config["HyperParameterTuningJobObjective"]["MetricName"] == "validation:accuracy"
    (lr,) = config["ParameterRanges"]["ContinuousParameterRanges"]
    assert (lr["Name"], float(lr["MinValue"]), float(lr["MaxValue"])) == ("lr", 0.005, 0.05)
    assert definition["StaticHyperParameters"]["validation"] == "5000"
    arn = about["HyperParameterTuningJobArn"]
    assert {"Key": "owner", "Value": "you"} in aws.list_tags(ResourceArn=arn)["Tags"]

    place.rehearsal.trials[name].thread.join(900)
    trials = sorted(job for job in place.rehearsal.jobs if job.startswith(f"{name}-"))
    assert [training.describe(place, trial)["TrainingJobStatus"] for trial in trials] == [
        "Completed"
    ] * 2, jobs.log(place, trials[0])
    assert "sagemaker-training-toolkit" in "".join(jobs.log(place, trials[0]))
    rates = [jobs.metrics(place, trial)["validation:accuracy"] for trial in trials]
    assert rates[0] != rates[1]
    first = int(rates[1] > rates[0])
    won = f"{trials[first]}: validation accuracy {max(rates):.4f} with lr {(0.005, 0.05)[first]}"
    assert jobs.best(place, name) == f"{won} (Completed)"
    found = place.client("s3").list_objects_v2(
        Bucket=place.bucket, Prefix=f"mnist-you/checkpoints/{name}/"
    )["Contents"]
    assert {item["Key"].split("/")[3] for item in found} == set(trials)


@with_toolkit
def test_a_search_that_is_stopped_ends_its_trial_and_starts_no_other(place):
    name = jobs.tune(place, QUICK | {"validation": 5000}, {"lr": (0.005, 0.05)})
    trials = place.rehearsal.trials[name]
    assert jobs.stop(place, name) == "Stopping"
    trials.thread.join(300)
    assert trials.record.hyper_parameter_tuning_job_status == "Stopped"
    assert len([job for job in place.rehearsal.jobs if job.startswith(f"{name}-")]) <= 1
    with pytest.raises(InputError, match="StopHyperParameterTuningJob: .*in status Stopped"):
        jobs.stop(place, name)


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({"lr": (0.1, 0.01)}, "lr=(0.1, 0.01) is not a range"),
        ({"lr": (1, 0.1)}, "lr=(1.0, 0.1) is not a range"),
        ({"lr": (0.1, 0.1)}, "is not a range"),
        ({"lr": (0.01,)}, "is not a range"),
        ({"lr": (0.01, 0.1, 1.0)}, "is not a range"),
        ({"epochs": (1, 2.5)}, "is not a range"),
        ({"recipe": ("fast",)}, "two words or more"),
        ({"lr": (0.1, 90.0)}, "--lr"),
        ({"out": ("a", "b")}, "'out' is the container's to set"),
    ],
)
def test_a_range_that_aws_refuses_is_refused_before_anything_is_uploaded(place, ranges, words):
    with pytest.raises(InputError, match=re.escape(words)):
        jobs.tune(place, QUICK | {"validation": 5000}, ranges)


def test_nobody_tunes_on_the_test_digits(place):
    with pytest.raises(InputError, match="nobody tunes on the test digits"):
        jobs.tune(place, QUICK, {"lr": (0.005, 0.05)})


@pytest.mark.parametrize(
    ("hyperparameters", "words"),
    [
        ({"recipe": "slow"}, "--recipe 'slow' is not one of"),
        ({"colour": "red"}, "unrecognized arguments: --colour=red"),
        ({"shift": 1, "recipe": "reference"}, "need --augmentation batch"),
        ({"model": "CourseNet", "recipe": "o'fast"}, "--recipe"),
    ],
)
def test_bad_hyperparameters_are_refused_before_they_cost_anything(place, hyperparameters, words):
    with pytest.raises(InputError, match=words):
        jobs.submit(place, hyperparameters)


def test_a_truncated_upload_is_neither_fetched_nor_deployed(place, job, tmp_path, aws):
    before = len(aws.list_models()["Models"])
    s3, about = place.client("s3"), training.describe(place, job)
    bucket, _, key = about["ModelArtifacts"]["S3ModelArtifacts"][5:].partition("/")
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=whole[: len(whole) // 2])
        with pytest.raises(InputError, match="truncated or damaged"):
            jobs.fetch(place, job, tmp_path / "out")
        with pytest.raises(InputError, match="truncated or damaged"):
            jobs.deploy(place, job)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=whole)
    assert list(tmp_path.iterdir()) == []
    assert len(aws.list_models()["Models"]) == before


# --- a deployment that fails half-way -----------------------------------------------------------


def test_a_deployment_that_fails_is_cleaned_up_and_says_why(place, job, monkeypatch, aws):
    """Also while AWS still creates it, and refuses to delete it."""
    real, seen = archive.copy_package, []
    before = str([aws.list_endpoints()["Endpoints"], aws.list_models()["Models"]])

    def without_inference(folder):
        real(folder)
        (folder / "cloud/serve/handlers.py").write_text("import no_such_module\n")

    monkeypatch.setattr(archive, "copy_package", without_inference)
    with pytest.raises(InputError, match=r"endpoint mnist-you-\w+ failed: .*no_such_module"):
        jobs.deploy(place, job)

    def interrupted(place, name):
        seen.append(name)
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            aws.delete_endpoint(EndpointName=name)
        raise KeyboardInterrupt

    monkeypatch.setattr(endpoints, "_in_service", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jobs.deploy(place, job)
    assert len(seen) == 1
    assert str([aws.list_endpoints()["Endpoints"], aws.list_models()["Models"]]) == before


def test_delete_says_what_it_could_not_delete_and_how_to(place, monkeypatch, aws):
    made = {"ExecutionRoleArn": place.role, "PrimaryContainer": {"Image": "image"}}
    aws.create_model(ModelName="mnist-stuck", **made)
    denied = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    with monkeypatch.context() as patch:
        refusal = mock.Mock(side_effect=ClientError(denied, "DeleteModel"))
        patch.setattr(place.client("sagemaker"), "delete_model", refusal)
        words = r"may cost money: model mnist-stuck \(DeleteModel: no.*delete mnist-stuck` tries"
        with pytest.raises(InputError, match=words):
            jobs.delete(place, "mnist-stuck")
    assert jobs.delete(place, "mnist-stuck") == ["model mnist-stuck"]


def test_ctrl_c_in_submit_is_not_swallowed_and_names_the_job(place, monkeypatch):
    """The SDK catches everything while it starts a job; the job would run on unseen."""
    real = ModelTrainer.train

    def interrupted(self, **arguments):
        real(self, **arguments)
        with suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ModelTrainer, "train", interrupted)
    with pytest.raises(KeyboardInterrupt, match="job mnist-.* ends with the rehearsal") as s:
        jobs.submit(place, QUICK)
    assert jobs.stop(place, str(s.value).split()[1]) == "Stopped"
    words = "job x goes on and costs; `jobs.stop`, or cloud.jobs stop x"
    with (
        pytest.raises(KeyboardInterrupt, match=words),
        training.goes_on(replace(place, rehearsal=None), "x"),
    ):
        raise KeyboardInterrupt


# --- where AWS refuses --------------------------------------------------------------------------


def test_stopping_a_job_that_has_ended_says_so_and_goes_on(place, job, capsys):
    with pytest.raises(ClientError, match="because the training job is in status Completed"):
        place.client("sagemaker").stop_training_job(TrainingJobName=job)
    assert jobs.stop(place, job) == "Completed"
    assert f"job {job} is Completed already" in capsys.readouterr().out
    with pytest.raises(InputError, match="Requested resource not found"):
        jobs.stop(place, "mnist-nobody")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instance_type": "ml.g4dn.huge"}, "'ml.g4dn.huge' .* Member must satisfy enum"),
        ({"instance_type": "ml.p4d.24xlarge"}, "'ml.p4d.24xlarge for spot .* is 0 Instances"),
        ({"instance_type": "g4dn.xlarge"}, "'g4dn.xlarge' does not exist; try ml.g4dn.xlarge"),
        ({"processes": 2}, "ml.g4dn.xlarge has 1 GPU, .* processes=1, or instances=2"),
        ({"instances": 5}, "request delta of 5 Instances"),
        ({"instances": 0}, "instances=0 is not a whole number"),
        ({"minutes": 0}, "minutes=0 is not between"),
        ({"minutes": -5}, "minutes=-5 is not between"),
        ({"minutes": "ten"}, "minutes='ten' is not between"),
    ],
)
def test_a_machine_that_aws_refuses_is_one_line(place, change, words):
    with pytest.raises(InputError, match=words):
        jobs.submit(place, QUICK, **change)


@pytest.mark.parametrize(
    ("hyperparameters", "words"),
    [
        ({"epoch": 1}, "unrecognized arguments: --epoch=1"),
        ({"seed": False}, "not a whole number"),
        ({"out": "tmp/x"}, "'out' is the container's to set"),
        ({"data": "/tmp"}, "'data' is the container's to set"),
        ({"resume": True}, "'resume' is the container's to set"),
    ],
)
def test_a_slip_in_a_hyperparameter_is_refused_before_anything_is_uploaded(
    place, hyperparameters, words
):
    with pytest.raises(InputError, match=words):
        jobs.submit(place, QUICK | hyperparameters)


def test_a_role_that_nobody_may_assume_is_refused(place, monkeypatch):
    monkeypatch.setattr(place, "role", "arn:aws:iam::123456789012:role/SageMakerNobody")
    with pytest.raises(InputError, match="Could not assume role arn.*SageMakerNobody"):
        jobs.submit(place, QUICK)


def test_taken_names_are_refused(place, job, endpoint, aws):
    client = aws
    asked = client.describe_training_job(TrainingJobName=job)
    keys = ("TrainingJobName", "RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
    algorithm = {"TrainingImage": "image", "TrainingInputMode": "File"}
    with pytest.raises(ClientError, match="a job with this name already exists"):
        client.create_training_job(
            **{key: asked[key] for key in keys}, AlgorithmSpecification=algorithm
        )
    variant = {"VariantName": "one", "ModelName": "mnist-m", "InstanceType": "ml.m5.large"}
    calls = [
        (client.create_model, {
            "ModelName": "mnist-m", "ExecutionRoleArn": place.role,
            "PrimaryContainer": {"Image": "image"},
        }),
        (client.create_endpoint_config, {
            "EndpointConfigName": "mnist-m", "ProductionVariants": [variant],
        }),
    ]  # fmt: skip
    for call, request in calls:
        call(**request)
        with pytest.raises(ClientError, match="Cannot create already existing"):
            call(**request)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint "):
        client.create_endpoint(EndpointName=endpoint, EndpointConfigName="mnist-m")
    client.delete_endpoint_config(EndpointConfigName="mnist-m")
    client.delete_model(ModelName="mnist-m")


def test_all_that_is_stored_lies_in_the_bucket_that_was_named(place):
    """Source and drivers too, which the SDK would put into its own."""
    s3, other = place.client("s3"), "sagemaker-my-own-bucket"
    s3.create_bucket(Bucket=other)
    before = s3.list_objects_v2(Bucket=place.bucket)["KeyCount"]
    elsewhere = jobs.connect(bucket=other)  # to what answers as AWS here
    name = jobs.submit(elsewhere, QUICK | {"epochs": 1, "subset": 1000})
    place.rehearsal.jobs[name].stop(grace=0)
    jobs.wait(place, name, logs=False)
    assert s3.list_objects_v2(Bucket=place.bucket)["KeyCount"] == before
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=other)["Contents"]]
    assert any(key.endswith("train.py") or "sourcecode" in key for key in keys), keys
    assert all(key.startswith("mnist") for key in keys)


def test_jobs_of_one_second_have_names_of_their_own(place, capsys):
    """The SDK's own resolve to one second, and a class shares an account."""
    names = []
    for _ in range(2):
        jobs.submit(place, QUICK, dry_run=True)
        names.append(re.search(r'"TrainingJobName": "(.*)"', capsys.readouterr().out)[1])
    assert all(re.match(r"mnist-you-[0-9a-f]{8}-\d+", name) for name in names)
    assert names[0][:18] != names[1][:18]


def test_no_password_of_the_shell_is_sent_to_a_job(place, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    jobs.submit(place, QUICK, dry_run=True)
    said = capsys.readouterr().out
    assert "not sent to the job, where others could read them: MLFLOW_TRACKING_PASSWORD" in said
    assert '"MLFLOW_TRACKING_URI": "https://mlflow.example.org"' in said
    assert "secret" not in said


def test_an_image_of_one_s_own_is_asked_for(place, capsys):
    jobs.submit(place, QUICK, image="123.dkr.ecr.eu-west-1.amazonaws.com/mine:1", dry_run=True)
    assert (
        '"TrainingImage": "123.dkr.ecr.eu-west-1.amazonaws.com/mine:1"' in capsys.readouterr().out
    )


def test_subnets_and_keys_come_from_the_sdk_s_defaults_file(place, capsys, monkeypatch):
    network = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    defaults = {
        "VpcConfig": network, "OutputDataConfig": {"KmsKeyId": "key-1"},
        "ResourceConfig": {"VolumeKmsKeyId": "key-2"},
    }  # fmt: skip
    monkeypatch.setitem(place.session.sagemaker_config["SageMaker"], "TrainingJob", defaults)
    jobs.submit(place, QUICK, dry_run=True)
    request = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert request["VpcConfig"] == network
    assert request["OutputDataConfig"]["KmsKeyId"] == "key-1"
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == "key-2"


def test_a_log_is_read_past_empty_pages_to_the_repeated_token(place, monkeypatch):
    pages = {None: ("a", ["1"]), "a": ("b", []), "b": ("c", ["2"]), "c": ("c", [])}

    class Client:
        exceptions = place.client("logs").exceptions

        def describe_log_streams(self, **_):
            return {"logStreams": [{"logStreamName": "x/algo-1"}]}

        def get_log_events(self, nextToken=None, **_):
            token, lines = pages[nextToken]
            return {"nextForwardToken": token, "events": [{"message": line} for line in lines]}

    monkeypatch.setitem(place.clients, "logs", Client())
    assert jobs.log(place, "x") == ["1", "2"]


# --- where AWS lets wait, or ends -------------------------------------------------------------


def test_spot_capacity_that_never_comes_ends_in_one_line_and_leaves_nothing(
    place, monkeypatch, capsys
):
    monkeypatch.setattr(place.rehearsal, "spot", False)
    monkeypatch.setattr(place.rehearsal, "second", 0.01)
    name = jobs.submit(place, QUICK, minutes=1)
    with pytest.raises(InputError, match="no spot capacity in 2 minutes: submit it on demand"):
        jobs.wait(place, name, logs=False)
    said = capsys.readouterr().out
    assert "Starting: Insufficient capacity error from EC2 while launching" in said
    assert said.endswith("MaxWaitTimeExceeded\n")
    assert "0 billable seconds" in jobs.bill(place, name)
    assert not list(place.rehearsal.folder.glob(f"{name}*"))


def test_a_job_at_its_limit_says_so_and_how_to_go_on(place, monkeypatch, capsys):
    monkeypatch.setattr(place.rehearsal, "second", 0.0)
    name = jobs.submit(place, QUICK, minutes=1)
    with pytest.raises(InputError, match="limit of 1 minutes: .* with more minutes"):
        jobs.wait(place, name, logs=False)
    told = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    states = ["Starting", "Downloading", "Training", "MaxRuntimeExceeded"]
    told = [state for state in told if state in states]
    assert told == states[-len(told) :]  # from that on in which it was first looked at
    assert len(told) > 1


def test_a_throttled_call_is_asked_again_and_ends_in_one_line_if_that_is_in_vain(
    place, job, monkeypatch
):
    real, asked = Control.describe_training_job, []

    def throttled(times):
        def describe_training_job(self):
            asked.append(1)
            if len(asked) <= times:
                raise JsonRESTError("ThrottlingException", "Rate exceeded")
            return real(self)

        return describe_training_job

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(Control, "describe_training_job", throttled(3))
    assert jobs.wait(place, job, logs=False) == "Completed"
    assert len(asked) == 4
    monkeypatch.setattr(Control, "describe_training_job", throttled(1000))
    with pytest.raises(InputError, match="DescribeTrainingJob: Rate exceeded"):
        jobs.wait(place, job, logs=False)


# --- one door for errors ------------------------------------------------------------------------


def kinds_of_error(kind=Exception):
    for name in ("boto3.exceptions", "botocore.exceptions", "s3transfer.exceptions",
                 "sagemaker.core.exceptions", "sagemaker.core.utils.exceptions"):  # fmt: skip
        with suppress(ImportError):
            import_module(name)
    for sub in kind.__subclasses__():
        yield sub
        yield from kinds_of_error(sub)


def test_whatever_the_libraries_raise_is_one_line():
    found = {kind for kind in kinds_of_error() if kind.__module__.split(".")[0] in LIBRARIES}
    names = {kind.__name__ for kind in found}
    assert {"S3UploadFailedError", "RoleValidationError", "NoRegionError", "ClientError"} <= names
    assert len(found) > 120
    found -= {kind for kind in found if kind.__module__ == "pydantic_core._pydantic_core"}
    for kind in found:
        with pytest.raises(InputError, match=r"^.+$"), aws_errors():
            raise kind.__new__(kind, "what it says")
    with (
        pytest.raises(InputError, match="No space left on device: /tmp/x; free some"),
        aws_errors(),
    ):
        raise OSError(28, "No space left on device", "/tmp/x")
    with pytest.raises(ZeroDivisionError), aws_errors():
        raise ZeroDivisionError  # a bug keeps its traceback


SEARCHED = QUICK | {"validation": 5000}


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("submit", (QUICK,)),
        pytest.param("tune", (SEARCHED, {"lr": (0.01, 0.1)}), marks=with_toolkit),
        ("running", ()), ("clean", ()), ("fetch", ("mnist-you-x", "nowhere")),
        ("invoke", ("mnist-you-x", np.zeros((1, 28, 28)))),
        *[(verb, ("mnist-you-x",)) for verb in (
            "wait", "stop", "best", "bill", "metrics", "log", "delete", "deploy",
        )],
    ],
)  # fmt: skip
def test_what_a_policy_denies_is_one_line_that_names_the_remedy(place, monkeypatch, verb, given):
    monkeypatch.setattr(place.rehearsal, "policy", {"Statement": []})
    before = len(place.rehearsal.jobs)
    with pytest.raises(InputError, match=r"^.*the least permissions are in cloud/jobs/iam"):
        getattr(jobs, verb)(place, *given)
    with pytest.raises(InputError, match=r"^.*the least permissions are in cloud/jobs/iam"):
        jobs.connect()
    assert len(place.rehearsal.jobs) == before


# --- permissions --------------------------------------------------------------------------------

IAM = ROOT / "cloud/jobs/iam"
POLICY = (IAM / "sagemaker_policy.json").read_text()
# What no rehearsal calls: the job's own work on AWS.
ONLY_ON_AWS = {
    "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken", "ecr:BatchGetImage",
    "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "sagemaker-mlflow:*",
    "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
    "sagemaker:ListTags", "s3:GetBucketLocation",
}  # fmt: skip


@with_toolkit  # without it no search is called
def test_the_policy_allows_nothing_that_is_not_called_and_gives_reasons(place, job, model, asked):
    """Of the whole file: run alone, this one misses calls that the others make."""
    allowed = set()
    for statement in json.loads(POLICY)["Statement"]:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
        assert f"| `{statement['Sid']}` | " in (IAM / "README.md").read_text()
    assert {"sagemaker:CreateTrainingJob", "s3:GetObject", "iam:PassRole"} <= asked
    assert allowed - asked <= ONLY_ON_AWS


def test_the_sdk_s_own_check_of_a_role_asks_for_more_and_is_off(place, monkeypatch):
    """On, it would refuse our policy, before AWS is asked: sagemaker-python-sdk#6019."""
    assert os.environ["SAGEMAKER_VALIDATE_ROLE"] == "false"
    monkeypatch.setenv("SAGEMAKER_VALIDATE_ROLE", "true")
    with pytest.raises(InputError, match="SageMakerRehearsal' cannot be used for 'training'"):
        jobs.submit(place, QUICK)
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    monkeypatch.setattr(place.rehearsal, "policy", everything)
    with pytest.raises(InputError, match="SageMakerRehearsal' cannot be used for 'training'"):
        jobs.submit(place, QUICK)  # moto knows no such role, so no trust


def test_the_sdk_reports_nothing_to_aws_unless_its_own_file_says_so(place):
    switch = place.session.sagemaker_config["SageMaker"]["PythonSDK"]["Modules"]
    assert switch == {"TelemetryOptOut": True}
    sent = mock.Mock()
    with mock.patch("sagemaker.core.telemetry.telemetry_logging._send_telemetry_request", sent):
        jobs.submit(place, QUICK, dry_run=True)
        assert not sent.called
        switch["TelemetryOptOut"] = False
        with suppress(InputError):
            jobs.submit(place, QUICK | {"epochs": 1}, instance_type="ml.p4d.24xlarge")
        switch["TelemetryOptOut"] = True
    assert sent.called


def test_the_policy_lets_images_be_pulled_in_every_region_of_the_sdk():
    (resource,) = [s["Resource"] for s in json.loads(POLICY)["Statement"] if "Pull" in s["Sid"]]
    known = json.loads(
        Path(image_uris.__file__).with_name("image_uri_config").joinpath("pytorch.json").read_text()
    )
    pulled = 0
    for scope, (_, version) in IMAGES.items():
        about = known[scope]["versions"][version]
        for region, account in about["registries"].items():
            partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(
                next((p for p in ("us-gov", "cn") if region.startswith(f"{p}-")), ""), "aws"
            )
            arn = f"arn:{partition}:ecr:{region}:{account}:repository/{about['repository']}"
            assert fnmatch(arn, resource.replace("arn:aws:", f"arn:{partition}:")), arn
            pulled += 1
    assert pulled > 50


def test_role_and_bucket_are_replaced_as_the_page_says():
    mine = POLICY.replace("*SageMaker*", "students").replace("sagemaker-*", "class-bucket")
    assert "arn:aws:iam::*:role/students" in mine
    assert "arn:aws:s3:::class-bucket/mnist*" in mine
    assert "SageMaker*" not in mine


def test_every_object_we_store_lies_under_our_prefix(place, job):
    found = place.client("s3").list_objects_v2(Bucket=place.bucket)["Contents"]
    assert [item["Key"] for item in found if not re.match("mnist-you[-/]", item["Key"])] == []


# --- where to work ------------------------------------------------------------------------------


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """Somebody without any AWS configuration."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_without_credentials_one_line_offers_the_rehearsal(stranger, refused):
    assert "no AWS credentials" in refused(main, "submit")
    assert "--rehearse" in refused(main, "delete", "x")
    assert "a rehearsal ends with its command" in refused(main, "--rehearse", "stop", "x")


def test_without_a_region_one_line_says_so(stranger, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nonsense")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nonsense")
    with pytest.raises(InputError, match="no AWS region: pass --region"):
        jobs.connect()


def test_studio_s_older_sdk_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "3.12.0")
    with pytest.raises(InputError, match=r"sagemaker 3.12.0 lacks .*pip install 'sagemaker~=3.27'"):
        jobs.connect()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("stop", "x", "--epochs", 2), "'--epochs 2' is not understood"),
        (("submit", "--epochs"), "'--epochs' are not pairs of an option and a value"),
    ],
)
def test_bad_command_lines_cost_one_line(refused, capsys, arguments, words):
    assert words in refused(main, *arguments)


def test_prices():
    assert jobs.price("ml.m5.large", 58) == (
        "ml.m5.large: at most 58 min, and 2 to stop in, at $0.115 an hour in us-east-1, so $0.12"
    )
    assert "so $0.63 on demand" in jobs.price("ml.g4dn.xlarge", 15, spot=True, jobs=3)
    assert "see aws.amazon.com/sagemaker/pricing" in jobs.price("ml.x1.huge", 60)


@pytest.mark.parametrize(
    ("given", "owner"),
    [("Alice B.", "aliceb"), ("a" * 40, "a" * 16), ("bob@example.org", "bobexampleorg")],
)
def test_an_owner_is_small_letters_and_digits(place, given, owner):
    assert jobs.connect(owner=given).owner == owner


def test_an_owner_is_studio_s_profile_or_else_who_signed_in(place, monkeypatch, tmp_path):
    from sagemaker.core.helper import session_helper

    assert place.owner == "you"
    monkeypatch.setattr(session_helper, "NOTEBOOK_METADATA_FILE", str(tmp_path / "none"))
    assert jobs.connect(role=place.role).owner == "moto"
    with pytest.raises(InputError, match="owner 'Ω' has no letter"):
        jobs.connect(role=place.role, owner="Ω")


@pytest.mark.parametrize("caller", ["user/me", "assumed-role/AWSReservedSSO_Students_0123/me"])
def test_credentials_that_are_no_role_s_are_one_line_with_the_remedy(place, monkeypatch, caller):
    from sagemaker.core.helper import session_helper

    role = f"arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/{caller.split('/')[1]}"
    role = role if "SSO" in caller else f"arn:aws:iam::123456789012:{caller}"
    monkeypatch.setattr(session_helper.Session, "get_caller_identity_arn", lambda self: role)
    with pytest.raises(InputError, match="--role arn:aws:iam::ACCOUNT:role/NAME or SAGEMAKER_ROLE"):
        jobs.connect()
