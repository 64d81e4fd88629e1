"""The whole way through SageMaker, rehearsed, and what goes wrong on it.

One rehearsal and one trained job serve most of this file; `fast` on a few thousand digits.
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import torch
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from networks import npy
from sagemaker.core.resources import Endpoint

from mnist_utils import jobs
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.files import PACKAGE
from mnist_utils.jobs import archive, training
from mnist_utils.jobs.__main__ import main
from mnist_utils.train import options, train
from mnist_utils.weights import load_network, load_tensors

QUICK = {"recipe": "fast", "subset": 6000, "epochs": 3, "batch_size": 64, "evaluate_every": 1}


@pytest.fixture(scope="module")
def calls():
    """Every call that a boto3 client makes, as `service:Operation`, SageMaker's own included."""
    made, real = set(), BaseClient._make_api_call

    def record(client, operation, arguments):
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
    (b"abc", "image/png", "Content-Type 'image/png'"),
]


def test_a_second_endpoint_of_the_same_name_is_refused(place, job, endpoint):
    with pytest.raises(InputError, match="exists already"):
        jobs.deploy(place, job)


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


def test_a_server_that_has_died_is_said_to_be_silent(place, short_lived, test_split):
    place.rehearsal.servers[short_lived].process.kill()
    start = time.monotonic()
    with pytest.raises(InputError, match="does not answer"):
        jobs.invoke(place, short_lived, test_split.images[:1].numpy())
    assert time.monotonic() - start < 20


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


def test_the_tuner_s_request_is_built_and_accepted(place, capsys):
    name = jobs.tune(place, QUICK | {"validation": 5000}, {"lr": (0.005, 0.05)}, jobs=40)
    assert "40 × ml.g4dn.xlarge" in capsys.readouterr().out
    about = place.client("sagemaker").describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    config, definition = about["HyperParameterTuningJobConfig"], about["TrainingJobDefinition"]
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 40
    assert config["HyperParameterTuningJobObjective"]["MetricName"] == "validation:accuracy"
    (lr,) = config["ParameterRanges"]["ContinuousParameterRanges"]
    assert (lr["Name"], float(lr["MinValue"]), float(lr["MaxValue"])) == ("lr", 0.005, 0.05)
    static = definition["StaticHyperParameters"]
    assert static["validation"] == "5000"
    assert static["sagemaker_program"] == "train.py"
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
    with pytest.raises(InputError, match="endpoint mnist-broken failed: .*no_such_module"):
        jobs.deploy(place, job, "mnist-broken")
    client = place.client("sagemaker")
    for found in (client.list_endpoints()["Endpoints"], client.list_models()["Models"]):
        assert "mnist-broken" not in str(found)


def test_delete_says_what_it_could_not_delete(place, monkeypatch):
    client = place.client("sagemaker")
    client.create_model(
        ModelName="stuck", ExecutionRoleArn=place.role, PrimaryContainer={"Image": "image"}
    )

    def denied(**_):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteModel")

    with monkeypatch.context() as patch:
        patch.setattr(client, "delete_model", denied)
        with pytest.raises(InputError, match=r"may cost money: model stuck \(.*AccessDenied"):
            jobs.delete(place, "stuck")
    assert jobs.delete(place, "stuck") == ["model stuck"]


# --- permissions --------------------------------------------------------------------------------

IAM = PACKAGE / "jobs" / "iam"
ALSO_CALLED = {  # operations whose permission has another name, or that need none
    "s3:ListObjectsV2": "s3:ListBucket", "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject", "s3:UploadPart": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject", "s3:CompleteMultipartUpload": "s3:PutObject",
    "sts:GetCallerIdentity": None,
    "s3:ListBuckets": None,  # boto3 asks, and goes on when denied
    "iam:SimulatePrincipalPolicy": None,  # the SDK asks, and goes on without an answer
}  # fmt: skip


def test_the_policy_allows_every_call_of_this_file_and_gives_reasons(place, job, model, calls):
    statements = json.loads((IAM / "sagemaker_policy.json").read_text())["Statement"]
    allowed = set()
    for statement in statements:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
        assert f"| `{statement['Sid']}` | " in (IAM / "README.md").read_text()
    made = {call.replace("sagemaker-runtime:", "sagemaker:") for call in calls}
    needed = {ALSO_CALLED.get(call, call) for call in made} - {None}
    assert {"sagemaker:CreateTrainingJob", "s3:GetObject"} <= needed
    assert needed <= allowed


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
    assert "see aws.amazon.com/sagemaker/pricing" in jobs.price("ml.x1.huge", 60)
