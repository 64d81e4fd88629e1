"""What runs and costs: whose it is, since when; stopped by name or by age."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from botocore.exceptions import ClientError

from cloud.jobs import endpoint, training
from cloud.jobs.place import PROJECT, Place, aws_errors
from mnist_utils.errors import InputError


class Running(NamedTuple):
    """One thing that costs."""

    kind: str
    name: str
    since: datetime

    def __str__(self) -> str:
        hours = (datetime.now(UTC) - self.since) / timedelta(hours=1)
        return f"{self.kind} {self.name}, {hours:.1f} hours old"


@aws_errors()
def running(place: Place, *, everyone: bool = False) -> list[Running]:
    """Your endpoints, jobs and searches that have not ended, oldest first; or everyone's."""
    client, mine = place.client("sagemaker"), f"{PROJECT if everyone else place.prefix}-"
    rows = []
    for kind, (operation, listed, name, which, _) in KINDS.items():
        for page in client.get_paginator(operation).paginate(NameContains=mine, **which):
            rows += [
                Running(kind, item[name], item["CreationTime"])
                for item in page[listed]
                if item[name].startswith(mine)
            ]
    return sorted(rows, key=lambda one: one.since)


def clean(place: Place, older: str = "0h", *, everyone: bool = False) -> list[str]:
    """Delete your endpoints and stop your jobs and searches older than `2h`, `30m` or `1d`.

    Raises
    ------
    InputError
        `older` is no such time, or something could not be ended: the rest has been nevertheless.
    """
    if not (match := re.fullmatch(r"(\d+)([mhd])", older)):
        raise InputError(f"older={older!r} is not a time such as 30m, 2h or 1d")
    unit = {"m": "minutes", "h": "hours", "d": "days"}[match[2]]
    before, ended, failed = datetime.now(UTC) - timedelta(**{unit: int(match[1])}), [], []
    for one in running(place, everyone=everyone):
        if one.since <= before:
            try:
                KINDS[one.kind][-1](place, one.name)
                ended.append(f"ended {one}")
            except InputError as error:
                failed.append(str(error))
    if failed:
        raise InputError("; ".join([*ended, *failed]))
    return ended


@aws_errors()
def stop(place: Place, name: str) -> str:
    """Stop a job, or a search with its trials; return its status.

    A job gets SIGTERM, and SIGKILL two minutes later; its checkpoints stay. Of one that has ended
    by itself, which AWS refuses to stop, only the status is returned.
    """
    client = place.client("sagemaker")
    try:
        client.stop_training_job(TrainingJobName=name)
    except ClientError as refused:
        try:
            status = client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
        except ClientError:  # there is no such job
            return _stop_search(place, name)
        if status == "InProgress":
            raise refused from None
        if status != "Stopping":
            print(f"job {name} is {status} already")
            return status
    return training.wait(place, name, logs=False)


def _stop_search(place: Place, name: str) -> str:
    place.client("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return "Stopping"


# Kind -> how to list it, where the list stands, its name there, which of them cost, its end.
KINDS: dict[str, tuple[str, str, str, dict, Callable]] = {
    "endpoint": ("list_endpoints", "Endpoints", "EndpointName", {}, endpoint.delete),
    "search": (
        "list_hyper_parameter_tuning_jobs", "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName", {"StatusEquals": "InProgress"}, _stop_search,
    ),
    "job": (
        "list_training_jobs", "TrainingJobSummaries", "TrainingJobName",
        {"StatusEquals": "InProgress"}, stop,
    ),
}  # fmt: skip
