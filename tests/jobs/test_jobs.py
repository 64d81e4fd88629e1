"""The whole way through SageMaker, rehearsed, and what goes wrong on it.

One rehearsal and one trained job serve most of this file; `fast` on a few thousand digits.
"""

import json
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from networks import npy
from sagemaker.core import image_uris
from sagemaker.core.resources import Endpoint
from sagemaker.train import ModelTrainer

from mnist_utils import jobs
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.files import PACKAGE
from mnist_utils.jobs import archive, training
from mnist_utils.jobs import endpoint as endpoints
from mnist_utils.jobs.__main__ import main
from mnist_utils.jobs.place import IMAGES
from mnist_utils.train import options, train
from mnist_utils.weights import load_network, load_tensors

QUICK = {"recipe": "fast", "subset": 6000, "epochs": 3, "batch_size": 64, "evaluate_every": 1}


@pytest.fixture(scope="module")
def calls():
    """Every call of a boto3 client that we or the SDK make, as `service:Operation`.

    Not the tests' own, nor those that the rehearsal makes as AWS.
    """
    made, real = set(), BaseClient._make_api_call

    def record(client, operation, arguments):
        frame = sys._getframe(1)
        while "/boto" in frame.f_code.co_filename or "/s3transfer/" in frame.f_code.co_filename:
            if frame.f_back is None:  # a thread of boto3's: whoever started it called already
                break
            frame = frame.f_back
        if not re.search("/tests/|/rehearsal/", frame.f_code.co_filename):
            made.add(f"{client.meta.service_model.service_name}:{operation}")
        return real(client, operation, arguments)

    with mock.patch.object(BaseClient, "_make_api_call", record):
        yield made


@pytest.fixture(scope="module")
def place(calls):
    with jobs.connect(rehearse=True) as place:
        yield place


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


def test_names_carry_chance_and_what_exists_already_is_refused_and_left_alone(
    place, job, endpoint, monkeypatch
):
    assert endpoint.startswith(f"{job[:54]}-")
    monkeypatch.setattr("secrets.token_hex", lambda _: endpoint[-8:])
    with pytest.raises(InputError, match=f"endpoint {endpoint} exists already"):
        jobs.deploy(place, job)
    client = place.client("sagemaker")
    assert client.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
    monkeypatch.setattr("secrets.token_hex", lambda _: "00000000")
    client.create_model(
        ModelName="mnist-other-00000000", ExecutionRoleArn=place.role,
        PrimaryContainer={"Image": "image"},
    )  # fmt: skip
    with pytest.raises(InputError, match="model mnist-other-00000000 exists already"):
        jobs.deploy(place, job, "mnist-other")
    assert client.describe_model(ModelName="mnist-other-00000000")
    assert jobs.delete(place, "mnist-other-00000000") == ["model mnist-other-00000000"]


def test_a_name_that_the_policy_does_not_allow_is_refused(place, job):
    with pytest.raises(InputError, match="must begin with mnist-"):
        jobs.deploy(place, job, "digits")


@pytest.fixture
def short_lived(place, job):
    """An endpoint of a test's own."""
    name = jobs.deploy(place, job, "mnist-short-lived")
    yield name
    jobs.delete(place, name)


def test_deploying_says_the_price(place, job, capsys, request):
    capsys.readouterr()
    request.getfixturevalue("short_lived")
    said = capsys.readouterr().out
    assert "ml.m5.large: $0.115 an hour, $2.76 a day, until you delete it" in said


def test_a_server_that_has_died_is_said_to_be_silent(place, short_lived, test_split, monkeypatch):
    server, asked = place.rehearsal.servers[short_lived], []
    ask = server.invoke
    monkeypatch.setattr(server, "invoke", lambda *request: asked.append(request) or ask(*request))
    server.process.kill()
    with pytest.raises(InputError, match="does not answer"):
        jobs.invoke(place, short_lived, test_split.images[:1].numpy())
    assert len(asked) == 1


