"""The whole way through SageMaker, rehearsed, and what goes wrong on it.

One rehearsal and one trained job serve most of this file; `fast` on a few thousand digits.
"""

import io
import json
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from sagemaker.core.resources import Endpoint

from mnist_utils import artifact, checkpoint, evaluate, jobs, recipes, train
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

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
    story = json.loads((model / "history.json").read_text())
    assert {key: story["config"][key] for key in ("epochs", "subset")} == {
        "epochs": 3, "subset": 6000,
    }  # fmt: skip
    found = jobs.metrics(place, job)
    assert found["test:accuracy"] == pytest.approx(story["test_accuracy"], abs=6e-5)
    assert found["train:loss"] == pytest.approx(story["train_loss"], abs=6e-5)
    assert (model / "curves.png").stat().st_size > 1000
    assert "billable seconds of ml.g4dn.xlarge, $0.0" in jobs.bill(place, job)
    about = place.client("sagemaker").describe_training_job(TrainingJobName=job)
    assert about["EnableManagedSpotTraining"] is True
    assert about["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200,
    }  # fmt: skip
    tags = place.client("sagemaker").list_tags(ResourceArn=about["TrainingJobArn"])["Tags"]
    assert {"Key": "project", "Value": "mnist"} in tags


def test_an_endpoint_classifies_as_the_weights_do_holds_under_load_and_goes(
    place, job, model, test_split, capsys
):
    name = jobs.deploy(place, job)
    assert (
        "ml.m5.large: $0.115 an hour, $2.76 a day, until you delete it" in capsys.readouterr().out
    )
    thousand = test_split.take(slice(1000))
    answer = jobs.invoke(place, name, thousand.images.numpy())
    local = evaluate.evaluate(evaluate.load_weights(model / "model.safetensors")[0], thousand)
    accuracy = (answer["labels"] == thousand.labels.numpy()).mean()
    assert accuracy == pytest.approx(local.accuracy, abs=1e-12)
    assert np.array_equal(answer["labels"], local.predictions.numpy())
    assert local.accuracy > 0.9

    with pytest.raises(InputError, match="exists already"):
        jobs.deploy(place, job)
    with pytest.raises(InputError, match="must begin with mnist-"):
        jobs.deploy(place, job, "digits")
    _hold_under_load(place, name, thousand.images.numpy(), local.predictions.numpy())

    server = place.rehearsal.servers[name]
    server.process.kill()
    start = time.monotonic()
    with pytest.raises(InputError, match="does not answer"):
        jobs.invoke(place, name, thousand.images.numpy()[:1])
    assert time.monotonic() - start < 20

    assert jobs.delete(place, name) == [f"{kind} {name}" for kind in KINDS]
    assert jobs.delete(place, name) == []
    assert server.process.poll() is not None
    assert not server.folder.exists()
    assert place.client("sagemaker").list_endpoints()["Endpoints"] == []


KINDS = ("endpoint", "configuration", "model")


def _hold_under_load(place, name, images, labels):
    """200 requests, 8 clients, one in ten malformed."""
    endpoint = Endpoint.get(endpoint_name=name, session=place.session.boto_session)
    bad = [
        (b'{"instances": [[', "application/json", "not whole JSON"),
        (_npy(np.zeros((1, 3, 28, 28))), "application/x-npy", "3 channels"),
        (_npy(np.full((28, 28), np.nan)), "application/x-npy", "NaN"),
        (b"abc", "image/png", "Content-Type 'image/png'"),
    ]

    def request(number):
        if number % 10 == 0:
            body, kind, reason = bad[number // 10 % len(bad)]
            with pytest.raises(ClientError) as refused:
                endpoint.invoke(body=body, content_type=kind)
            assert refused.value.response["OriginalStatusCode"] in (400, 415)
            return reason in refused.value.response["OriginalMessage"]
        body = json.dumps(images[number : number + 3].tolist())
        answer = endpoint.invoke(body=body, content_type="application/json").body.read()
        return json.loads(answer)["labels"] == labels[number : number + 3].tolist()

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(request, range(200))) == [True] * 200


