"""A training job: its request, its log, its metrics, its bill, the model it leaves."""

import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloud.jobs import archive
from cloud.jobs.place import Place, aws_errors, image_of, to_its_end
from cloud.jobs.prices import PRICES, QUOTED, price
from mnist_utils import data, weights
from mnist_utils.command import Stop
from mnist_utils.errors import InputError
from mnist_utils.files import DATA
from mnist_utils.train import options
from mnist_utils.train.progress import PATTERNS

MOST_MINUTES = 5 * 24 * 60


@aws_errors()
def submit(
    place: Place,
    hyperparameters: dict,
    *,
    name: str | None = None,
    instance_type: str = "ml.g4dn.xlarge",
    spot: bool = True,
    minutes: int = 60,
    processes: int = 1,
    instances: int = 1,
    image: str | None = None,
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
    processes, instances : int
        On each machine, and how many of them. More than one in all trains with
        DistributedDataParallel, started by torchrun; on a GPU machine, one process for each GPU.
    image : str, optional
        The training image's address, if not AWS's own of `place.IMAGES`.
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
        check_hyperparameters(hyperparameters)
    machines = Machines(instance_type, instances, processes, spot, minutes)
    check_machines(place, machines)
    name = name or f"{place.prefix}-{secrets.token_hex(4)}"
    image = image or image_of(place, "training", instance_type)
    print(price(instance_type, minutes, spot=spot, machines=instances))
    with archive.training_source(hyperparameters) as source:
        with to_its_end():
            trainer = trainer_of(place, hyperparameters, name, image, machines, source)
        channel = channel_of(place, data_dir, upload=not dry_run)
        if dry_run:
            request = trainer._create_training_job_args(input_data_config=channel, boto3=True)
            print(json.dumps(request, indent=1, default=str))
            return ""
        with Stop() as stop:  # the SDK swallows Ctrl-C, and starts the job
            trainer.train(input_data_config=channel, wait=False, logs=False)
        job = trainer._latest_training_job.training_job_name
        with goes_on(place, job):
            stop.check()
        return job


class Machines(NamedTuple):
    """What a job runs on, and for how long at most."""

    kind: str
    instances: int
    processes: int
    spot: bool
    minutes: float


def check_hyperparameters(hyperparameters: dict) -> None:
    options.resolve(hyperparameters)
    if bad := [key for key, value in hyperparameters.items() if "'" in str(value)]:
        raise InputError(f"hyperparameter {bad[0]} holds an apostrophe, which SDK v3 cannot pass")


def check_machines(place: Place, machines: Machines) -> None:
    """Refuse what AWS would refuse, or bill for and never use."""
    from sagemaker.core import instance_types_gpu_info

    kind, instances, processes, _, minutes = machines
    if not re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", str(kind)):
        raise InputError(f"instance type {kind!r} does not exist; try ml.g4dn.xlarge")
    if not isinstance(minutes, (int, float)) or not 1 <= minutes <= MOST_MINUTES:
        raise InputError(f"minutes={minutes!r} is not between 1 and {MOST_MINUTES}, five days")
    for name, value in (("instances", instances), ("processes", processes)):
        if type(value) is not int or not 1 <= value <= 100:
            raise InputError(f"{name}={value!r} is not a whole number from 1 to 100")
    gpus = instance_types_gpu_info.retrieve(place.region).get(kind, {}).get("Count")
    if gpus and processes > gpus:
        raise InputError(
            f"processes={processes}, but {kind} has {gpus} GPU{'s' * (gpus > 1)}, one for each "
            f"process: pass processes={gpus}, or instances={-(-processes // gpus)} of them"
        )


def _environment() -> dict[str, str]:
    """What a job is told: where to log, and no password; whoever may describe a job can read it."""
    sent = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
    mine = sorted(key for key in os.environ if key.startswith("MLFLOW_"))
    if kept := [key for key in mine if key not in (*sent, "MLFLOW_DISABLE_TELEMETRY")]:
        print(f"not sent to the job, where others could read them: {', '.join(kept)}")
    return {"PYTHONUNBUFFERED": "1"} | {key: os.environ[key] for key in mine if key in sent}


def trainer_of(place, hyperparameters, name, image, machines: Machines, source, **environment):
    """The SDK's description of a job; subnets and keys are those of the SDK's defaults file."""
    from sagemaker.core.common_utils import resolve_value_from_config
    from sagemaker.core.config import config_schema
    from sagemaker.core.shapes import Tag
    from sagemaker.core.training import configs
    from sagemaker.train import ModelTrainer
    from sagemaker.train.distributed import Torchrun

    # `exec` makes Python the container's first process, which SIGTERM reaches; torchrun cannot.
    code = {"requirements": "requirements.txt", "entry_script": "train.py"}
    alone = machines.instances * machines.processes == 1
    if alone:
        code = {"requirements": "requirements.txt", "command": "exec $SM_PYTHON_CMD train.py"}
    seconds = int(60 * machines.minutes)

    def default(name: str):  # ModelTrainer, asked itself, forgets them
        path = getattr(config_schema, f"TRAINING_JOB_{name}_PATH")
        return resolve_value_from_config(config_path=path, sagemaker_session=place.session)

    return ModelTrainer(
        sagemaker_session=place.session,
        role=place.role,
        training_image=image,
        base_job_name=f"{place.prefix}-{secrets.token_hex(4)}",  # the SDK adds the second, no more
        source_code=configs.SourceCode(source_dir=str(source), **code),
        distributed=None if alone else Torchrun(process_count_per_node=machines.processes),
        compute=configs.Compute(
            instance_type=machines.kind, instance_count=machines.instances, volume_size_in_gb=30,
            enable_managed_spot_training=machines.spot,
            volume_kms_key_id=default("VOLUME_KMS_KEY_ID"),
        ),
        networking=default("SUBNETS") and configs.Networking(
            subnets=default("SUBNETS"), security_group_ids=default("SECURITY_GROUP_IDS"),
        ),
        stopping_condition=configs.StoppingCondition(
            max_runtime_in_seconds=seconds,
            max_wait_time_in_seconds=2 * seconds if machines.spot else None,
        ),
        hyperparameters=dict(hyperparameters),
        environment=_environment() | environment,
        output_data_config=configs.OutputDataConfig(
            s3_output_path=f"{place.s3}/output", kms_key_id=default("KMS_KEY_ID")
        ),
        checkpoint_config=configs.CheckpointConfig(s3_uri=f"{place.s3}/checkpoints/{name}"),
        tags=[Tag(key=t["Key"], value=t["Value"]) for t in place.tags(run=name)],
    ).with_metric_definitions(
        [configs.MetricDefinition(name=key, regex=regex) for key, regex in PATTERNS.items()]
    )  # fmt: skip


def channel_of(place: Place, data_dir, *, upload: bool) -> list:
    """The four gzipped files, in S3; uploaded unless they lie there already."""
    from sagemaker.core.training.configs import InputData

    folder = Path(data_dir or DATA)
    s3 = place.client("s3")
    for name in data.MD5 if upload else ():
        path, key = folder / f"{name}.gz", f"{place.prefix}/data/{name}.gz"
        if not path.is_file():
            raise InputError(f"{path} is missing; pass the folder of the four gzipped MNIST files")
        listed = s3.list_objects_v2(Bucket=place.bucket, Prefix=key).get("Contents", [])
        if [item["Size"] for item in listed] != [path.stat().st_size]:
            s3.upload_file(str(path), place.bucket, key)
    return [InputData(channel_name="train", data_source=f"{place.s3}/data")]


@aws_errors()
def wait(place: Place, job: str, *, logs: bool = True, until: str | None = None) -> str:
    """Wait for the end of a job, or for a line of its log that holds `until`; return its status.

    Each change of status is told in a line, with `logs` each line of the log as well.

    Raises
    ------
    InputError
        The job failed, or came to its limit of time or of waiting for capacity; the message is
        the reason.
    KeyboardInterrupt
        Ctrl-C; the message says that the job goes on.
    """
    with goes_on(place, job):
        return _wait(place, job, logs, until)


@contextmanager
def goes_on(place: Place, job: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        message = f"job {job} goes on and costs; `jobs.stop`, or cloud.jobs stop {job}"
        if place.rehearsal:
            message = f"job {job} ends with the rehearsal"
        raise type(stop)(message) from None


def _wait(place: Place, job: str, logs: bool, until: str | None) -> str:
    reader, told = _Log(place, job), place.told.get(job, [])
    while True:
        about = describe(place, job)
        changes = about.get("SecondaryStatusTransitions", [])
        changes = [
            f"{one['Status']}: {one.get('StatusMessage', '')}".strip(": ") for one in changes
        ]
        for number, change in enumerate(changes):
            if told[number : number + 1] != [change]:
                print(change, flush=True)
        told = place.told[job] = changes
        for line in reader.new_lines():
            if logs:
                print(line, flush=True)
            if until and until in line:
                return about["TrainingJobStatus"]
        status = about["TrainingJobStatus"]
        if status in ("Failed", "Stopped"):
            _raise_reason(about)
        if status in ("Completed", "Stopped"):
            return status
        time.sleep(0.5 if place.rehearsal else 5)


def _raise_reason(about: dict) -> None:
    """Raise why a job failed, or what stopped it; return if somebody did."""
    job, limits = about["TrainingJobName"], about["StoppingCondition"]
    if about["TrainingJobStatus"] == "Failed":
        raise InputError(f"job {job} failed: {about.get('FailureReason', 'no reason given')}")
    match about.get("SecondaryStatus"):
        case "MaxWaitTimeExceeded":
            raise InputError(
                f"job {job} found no spot capacity in {limits['MaxWaitTimeInSeconds'] / 60:g} "
                "minutes: submit it on demand, spot=False (--on-demand), or later, or to another "
                "instance type"
            )
        case "MaxRuntimeExceeded":
            raise InputError(
                f"job {job} came to its limit of {limits['MaxRuntimeInSeconds'] / 60:g} minutes: "
                "submit it under the same name, to go on from its checkpoints, with more minutes"
            )


class _Log:
    """A job's lines in CloudWatch, from where the last call stopped."""

    def __init__(self, place: Place, job: str):
        self.client, self.job, self.tokens = place.client("logs"), job, {}

    def new_lines(self) -> Iterator[str]:
        group = "/aws/sagemaker/TrainingJobs"
        try:
            streams = self.client.describe_log_streams(
                logGroupName=group, logStreamNamePrefix=f"{self.job}/"
            )["logStreams"]
        except self.client.exceptions.ResourceNotFoundException:
            return
        for stream in (item["logStreamName"] for item in streams):
            asked = self.tokens.get(stream)
            while True:  # pages may be empty; the last repeats the token that it was asked with
                token = {"nextToken": asked} if asked else {}
                page = self.client.get_log_events(
                    logGroupName=group, logStreamName=stream, startFromHead=True, **token
                )
                yield from (event["message"] for event in page["events"])
                self.tokens[stream] = page["nextForwardToken"]
                if page["nextForwardToken"] == asked:
                    break
                asked = page["nextForwardToken"]


@aws_errors()
def describe(place: Place, job: str) -> dict:
    """What SageMaker says of a job."""
    return place.client("sagemaker").describe_training_job(TrainingJobName=job)


@aws_errors()
def log(place: Place, job: str) -> list[str]:
    """The lines that a job has logged so far."""
    return list(_Log(place, job).new_lines())


@aws_errors()
def metrics(place: Place, job: str) -> dict[str, float]:
    """The last value of each metric that SageMaker read in the log."""
    reported = describe(place, job).get("FinalMetricDataList", [])
    return {metric["MetricName"]: metric["Value"] for metric in reported}


@aws_errors()
def bill(place: Place, job: str) -> str:
    """What a finished job cost, about."""
    about = describe(place, job)
    seconds = about.get("BillableTimeInSeconds", 0)
    kind = about["ResourceConfig"]["InstanceType"]
    rate = PRICES.get(kind)
    seconds *= about["ResourceConfig"].get("InstanceCount", 1)
    cost = f", ${seconds / 3600 * rate:.3f} on demand in {QUOTED}" if rate else ""
    return f"{seconds} billable seconds of {kind}{cost}"


@aws_errors()
def artifact(place: Place, job: str) -> str:
    """The S3 address of what a job left, its model.tar.gz.

    Raises
    ------
    InputError
        It left none.
    """
    uri = describe(place, job).get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if not uri:
        raise InputError(f"job {job} left no artifact; is it Completed?")
    return uri


@aws_errors()
def fetch(place: Place, job: str, out: str | Path) -> Path:
    """Download a job's model.tar.gz, unpack it into `out`, read the weights; return `out`.

    Raises
    ------
    InputError
        No artifact, a truncated or malicious archive, or weights that do not load.
    """
    bucket, _, key = artifact(place, job).removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "model.tar.gz")
        place.client("s3").download_file(bucket, key, str(packed))
        archive.unpack(packed, Path(out))
    weights.load_network(Path(out, "model.safetensors"))
    return Path(out)