def test_delete_leaves_nothing_and_can_be_said_twice(place, short_lived):
    server = place.rehearsal.servers[short_lived]
    kinds = ("endpoint", "configuration", "model")
    assert jobs.delete(place, short_lived) == [f"{kind} {short_lived}" for kind in kinds]
    assert jobs.delete(place, short_lived) == []
    assert server.process.poll() is not None
    assert not server.folder.exists()
    names = place.client("sagemaker").list_endpoints()["Endpoints"]
    assert short_lived not in [about["EndpointName"] for about in names]


# --- a job that is killed, a job that fails -----------------------------------------------------


def test_a_job_killed_in_epoch_2_and_resumed_ends_with_the_same_weights(
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
    assert "resuming after epoch 1 of 3" in log or "resuming after epoch 2 of 3" in log
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


def test_two_processes_train_as_one_and_one_alone_evaluates_and_writes(place, tmp_path, capsys):
    short = {"recipe": "fast", "precision": "float32", "subset": 63, "epochs": 2, "batch_size": 64}
    name = jobs.submit(place, short, processes=2)
    assert jobs.wait(place, name) == "Completed"
    log = capsys.readouterr().out
    assert "--nproc_per_node=2" in log
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
        "ml.g4dn.xlarge: at most 30 min at $0.7364 an hour (us-east-1), so $0.37"
    )
    request = json.loads(request)
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 1800
    assert request["HyperParameters"]["recipe"] == "fast"
    assert "pytorch-training:2.10.0-gpu" in request["AlgorithmSpecification"]["TrainingImage"]
    assert set(place.rehearsal.jobs) == before


def test_a_search_runs_its_trials_each_with_checkpoints_of_its_own(place, capsys):
    quick = {"recipe": "fast", "subset": 1000, "epochs": 1, "batch_size": 64, "validation": 5000}
    name = jobs.tune(place, quick, {"lr": (0.005, 0.05)}, jobs=40)
    assert "40 × ml.g4dn.xlarge" in capsys.readouterr().out
    client = place.client("sagemaker")
    about = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    config, definition = about["HyperParameterTuningJobConfig"], about["TrainingJobDefinition"]
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 40
    assert config["HyperParameterTuningJobObjective"]["MetricName"] == "validation:accuracy"
    (lr,) = config["ParameterRanges"]["ContinuousParameterRanges"]
    assert (lr["Name"], float(lr["MinValue"]), float(lr["MaxValue"])) == ("lr", 0.005, 0.05)
    static = definition["StaticHyperParameters"]
    assert static["validation"] == "5000"
    assert static["sagemaker_program"] == "train.py"

    place.rehearsal.trials[name].thread.join(120)
    about = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    trials = sorted(job for job in place.rehearsal.jobs if job.startswith(f"{name}-"))
    assert [training.describe(place, trial)["TrainingJobStatus"] for trial in trials] == [
        "Completed"
    ] * 2, jobs.log(place, trials[0])
    assert about["HyperParameterTuningJobStatus"] == "Completed"
    rates = [jobs.metrics(place, trial)["validation:accuracy"] for trial in trials]
    assert rates[0] != rates[1]
    found = place.client("s3").list_objects_v2(
        Bucket=place.bucket, Prefix=f"mnist/checkpoints/{name}/"
    )["Contents"]
    assert {item["Key"].split("/")[3] for item in found} == set(trials)


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


def test_a_truncated_upload_is_neither_fetched_nor_deployed(place, job, tmp_path):
    s3, about = place.client("s3"), training.describe(place, job)
    bucket, _, key = about["ModelArtifacts"]["S3ModelArtifacts"][5:].partition("/")
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=whole[: len(whole) // 2])
        with pytest.raises(InputError, match="truncated or damaged"):
            jobs.fetch(place, job, tmp_path / "out")
        with pytest.raises(InputError, match="truncated or damaged"):
            jobs.deploy(place, job, "mnist-half")
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=whole)
    assert list(tmp_path.iterdir()) == []
    assert "mnist-half" not in str(place.client("sagemaker").list_models()["Models"])