def _npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


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
    one, _ = checkpoint.load_tensors(model / "model.safetensors")
    two, _ = checkpoint.load_tensors(again / "model.safetensors")
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
    short = {"recipe": "fast", "subset": 63, "epochs": 1, "batch_size": 64}
    name = jobs.submit(place, short, processes=2)
    assert jobs.wait(place, name) == "Completed"
    log = capsys.readouterr().out
    assert "--nproc_per_node=2" in log
    assert log.count("epoch=1 ") == 1
    out = jobs.fetch(place, name, tmp_path / "two")
    two = json.loads((out / "history.json").read_text())
    assert two["errors"] == round((1 - two["test_accuracy"]) * 10_000)  # not counted twice

    settings = TrainConfig.from_dict(
        recipes.RECIPES["fast"].to_dict() | {k: short[k] for k in short if k != "recipe"}
    )
    one = train.train(settings, None, tmp_path / "one").history[-1]
    assert two["train_accuracy"] == one["train_accuracy"]
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)


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


# --- archives -----------------------------------------------------------------------------------


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../evil", b"x", "'../evil' would land outside"),
        ("a/../../evil", b"x", "would land outside"),
        ("/tmp/evil", b"x", "'/tmp/evil' would land outside"),
        ("passwd", None, "'passwd' is no plain file"),
    ],
)
def test_an_archive_that_reaches_outside_is_refused_whole(tmp_path, name, content, words):
    path = archive(tmp_path / "model.tar.gz", {"model.safetensors": b"good", name: content})
    with pytest.raises(InputError, match=words):
        artifact.unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model.tar.gz"]


def test_a_truncated_archive_is_refused_and_leaves_nothing(tmp_path):
    path = archive(tmp_path / "model.tar.gz", {"model.safetensors": np.random.bytes(100_000)})
    for size in (0, 10, 50_000):
        path.write_bytes(path.read_bytes()[:size] if size else b"")
        with pytest.raises(InputError, match=r"model\.tar\.gz is truncated or damaged"):
            artifact.unpack(path, tmp_path / "out")
        archive(path, {"model.safetensors": np.random.bytes(100_000)})
    assert [p.name for p in tmp_path.iterdir()] == ["model.tar.gz"]


def test_a_truncated_upload_is_neither_fetched_nor_deployed(place, job, tmp_path):
    s3, about = place.client("s3"), jobs._describe(place, job)
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
    assert place.client("sagemaker").list_models()["Models"] == []


# --- a deployment that fails half-way -----------------------------------------------------------


def test_a_deployment_that_fails_is_cleaned_up_and_says_why(place, job, monkeypatch, tmp_path):
    real = artifact._copy_package

    def without_inference(folder):
        real(folder)
        (folder / "mnist_utils/inference.py").write_text("import no_such_module\n")

    monkeypatch.setattr(artifact, "_copy_package", without_inference)
    with pytest.raises(InputError, match="endpoint mnist-broken failed: .*no_such_module"):
        jobs.deploy(place, job, "mnist-broken")
    client = place.client("sagemaker")
    assert client.list_endpoints()["Endpoints"] == []
    assert client.list_models()["Models"] == []


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

IAM = Path(__file__).parent.parent / "iam"
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
    for name in list(jobs.os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_without_credentials_one_line_offers_the_rehearsal(stranger, refused):
    assert "no AWS credentials" in refused(jobs.main, "submit")
    assert "--rehearse" in refused(jobs.main, "delete", "x")


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
        (("submit", "--epochs"), "'--epochs' are no pairs of an option and a value"),
    ],
)
def test_bad_command_lines_cost_one_line(refused, capsys, arguments, words):
    assert words in refused(jobs.main, *arguments)


def test_prices():
    assert jobs.price("ml.m5.large", 60) == (
        "ml.m5.large: at most 60 min at $0.115 an hour (us-east-1), so $0.12"
    )
    assert "see aws.amazon.com/sagemaker/pricing" in jobs.price("ml.x1.huge", 60)
