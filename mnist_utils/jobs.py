"""SageMaker from submit to clean-up: the training job, its artifact, the endpoint, the bill.

With `rehearse=True` (`--rehearse`) the same calls run on this machine, without an account. Command
line: `python -m mnist_utils.jobs --help`.
"""

import argparse
import atexit
import io
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnist_utils import artifact, data, errors, evaluate, inference, recipes, train
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

SDK = "3.27"
PREFIX = "mnist"  # of every name and every S3 key
TRAINING_IMAGE, SERVING_IMAGE = ("pytorch", "2.10.0"), ("pytorch", "2.6.0")

# Dollars an hour on demand in us-east-1, as commonly quoted in 2026; what you pay stands at
# aws.amazon.com/sagemaker/pricing.
PRICES = {
    "ml.g4dn.xlarge": 0.7364, "ml.g5.xlarge": 1.408,
    "ml.m5.large": 0.115, "ml.m5.xlarge": 0.23, "ml.c5.xlarge": 0.204,
}  # fmt: skip

# Metric name -> what finds its value in a line of the log; see train._line.
METRICS = {
    f"{split}:{quantity}": rf"\b{split}_{quantity}=([0-9.]+)"
    for split in ("train", "test", "validation")
    for quantity in ("loss", "accuracy")
}


@dataclass
class Place:
    """Where the work is done: an AWS account and region, or this machine; `close` leaves it."""

    session: object
    role: str
    bucket: str
    region: str
    rehearsal: object | None = None
    stack: ExitStack = field(default_factory=ExitStack)
    clients: dict = field(default_factory=dict)

    def close(self) -> None:
        """End a rehearsal, and all that runs in it; on AWS there is nothing to end."""
        self.stack.close()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def s3(self) -> str:
        """The folder of all we store."""
        return f"s3://{self.bucket}/{PREFIX}"

    def client(self, service: str):
        """A boto3 client of this place, made once."""
        if service not in self.clients:
            self.clients[service] = self.session.boto_session.client(service)
        return self.clients[service]