# --- a deployment that fails half-way -----------------------------------------------------------


def test_a_deployment_that_fails_is_cleaned_up_and_says_why(place, job, monkeypatch, tmp_path):
    real = archive.copy_package

    def without_inference(folder):
        real(folder)
        (folder / "mnist_utils/serve/handlers.py").write_text("import no_such_module\n")

    monkeypatch.setattr(archive, "copy_package", without_inference)
    with pytest.raises(InputError, match=r"endpoint mnist-broken-\w+ failed: .*no_such_module"):
        jobs.deploy(place, job, "mnist-broken")
    client = place.client("sagemaker")
    for found in (client.list_endpoints()["Endpoints"], client.list_models()["Models"]):
        assert "mnist-broken" not in str(found)


def test_delete_says_what_it_could_not_delete_and_how_to(place, monkeypatch):
    client = place.client("sagemaker")
    client.create_model(
        ModelName="stuck", ExecutionRoleArn=place.role, PrimaryContainer={"Image": "image"}
    )

    def denied(**_):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteModel")

    with monkeypatch.context() as patch:
        patch.setattr(client, "delete_model", denied)
        words = r"may cost money: model stuck \(DeleteModel: no\); `python -m .* delete stuck`"
        with pytest.raises(InputError, match=words):
            jobs.delete(place, "stuck")
    assert jobs.delete(place, "stuck") == ["model stuck"]


def test_an_endpoint_that_is_being_created_is_waited_for_and_then_deleted(
    place, job, capsys, monkeypatch
):
    """Ctrl-C in `deploy`: AWS refuses to delete what it is creating."""
    client, seen = place.client("sagemaker"), []

    def interrupted(place, name):
        seen.append(name)
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            client.delete_endpoint(EndpointName=name)
        raise KeyboardInterrupt

    monkeypatch.setattr(endpoints, "_in_service", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jobs.deploy(place, job, "mnist-hasty")
    assert "is Creating, and can be deleted after that: waiting" in capsys.readouterr().out
    left = str([client.list_endpoints(), client.list_endpoint_configs(), client.list_models()])
    assert seen[0] not in left


def test_a_second_ctrl_c_says_what_stays_and_costs_and_configuration_and_model_stay_too(
    place, job, monkeypatch
):
    client, name = place.client("sagemaker"), jobs.deploy(place, job, "mnist-kept")

    def impatient(place, name):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(endpoints, "_wait_while_creating", impatient)
        words = f"endpoint {name} stays, and costs: `python -m mnist_utils.jobs delete {name}`"
        with pytest.raises(KeyboardInterrupt, match=words):
            jobs.delete(place, name)

    def denied(**_):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteEndpoint")

    with monkeypatch.context() as patch:
        patch.setattr(client, "delete_endpoint", denied)
        with pytest.raises(InputError, match=f"may cost money: endpoint {name}"):
            jobs.delete(place, name)
    assert client.describe_endpoint_config(EndpointConfigName=name)
    assert client.describe_model(ModelName=name)
    assert len(jobs.delete(place, name)) == 3


def test_ctrl_c_in_submit_is_not_swallowed_and_names_the_job(place, monkeypatch):
    """The SDK catches everything while it starts a job; the job would run on unseen."""
    real = ModelTrainer.train

    def interrupted(self, **arguments):
        real(self, **arguments)
        with suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ModelTrainer, "train", interrupted)
    with pytest.raises(KeyboardInterrupt, match="job mnist-.* goes on and costs; `jobs.stop`") as s:
        jobs.submit(place, QUICK)
    assert jobs.stop(place, str(s.value).split()[1]) == "Stopped"


# --- where AWS refuses --------------------------------------------------------------------------


