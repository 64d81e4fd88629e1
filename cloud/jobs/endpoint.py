"""An endpoint: a model that answers over HTTP, and costs money until it is deleted."""

import io
import logging
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from cloud.jobs import archive
from cloud.jobs.place import Place, aws_errors, image_of, needs_toolkit, to_its_end
from cloud.jobs.prices import PRICES, QUOTED
from cloud.jobs.training import artifact
from cloud.serve import handlers
from mnist_utils.errors import InputError

# Of a serverless endpoint: what a new account has at most, and how many requests it works on.
MEMORY_MB, AT_ONCE = 3072, 5


@contextmanager
def serving(place: Place, job: str, **options) -> Iterator[str]:
    """Context with an endpoint, `deploy`'s, which is deleted however the context ends."""
    name = deploy(place, job, **options)
    try:
        yield name
    finally:
        kinds = [gone.split()[0] for gone in delete(place, name)]
        print(f"deleted: {', '.join(kinds) or 'nothing was left'}")


@aws_errors()
def deploy(
    place: Place, job: str, *, instance_type: str = "ml.m5.large", serverless: bool = False
) -> str:
    """Create an endpoint for a job's model; return its name once it serves.

    Its name is the owner's with eight digits of chance: no other's is touched. On an instance it
    costs money every second until `delete`, asked or not; `serverless`, only while it works.

    Raises
    ------
    InputError
        The endpoint failed; the message is the reason. What was created is deleted again.
    """
    with to_its_end():
        from sagemaker.core.inference_config import ServerlessInferenceConfig
        from sagemaker.core.training.configs import SourceCode
        from sagemaker.serve import ModelBuilder

    if place.rehearsal:
        needs_toolkit(
            "an endpoint", "sagemaker-inference==1.10.1", "sagemaker-pytorch-inference==2.0.25"
        )
    uri = artifact(place, job)
    name = f"{place.prefix}-{secrets.token_hex(4)}"
    _must_be_new(place, name)
    machine = {"initial_instance_count": 1, "instance_type": instance_type}
    if serverless:
        machine = {"inference_config": ServerlessInferenceConfig(MEMORY_MB, AT_ONCE)}
        print(f"serverless, {MEMORY_MB / 1024:g} GB: billed while it answers, and not in between")
    else:
        rate = PRICES.get(instance_type)
        dollars = f"${rate:.4g} an hour in {QUOTED}, ${24 * rate:.2f} a day, " if rate else ""
        print(f"{instance_type}: {dollars}until you delete it")
    try:
        with (
            archive.serving_code() as code, archive.whole(uri),
            tempfile.TemporaryDirectory() as folder,
        ):  # fmt: skip
            builder = ModelBuilder(
                s3_model_data_url=uri, role_arn=place.role, model_path=folder,
                image_uri=image_of(place, "inference", instance_type),
                source_code=SourceCode(source_dir=str(code), entry_script="inference.py"),
                sagemaker_session=place.session, instance_type=instance_type,
                log_level=logging.ERROR,
            )  # fmt: skip
            with to_its_end():
                builder.build(model_name=name, tags=place.tags(job=job))
            with to_its_end():
                builder.deploy(endpoint_name=name, wait=False, **machine)
            _in_service(place, name)
    except BaseException:
        delete(place, name)
        raise
    return name


# What an endpoint consists of: (kind, boto3's word for it, its argument).
PARTS = (
    ("endpoint", "endpoint", "EndpointName"),
    ("configuration", "endpoint_config", "EndpointConfigName"),
    ("model", "model", "ModelName"),
)


def _must_be_new(place: Place, name: str) -> None:
    """An existing model would be served instead, and an existing configuration deleted later."""
    client = place.client("sagemaker")
    for kind, word, argument in PARTS:
        with suppress(client.exceptions.ClientError):
            getattr(client, f"describe_{word}")(**{argument: name})
            raise InputError(f"{kind} {name} exists already; choose another name")


def _in_service(place: Place, name: str) -> None:
    client, told = place.client("sagemaker"), None
    while True:
        about = client.describe_endpoint(EndpointName=name)
        if (status := about["EndpointStatus"]) != told:
            print(f"endpoint: {status}", flush=True)
            told = status
        if status == "InService":
            return
        if status == "Failed":
            raise InputError(f"endpoint {name} failed: {about.get('FailureReason', 'no reason')}")
        time.sleep(0.5 if place.rehearsal else 10)


@aws_errors()
def invoke(place: Place, name: str, images, *, batch_size: int = 1000) -> dict[str, np.ndarray]:
    """Labels `(N,)` and probabilities `(N, 10)` of digits `(N, 28, 28)` from an endpoint.

    Raises
    ------
    InputError
        The endpoint refuses, or does not answer; the message is its own.
    """
    from sagemaker.core.resources import Endpoint

    images, answers = np.asarray(images), []
    endpoint = Endpoint.get(
        endpoint_name=name, session=place.session.boto_session, region=place.region
    )
    for start in range(0, max(1, len(images)), batch_size):
        buffer = io.BytesIO()
        np.save(buffer, images[start : start + batch_size])
        answer = endpoint.invoke(
            body=buffer.getvalue(), content_type=handlers.NPY, accept=handlers.NPY
        )
        answers.append(np.load(io.BytesIO(answer.body.read())))
    probabilities = np.concatenate(answers)
    return {"labels": probabilities.argmax(axis=1), "probabilities": probabilities}


@aws_errors()
def delete(place: Place, name: str) -> list[str]:
    """Delete an endpoint, its configuration and its model, whichever exist; return what went.

    AWS lets go of an endpoint only when it has been created, minutes after `deploy`: this waits.
    As long as the endpoint stays, configuration and model do, too.

    Raises
    ------
    InputError
        Something could not be deleted, and may cost money; the message says what and why.
    KeyboardInterrupt
        Ctrl-C while waiting; the message says what stays and how to delete it.
    """
    again = f"`python -m cloud.jobs delete {name}` tries again"
    try:
        _wait_while_creating(place, name)
    except KeyboardInterrupt as stop:
        raise type(stop)(f"endpoint {name} stays, and costs: {again}") from None
    client, gone = place.client("sagemaker"), []
    names = [name] * 3
    with suppress(client.exceptions.ClientError):  # one that failed early has no endpoint, or less
        names[1] = client.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    with suppress(client.exceptions.ClientError):
        about = client.describe_endpoint_config(EndpointConfigName=names[1])
        names[2] = about["ProductionVariants"][0]["ModelName"]
    for (kind, word, argument), value in zip(PARTS, names, strict=True):
        try:
            with aws_errors():
                getattr(client, f"delete_{word}")(**{argument: value})
            gone.append(f"{kind} {value}")
        except InputError as error:
            if not re.search("(?i)could not find|not exist|not found", str(error)):
                done = f" ({', '.join(gone)} went)" if gone else ""
                raise InputError(
                    f"not deleted, and may cost money: {kind} {value} ({error}){done}; {again}"
                ) from None
    return gone


def _wait_while_creating(place: Place, name: str) -> None:
    client, told = place.client("sagemaker"), False
    while True:
        try:
            status = client.describe_endpoint(EndpointName=name)["EndpointStatus"]
        except client.exceptions.ClientError:
            return  # it is not there, or not ours to see: deleting will tell
        if status not in ("Creating", "Updating"):
            return
        if not told:
            print(f"endpoint {name} is {status}, and can be deleted after that: waiting")
            told = True
        time.sleep(0.2 if place.rehearsal else 10)