def connect(
    *, rehearse: bool = False, role: str | None = None, bucket: str | None = None,
    region: str | None = None, namespace: bool | None = None,
) -> Place:  # fmt: skip
    """Open the place to work in.

    Role, bucket and region not given come from the usual AWS configuration, or from Studio.

    Raises
    ------
    InputError
        No credentials, region or role, or another SDK; the message says what to do.
    """
    _check_sdk()
    with ExitStack() as stack:
        stage = None
        if rehearse:
            from mnist_utils import rehearsal

            stage = stack.enter_context(rehearsal.rehearse(namespace=namespace))
            print(rehearsal.UNPROVEN)
        import boto3
        from sagemaker.core.helper.session_helper import Session, get_execution_role

        for name in ("sagemaker", "sagemaker.config", "botocore", "boto3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        boto_session = boto3.Session(region_name=region)
        if boto_session.get_credentials() is None:
            raise InputError(
                "no AWS credentials: run `aws configure` or open this in SageMaker Studio; or "
                "rehearse on this machine, without an account: --rehearse, REHEARSE = True"
            )
        if boto_session.region_name is None:
            raise InputError("no AWS region: pass --region us-east-1, or set AWS_DEFAULT_REGION")
        session = Session(boto_session=boto_session)
        try:
            with _aws_errors():
                role = role or os.environ.get("SAGEMAKER_ROLE") or get_execution_role(session)
                bucket = bucket or session.default_bucket()
        except ValueError:
            raise InputError(
                "these credentials are a user's, not a role's: name the role that the job takes "
                "on, --role arn:aws:iam::ACCOUNT:role/NAME or SAGEMAKER_ROLE"
            ) from None
        place = Place(session, role, bucket, session.boto_region_name, stage)
        place.stack = stack.pop_all()
        atexit.register(place.close)  # a notebook's kernel may end before its last cell
        return place


def _check_sdk() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("sagemaker")
    except PackageNotFoundError:
        raise InputError(f"sagemaker is not installed: `pip install 'sagemaker~={SDK}'`") from None
    if tuple(map(int, found.split(".")[:2])) < tuple(map(int, SDK.split("."))):
        raise InputError(
            f"sagemaker {found} lacks ModelTrainer.train(dry_run=…), and its jobs refresh with the "
            f"default credentials: this needs {SDK} (Studio's image has 3.12); `pip install "
            f"'sagemaker~={SDK}'` in a kernel of its own, not over Studio's"
        )


# --- training -----------------------------------------------------------------------------------


def submit(
    place: Place,
    hyperparameters: dict,
    *,
    name: str | None = None,
    instance_type: str = "ml.g4dn.xlarge",
    spot: bool = True,
    minutes: int = 60,
    processes: int = 1,
    data_dir: str | Path | None = None,
    check: bool = True,
    dry_run: bool = False,
) -> str:
    """Start a training job; return its name. Price and longest time are printed before.

    Parameters
    ----------
    place : Place
    hyperparameters : dict
        Options of `mnist_utils.train`, without dashes: `{"recipe": "fast", "epochs": 2}`.
    name : str, optional
        Of the run, whose checkpoints it shares: give the name of a stopped run to go on with it.
    instance_type, spot, minutes
        The machine, whether to take spare capacity, and when SageMaker ends the job.
    processes : int
        More than 1 trains with DistributedDataParallel, started by torchrun.
    data_dir : path, optional
        The folder of the MNIST files, if not the bundle.
    check : bool
        Try the hyperparameters here, where a mistake is free.
    dry_run : bool
        Stage the source and print the request, but start nothing; the name is then "".

    Raises
    ------
    InputError
        Unusable hyperparameters, or AWS refuses; the message says why.
    """
    if check:
        _check(hyperparameters)
    name = name or f"{PREFIX}-{secrets.token_hex(4)}"
    print(price(instance_type, minutes, spot=spot))
    with artifact.training_source(hyperparameters) as source, _aws_errors():
        trainer = _trainer(
            place, hyperparameters, name, instance_type, spot, minutes, processes, source
        )
        channel = _channel(place, data_dir, upload=not dry_run)
        if dry_run:
            request = trainer._create_training_job_args(input_data_config=channel, boto3=True)
            print(json.dumps(request, indent=1, default=str))
            return ""
        trainer.train(input_data_config=channel, wait=False, logs=False)
        return trainer._latest_training_job.training_job_name


def price(instance_type: str, minutes: float, *, spot: bool = False, jobs: int = 1) -> str:
    """What the time costs at most, in a sentence."""
    what = f"{jobs} × {instance_type}" if jobs > 1 else instance_type
    if instance_type not in PRICES:
        return f"{what}: at most {minutes} min each; see aws.amazon.com/sagemaker/pricing"
    dollars = PRICES[instance_type]
    most = jobs * dollars * minutes / 60
    text = f"{what}: at most {minutes:g} min at ${dollars:.4g} an hour (us-east-1), so ${most:.2f}"
    return text + (" on demand; spot capacity costs less" if spot else "")


def _check(hyperparameters: dict) -> None:
    words = [f"--{key.replace('_', '-')}={value}" for key, value in hyperparameters.items()]
    defaults = recipes.recipe(hyperparameters.get("recipe", "course"))
    values = vars(train.parser(defaults).parse_args(words))
    TrainConfig.from_dict({key: values[key] for key in defaults.to_dict()})
    if bad := [key for key, value in hyperparameters.items() if "'" in str(value)]:
        raise InputError(f"hyperparameter {bad[0]} holds an apostrophe, which SDK v3 cannot pass")


def _trainer(place, hyperparameters, name, instance_type, spot, minutes, processes, source):
    from sagemaker.core import image_uris
    from sagemaker.core.shapes import Tag
    from sagemaker.core.training import configs
    from sagemaker.train import ModelTrainer
    from sagemaker.train.distributed import Torchrun

    framework, version = TRAINING_IMAGE
    image = image_uris.retrieve(
        framework, place.region, version=version, instance_type=instance_type,
        image_scope="training",
    )  # fmt: skip
    # `exec` makes Python the container's first process, which SIGTERM reaches; torchrun cannot.
    code = {"requirements": "requirements.txt", "entry_script": "train.py"}
    if processes == 1:
        code = {"requirements": "requirements.txt", "command": "exec $SM_PYTHON_CMD train.py"}
    seconds = 60 * minutes
    tracked = {key: value for key, value in os.environ.items() if key.startswith("MLFLOW_")}
    return ModelTrainer(
        sagemaker_session=place.session,
        role=place.role,
        training_image=image,
        base_job_name=PREFIX,
        source_code=configs.SourceCode(source_dir=str(source), **code),
        distributed=Torchrun(process_count_per_node=processes) if processes > 1 else None,
        compute=configs.Compute(
            instance_type=instance_type, instance_count=1, volume_size_in_gb=30,
            enable_managed_spot_training=spot,
        ),
        stopping_condition=configs.StoppingCondition(
            max_runtime_in_seconds=seconds,
            max_wait_time_in_seconds=2 * seconds if spot else None,
        ),
        hyperparameters=dict(hyperparameters),
        environment={"PYTHONUNBUFFERED": "1"} | tracked,
        output_data_config=configs.OutputDataConfig(s3_output_path=f"{place.s3}/output"),
        checkpoint_config=configs.CheckpointConfig(s3_uri=f"{place.s3}/checkpoints/{name}"),
        tags=[Tag(key="project", value=PREFIX), Tag(key="run", value=name)],
    ).with_metric_definitions(
        [configs.MetricDefinition(name=key, regex=regex) for key, regex in METRICS.items()]
    )  # fmt: skip


def _channel(place: Place, data_dir, *, upload: bool) -> list:
    """The four gzipped files, in S3; uploaded unless they lie there already."""
    from sagemaker.core.training.configs import InputData

    folder = Path(data_dir or data.BUNDLE)
    s3 = place.client("s3")
    for name in data.MD5 if upload else ():
        path, key = folder / f"{name}.gz", f"{PREFIX}/data/{name}.gz"
        if not path.is_file():
            raise InputError(f"{path} is missing; pass the folder of the four gzipped MNIST files")
        listed = s3.list_objects_v2(Bucket=place.bucket, Prefix=key).get("Contents", [])
        if [item["Size"] for item in listed] != [path.stat().st_size]:
            s3.upload_file(str(path), place.bucket, key)
    return [InputData(channel_name="train", data_source=f"{place.s3}/data")]


def tune(
    place: Place,
    hyperparameters: dict,
    ranges: dict[str, tuple],
    *,
    jobs: int = 40,
    at_once: int = 4,
    instance_type: str = "ml.g4dn.xlarge",
    spot: bool = True,
    minutes: int = 15,
) -> str:
    """Start SageMaker's own search for the hyperparameters of best validation accuracy.

    Parameters
    ----------
    ranges : dict
        Name to `(low, high)`, or to the choices, if they are words: `{"lr": (0.005, 0.05)}`.
        `hyperparameters` must set `validation`: nobody tunes on the test digits.
    jobs, at_once
        How many training jobs in all, and how many at a time.

    Returns
    -------
    str
        The tuning job's name. A rehearsal records and checks the request, but runs no jobs.
    """
    from sagemaker.core import parameter
    from sagemaker.train.tuner import HyperparameterTuner

    if not hyperparameters.get("validation"):
        raise InputError("set validation, for instance 5000: nobody tunes on the test digits")
    for end in (0, -1):
        _check(hyperparameters | {key: values[end] for key, values in ranges.items()})
    kinds = {
        int: parameter.IntegerParameter,
        float: parameter.ContinuousParameter,
        str: lambda *words: parameter.CategoricalParameter(list(words)),
    }
    print(price(instance_type, minutes, spot=spot, jobs=jobs))
    name = f"{PREFIX}-{secrets.token_hex(4)}"
    with artifact.training_source(hyperparameters) as source, _aws_errors():
        # The tuner runs the entry script through the image's own toolkit, and knows no `command`.
        trainer = _trainer(place, hyperparameters, name, instance_type, spot, minutes, 1, source)
        trainer.source_code.command, trainer.source_code.entry_script = None, "train.py"
        tuner = HyperparameterTuner(
            model_trainer=trainer,
            objective_metric_name="validation:accuracy",
            metric_definitions=[{"Name": key, "Regex": regex} for key, regex in METRICS.items()],
            hyperparameter_ranges={
                key: kinds[type(values[0])](*values) for key, values in ranges.items()
            },
            max_jobs=jobs,
            max_parallel_jobs=at_once,
            early_stopping_type="Auto",
        )
        tuner.tune(inputs=_channel(place, None, upload=True), job_name=name, wait=False)
    return name


def wait(place: Place, job: str, *, logs: bool = True, until: str | None = None) -> str:
    """Wait for the end of a job, or for a line of its log that holds `until`; return its status.

    Raises
    ------
    InputError
        The job failed; the message is its reason.
    KeyboardInterrupt
        Ctrl-C; the message says that the job goes on.
    """
    try:
        return _wait(place, job, logs, until)
    except KeyboardInterrupt as stop:
        stop.args = (f"job {job} goes on and costs; `jobs.stop`, or mnist_utils.jobs stop {job}",)
        raise


def _wait(place: Place, job: str, logs: bool, until: str | None) -> str:
    reader = _Log(place, job)
    while True:
        about = _describe(place, job)
        for line in reader.new_lines():
            if logs:
                print(line, flush=True)
            if until and until in line:
                return about["TrainingJobStatus"]
        status = about["TrainingJobStatus"]
        if status == "Failed":
            raise InputError(f"job {job} failed: {about.get('FailureReason', 'no reason given')}")
        if status in ("Completed", "Stopped"):
            return status
        time.sleep(0.5 if place.rehearsal else 5)


class _Log:
    """A job's lines in CloudWatch, from where the last call stopped."""

    def __init__(self, place: Place, job: str):
        self.client, self.job, self.tokens = place.client("logs"), job, {}

    def new_lines(self) -> Iterator[str]:
        group = "/aws/sagemaker/TrainingJobs"
        try:
            found = self.client.describe_log_streams(
                logGroupName=group, logStreamNamePrefix=f"{self.job}/"
            )["logStreams"]
        except self.client.exceptions.ResourceNotFoundException:
            return
        for stream in (item["logStreamName"] for item in found):
            while True:
                token = {"nextToken": self.tokens[stream]} if stream in self.tokens else {}
                page = self.client.get_log_events(
                    logGroupName=group, logStreamName=stream, startFromHead=True, **token
                )
                self.tokens[stream] = page["nextForwardToken"]
                yield from (event["message"] for event in page["events"])
                if not page["events"]:
                    break


def _describe(place: Place, job: str) -> dict:
    with _aws_errors():
        return place.client("sagemaker").describe_training_job(TrainingJobName=job)


def log(place: Place, job: str) -> list[str]:
    """The lines that a job has logged so far."""
    return list(_Log(place, job).new_lines())


def stop(place: Place, job: str) -> str:
    """Stop a job as a spot interruption does: SIGTERM, time to save, then SIGKILL."""
    with _aws_errors():
        place.client("sagemaker").stop_training_job(TrainingJobName=job)
    return wait(place, job, logs=False)


def metrics(place: Place, job: str) -> dict[str, float]:
    """The last value of each metric that SageMaker read in the log."""
    found = _describe(place, job).get("FinalMetricDataList", [])
    return {metric["MetricName"]: metric["Value"] for metric in found}


def bill(place: Place, job: str) -> str:
    """What a finished job cost, about."""
    about = _describe(place, job)
    seconds = about.get("BillableTimeInSeconds", 0)
    kind = about["ResourceConfig"]["InstanceType"]
    rate = PRICES.get(kind)
    cost = f", ${seconds / 3600 * rate:.3f} at the price on demand" if rate else ""
    return f"{seconds} billable seconds of {kind}{cost}"


# --- the artifact -------------------------------------------------------------------------------


def fetch(place: Place, job: str, out: str | Path) -> Path:
    """Download a job's model.tar.gz, unpack it into `out`, read the weights; return `out`.

    Raises
    ------
    InputError
        No artifact, a truncated or malicious archive, or weights that do not load.
    """
    uri = _describe(place, job).get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if not uri:
        raise InputError(f"job {job} left no artifact; is it Completed?")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as folder, _aws_errors():
        archive = Path(folder, "model.tar.gz")
        place.client("s3").download_file(bucket, key, str(archive))
        artifact.unpack(archive, Path(out))
    evaluate.load_weights(Path(out, "model.safetensors"))
    return Path(out)


# --- the endpoint -------------------------------------------------------------------------------


def deploy(
    place: Place, job: str, name: str | None = None, *, instance_type: str = "ml.m5.large"
) -> str:
    """Create an endpoint for a job's model; return its name once it serves.

    It costs money every second until `delete`, asked or not.

    Raises
    ------
    InputError
        The endpoint failed; the message is the reason. What was created is deleted again.
    """
    from sagemaker.core import image_uris
    from sagemaker.core.training.configs import SourceCode
    from sagemaker.serve import ModelBuilder

    uri = _describe(place, job).get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if not uri:
        raise InputError(f"job {job} left no artifact to deploy; is it Completed?")
    name = name or job
    if not name.startswith(f"{PREFIX}-"):
        raise InputError(f"name {name!r} must begin with {PREFIX}-: the policy allows no other")
    with suppress(place.client("sagemaker").exceptions.ClientError):
        place.client("sagemaker").describe_endpoint(EndpointName=name)
        raise InputError(f"endpoint {name} exists already; delete it, or choose another name")
    rate = PRICES.get(instance_type)
    dollars = f"${rate:.4g} an hour, ${24 * rate:.2f} a day, " if rate else ""
    print(f"{instance_type}: {dollars}until you delete it")
    framework, version = SERVING_IMAGE
    image = image_uris.retrieve(
        framework, place.region, version=version, instance_type=instance_type,
        image_scope="inference",
    )  # fmt: skip
    try:
        with artifact.serving_code() as code, artifact.whole(uri), _aws_errors():
            builder = ModelBuilder(
                s3_model_data_url=uri, image_uri=image, role_arn=place.role,
                source_code=SourceCode(source_dir=str(code), entry_script="inference.py"),
                sagemaker_session=place.session, instance_type=instance_type,
                log_level=logging.ERROR,
            )  # fmt: skip
            builder.build(model_name=name)
            builder.deploy(endpoint_name=name, initial_instance_count=1, wait=False)
            _in_service(place, name)
    except BaseException:
        delete(place, name)
        raise
    return name


def _in_service(place: Place, name: str) -> None:
    client = place.client("sagemaker")
    while True:
        about = client.describe_endpoint(EndpointName=name)
        if about["EndpointStatus"] == "InService":
            return
        if about["EndpointStatus"] == "Failed":
            raise InputError(f"endpoint {name} failed: {about.get('FailureReason', 'no reason')}")
        time.sleep(0.5 if place.rehearsal else 10)


def invoke(place: Place, name: str, images, *, batch_size: int = 1000) -> dict[str, np.ndarray]:
    """Labels `(N,)` and probabilities `(N, 10)` of digits `(N, 28, 28)` from an endpoint.

    Raises
    ------
    InputError
        The endpoint refuses, or does not answer; the message is its own.
    """
    from sagemaker.core.resources import Endpoint

    images, found = np.asarray(images), []
    with _aws_errors():
        endpoint = Endpoint.get(
            endpoint_name=name, session=place.session.boto_session, region=place.region
        )
        for start in range(0, max(1, len(images)), batch_size):
            buffer = io.BytesIO()
            np.save(buffer, images[start : start + batch_size])
            answer = endpoint.invoke(
                body=buffer.getvalue(), content_type=inference.NPY, accept=inference.NPY
            )
            found.append(np.load(io.BytesIO(answer.body.read())))
    probabilities = np.concatenate(found)
    return {"labels": probabilities.argmax(axis=1), "probabilities": probabilities}


def delete(place: Place, name: str) -> list[str]:
    """Delete an endpoint, its configuration and its model, whichever exist; return what went.

    Raises
    ------
    InputError
        Something could not be deleted, and may cost money; the message says what and why.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client, gone, kept = place.client("sagemaker"), [], []
    configuration = model = name
    with suppress(ClientError):  # a deployment that failed early has no endpoint, or less
        configuration = client.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    with suppress(ClientError):
        about = client.describe_endpoint_config(EndpointConfigName=configuration)
        model = about["ProductionVariants"][0]["ModelName"]
    for kind, call, argument, value in (
        ("endpoint", client.delete_endpoint, "EndpointName", name),
        ("configuration", client.delete_endpoint_config, "EndpointConfigName", configuration),
        ("model", client.delete_model, "ModelName", model),
    ):
        try:
            call(**{argument: value})
            gone.append(f"{kind} {value}")
        except ClientError as error:
            if not re.search("(?i)could not find|not exist|not found", str(error)):
                kept.append(f"{kind} {value} ({error})")
        except BotoCoreError as error:
            kept.append(f"{kind} {value} ({error})")
    if kept:
        raise InputError(f"not deleted, and may cost money: {'; '.join(kept)}")
    return gone


@contextmanager
def _aws_errors() -> Iterator[None]:
    """What AWS refuses is bad input, told in one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        told = error.response.get("OriginalMessage") or error.response["Error"].get("Message")
        first = (told or str(error)).strip().splitlines()[0]
        raise InputError(f"{error.operation_name}: {first}") from None
    except BotoCoreError as error:
        raise InputError(str(error)) from None


# --- command line -------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    result = errors.Parser(prog="python -m mnist_utils.jobs", description=__doc__.splitlines()[0])
    result.add_argument("--rehearse", action="store_true", help="on this machine, no account")
    for option in ("role", "bucket", "region"):
        result.add_argument(f"--{option}", help="if not that of the AWS configuration or Studio")
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, *positional: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        for word in positional:
            sub.add_argument(word)
        return sub

    for name, help in (
        ("submit", "start a training job; options of mnist_utils.train follow, as --epochs 2"),
        ("all", "submit, wait, fetch, deploy, classify 1,000 test digits, delete"),
    ):
        sub = command(name, help)
        sub.add_argument("--name", help="of the run, to go on from its checkpoints")
        sub.add_argument("--instance-type", default="ml.g4dn.xlarge")
        sub.add_argument("--on-demand", action="store_true", help="no spot capacity")
        sub.add_argument("--minutes", type=int, default=60, help="longest run, and so longest bill")
        sub.add_argument("--processes", type=int, default=1, help="torchrun's, on the instance")
        sub.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
        sub.add_argument("--out", default="runs/sagemaker", help="where `all` puts the model")
    command("wait", "follow a job's log to its end", "job")
    command("stop", "stop a job; its checkpoints stay", "job")
    command("fetch", "download and unpack a job's model", "job", "out")
    command("deploy", "create an endpoint, which costs money until deleted", "job")
    command("invoke", "classify 1,000 test digits", "endpoint")
    command("delete", "delete endpoint, configuration and model", "endpoint")
    return result


def _hyperparameters(words: list[str]) -> dict:
    """`--epochs 2 --lr=0.1` as a dictionary."""
    found, words = {}, [part for word in words for part in word.split("=", 1)]
    if len(words) % 2 or any(not word.startswith("--") for word in words[::2]):
        raise InputError(f"{' '.join(words)!r} are no pairs of an option and a value")
    for option, value in zip(words[::2], words[1::2], strict=True):
        found[option[2:].replace("-", "_")] = value
    return found


def _classify(place: Place, endpoint: str) -> None:
    digits = data.load(train=False).take(slice(1000))
    labels = invoke(place, endpoint, digits.images.numpy())["labels"]
    print(f"{(labels == digits.labels.numpy()).sum()} of 1,000 test digits classified rightly")


def main() -> None:
    arguments, rest = _parser().parse_known_args()
    if rest and arguments.command not in ("submit", "all"):
        raise InputError(f"{' '.join(rest)!r} is not understood; --help lists the options")
    hyperparameters = _hyperparameters(rest)
    given = vars(arguments)
    where = {key: given[key] for key in ("role", "bucket", "region")}
    with connect(rehearse=arguments.rehearse, **where) as place:
        match arguments.command:
            case "submit" | "all":
                job = submit(
                    place,
                    hyperparameters,
                    name=arguments.name,
                    instance_type=arguments.instance_type,
                    spot=not arguments.on_demand,
                    minutes=arguments.minutes,
                    processes=arguments.processes,
                    dry_run=arguments.dry_run,
                )
                if job:
                    print(f"job {job}")
                if job and (arguments.command == "all" or place.rehearsal):
                    print(wait(place, job))
                    print(bill(place, job))
                if job and arguments.command == "all":
                    print(f"the model is in {fetch(place, job, arguments.out)}/")
                    endpoint = deploy(place, job)
                    try:
                        _classify(place, endpoint)
                    finally:
                        print("deleted", ", ".join(delete(place, endpoint)))
            case "wait":
                print(wait(place, arguments.job))
            case "stop":
                print(stop(place, arguments.job))
            case "fetch":
                print(fetch(place, arguments.job, arguments.out))
            case "deploy":
                print(deploy(place, arguments.job))
            case "invoke":
                _classify(place, arguments.endpoint)
            case "delete":
                print("deleted", ", ".join(delete(place, arguments.endpoint)) or "nothing")


if __name__ == "__main__":
    errors.run(main)