def test_stopping_a_job_that_has_ended_says_so_and_goes_on(place, job, capsys):
    with pytest.raises(ClientError, match="because the training job is in status Completed"):
        place.client("sagemaker").stop_training_job(TrainingJobName=job)
    assert jobs.stop(place, job) == "Completed"
    assert f"job {job} is Completed already" in capsys.readouterr().out
    with pytest.raises(InputError, match="(?i)could not find"):
        jobs.stop(place, "mnist-nobody")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instance_type": "ml.g4dn.huge"}, "'ml.g4dn.huge' .* Member must satisfy enum"),
        ({"instance_type": "ml.p4d.24xlarge"}, "'ml.p4d.24xlarge for spot .* is 0 Instances"),
        ({"instance_type": "g4dn.xlarge"}, "'g4dn.xlarge' is none; try ml.g4dn.xlarge"),
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
    [({"epoch": 1}, "unrecognized arguments: --epoch=1"), ({"seed": False}, "not a whole number")],
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


def test_taken_names_are_refused(place, job, endpoint):
    client = place.client("sagemaker")
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
    s3, other = place.client("s3"), "my-own-bucket"
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
    assert all(re.match(r"mnist-[0-9a-f]{8}-\d+", name) for name in names)
    assert names[0][:14] != names[1][:14]


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


def test_logs_that_may_not_be_read_are_one_line(place, job, monkeypatch):
    def denied(**_):
        refused = {"Error": {"Code": "AccessDenied", "Message": "you may not"}}
        raise ClientError(refused, "DescribeLogStreams")

    monkeypatch.setattr(place.client("logs"), "describe_log_streams", denied)
    with pytest.raises(InputError, match="DescribeLogStreams: you may not"):
        jobs.log(place, job)


# --- permissions --------------------------------------------------------------------------------

POLICY = (PACKAGE / "jobs/iam/sagemaker_policy.json").read_text()
ALSO_CALLED = {  # operations whose permission has another name, or that need none
    "s3:ListObjectsV2": "s3:ListBucket", "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject", "s3:UploadPart": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject", "s3:CompleteMultipartUpload": "s3:PutObject",
    "sts:GetCallerIdentity": None,
    "s3:ListBuckets": None,  # boto3 asks, and goes on when denied
    "iam:SimulatePrincipalPolicy": None,  # the SDK asks, and goes on without an answer
}  # fmt: skip
# What no rehearsal calls: the job's own work on AWS, and what the lesson does in the notebook.
ONLY_ON_AWS = {
    "iam:PassRole", "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken", "ecr:BatchGetImage",
    "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "sagemaker-mlflow:*",
    "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
    "sagemaker:AddTags", "sagemaker:ListEndpoints", "sagemaker:ListModels", "sagemaker:ListTags",
    "sagemaker:DescribeHyperParameterTuningJob", "sagemaker:StopHyperParameterTuningJob",
    "s3:CreateBucket", "s3:GetBucketLocation",
}  # fmt: skip


def test_the_policy_allows_every_call_of_this_file_no_other_and_gives_reasons(
    place, job, model, calls
):
    """Of the whole file: run alone, this one misses calls that the others make."""
    statements, allowed = json.loads(POLICY)["Statement"], set()
    for statement in statements:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
        assert f"| `{statement['Sid']}` | " in (PACKAGE / "jobs/iam/README.md").read_text()
    made = {call.replace("sagemaker-runtime:", "sagemaker:") for call in calls}
    needed = {ALSO_CALLED.get(call, call) for call in made} - {None}
    assert {"sagemaker:CreateTrainingJob", "s3:GetObject"} <= needed
    assert needed - allowed == set()
    assert allowed - needed <= ONLY_ON_AWS


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
    assert [item["Key"] for item in found if not item["Key"].startswith("mnist")] == []


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
    assert jobs.price("ml.m5.large", 60) == (
        "ml.m5.large: at most 60 min at $0.115 an hour (us-east-1), so $0.12"
    )
    assert "so $0.55 on demand" in jobs.price("ml.g4dn.xlarge", 15, spot=True, jobs=3)
    assert "see aws.amazon.com/sagemaker/pricing" in jobs.price("ml.x1.huge", 60)
