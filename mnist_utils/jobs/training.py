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

from mnist_utils import data, weights
from mnist_utils.command import Stop
from mnist_utils.errors import InputError
from mnist_utils.files import DATA
from mnist_utils.jobs import archive
from mnist_utils.jobs.place import PREFIX, Place, aws_errors, image_of, to_its_end
from mnist_utils.jobs.prices import PRICES, price
from mnist_utils.train import options
from mnist_utils.train.progress import PATTERNS


def submit(
    place: Place,
    hyperparameters: dict,
    *,
    name: str | None = None,
    instance_type: str = "ml.g4dn.xlarge",
    spot: bool = True,
    minutes: int = 60,
    processes: int = 1,
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
    processes : int
        More than 1 trains with DistributedDataParallel, started by torchrun.
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
        _check(hyperparameters)
    _check_machine(instance_type, minutes)
    name = name or f"{PREFIX}-{secrets.token_hex(4)}"
    image = image or image_of(place, "training", instance_type)
    print(price(instance_type, minutes, spot=spot))
    with archive.training_source(hyperparameters) as source, aws_errors():
        with to_its_end():
            trainer = _trainer(
                place, hyperparameters, name, image, instance_type, spot, minutes, processes, source
            )
        channel = _channel(place, data_dir, upload=not dry_run)
        if dry_run:
            request = trainer._create_training_job_args(input_data_config=channel, boto3=True)
            print(json.dumps(request, indent=1, default=str))
            return ""
        with Stop() as stop:  # the SDK swallows Ctrl-C, and starts the job
            trainer.train(input_data_config=channel, wait=False, logs=False)
        job = trainer._latest_training_job.training_job_name
        with _goes_on(job):
            stop.check()
        return job


def _check(hyperparameters: dict) -> None:
    options.resolve(hyperparameters)
    if bad := [key for key, value in hyperparameters.items() if "'" in str(value)]:
        raise InputError(f"hyperparameter {bad[0]} holds an apostrophe, which SDK v3 cannot pass")


def _check_machine(instance_type: str, minutes: float) -> None:
    if not re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", str(instance_type)):
        raise InputError(f"instance type {instance_type!r} is none; try ml.g4dn.xlarge")
    if not isinstance(minutes, (int, float)) or not 1 <= minutes <= 5 * 24 * 60:
        raise InputError(f"minutes={minutes!r} is not between 1 and 7200, five days")


def _environment() -> dict[str, str]:
    """What a job is told: where to log, and no password; whoever may describe a job can read it."""
    sent = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
    mine = sorted(key for key in os.environ if key.startswith("MLFLOW_"))
    if kept := [key for key in mine if key not in (*sent, "MLFLOW_DISABLE_TELEMETRY")]:
        print(f"not sent to the job, where others could read them: {', '.join(kept)}")
    return {"PYTHONUNBUFFERED": "1"} | {key: os.environ[key] for key in mine if key in sent}


def _trainer(place, hyperparameters, name, image, instance_type, spot, minutes, processes, source):
    from sagemaker.core.shapes import Tag
    from sagemaker.core.training import configs
    from sagemaker.train import ModelTrainer
    from sagemaker.train.distributed import Torchrun

    # `exec` makes Python the container's first process, which SIGTERM reaches; torchrun cannot.
    code = {"requirements": "requirements.txt", "entry_script": "train.py"}
    if processes == 1:
        code = {"requirements": "requirements.txt", "command": "exec $SM_PYTHON_CMD train.py"}
    seconds = int(60 * minutes)
    return ModelTrainer(
        sagemaker_session=place.session,
        role=place.role,
        training_image=image,
        base_job_name=f"{PREFIX}-{secrets.token_hex(4)}",  # the SDK adds the second, no more
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
        environment=_environment(),
        output_data_config=configs.OutputDataConfig(s3_output_path=f"{place.s3}/output"),
        checkpoint_config=configs.CheckpointConfig(s3_uri=f"{place.s3}/checkpoints/{name}"),
        tags=[Tag(key="project", value=PREFIX), Tag(key="run", value=name)],
    ).with_metric_definitions(
        [configs.MetricDefinition(name=key, regex=regex) for key, regex in PATTERNS.items()]
    )  # fmt: skip


def _channel(place: Place, data_dir, *, upload: bool) -> list:
    """The four gzipped files, in S3; uploaded unless they lie there already."""
    from sagemaker.core.training.configs import InputData

    folder = Path(data_dir or DATA)
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
        The tuning job's name. A rehearsal runs two trials, at both ends of the ranges.
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
    _check_machine(instance_type, minutes)
    image = image_of(place, "training", instance_type)
    print(price(instance_type, minutes, spot=spot, jobs=jobs))
    name = f"{PREFIX}-{secrets.token_hex(4)}"
    with archive.training_source(hyperparameters) as source, aws_errors():
        # The tuner runs the entry script through the image's own toolkit, and knows no `command`.
        trainer = _trainer(
            place, hyperparameters, name, image, instance_type, spot, minutes, 1, source
        )
        trainer.source_code.command, trainer.source_code.entry_script = None, "train.py"
        tuner = HyperparameterTuner(
            model_trainer=trainer,
            objective_metric_name="validation:accuracy",
            metric_definitions=[{"Name": key, "Regex": regex} for key, regex in PATTERNS.items()],
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
    with _goes_on(job):
        return _wait(place, job, logs, until)


@contextmanager
def _goes_on(job: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        message = f"job {job} goes on and costs; `jobs.stop`, or mnist_utils.jobs stop {job}"
        raise type(stop)(message) from None


def _wait(place: Place, job: str, logs: bool, until: str | None) -> str:
    reader = _Log(place, job)
    while True:
        about = describe(place, job)
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
        with aws_errors():
            try:
                found = self.client.describe_log_streams(
                    logGroupName=group, logStreamNamePrefix=f"{self.job}/"
                )["logStreams"]
            except self.client.exceptions.ResourceNotFoundException:
                return
            for stream in (item["logStreamName"] for item in found):
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


def describe(place: Place, job: str) -> dict:
    """What SageMaker says of a job."""
    with aws_errors():
        return place.client("sagemaker").describe_training_job(TrainingJobName=job)


def log(place: Place, job: str) -> list[str]:
    """The lines that a job has logged so far."""
    return list(_Log(place, job).new_lines())


def stop(place: Place, job: str) -> str:
    """Stop a job as a spot interruption does: SIGTERM, time to save, then SIGKILL.

    Of a job that has ended by itself, which AWS refuses to stop, only the status is returned.
    """
    from botocore.exceptions import ClientError

    with aws_errors():
        try:
            place.client("sagemaker").stop_training_job(TrainingJobName=job)
        except ClientError as refused:
            status = describe(place, job)["TrainingJobStatus"]  # or: there is no such job
            if status in ("InProgress", "Stopping"):
                raise refused from None
            print(f"job {job} is {status} already")
            return status
    return wait(place, job, logs=False)


def metrics(place: Place, job: str) -> dict[str, float]:
    """The last value of each metric that SageMaker read in the log."""
    found = describe(place, job).get("FinalMetricDataList", [])
    return {metric["MetricName"]: metric["Value"] for metric in found}


def bill(place: Place, job: str) -> str:
    """What a finished job cost, about."""
    about = describe(place, job)
    seconds = about.get("BillableTimeInSeconds", 0)
    kind = about["ResourceConfig"]["InstanceType"]
    rate = PRICES.get(kind)
    cost = f", ${seconds / 3600 * rate:.3f} at the price on demand" if rate else ""
    return f"{seconds} billable seconds of {kind}{cost}"


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


def fetch(place: Place, job: str, out: str | Path) -> Path:
    """Download a job's model.tar.gz, unpack it into `out`, read the weights; return `out`.

    Raises
    ------
    InputError
        No artifact, a truncated or malicious archive, or weights that do not load.
    """
    bucket, _, key = artifact(place, job).removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as folder, aws_errors():
        packed = Path(folder, "model.tar.gz")
        place.client("s3").download_file(bucket, key, str(packed))
        archive.unpack(packed, Path(out))
    weights.load_network(Path(out, "model.safetensors"))
    return Path(out)
