"""An endpoint: a model that answers over HTTP, and costs money until it is deleted."""

import io
import logging
import re
import secrets
import tempfile
import time
from contextlib import suppress

import numpy as np

from mnist_utils.errors import InputError
from mnist_utils.jobs import archive
from mnist_utils.jobs.place import PREFIX, Place, aws_errors, image_of, to_its_end
from mnist_utils.jobs.prices import PRICES
from mnist_utils.jobs.training import artifact
from mnist_utils.serve import handlers


def deploy(
    place: Place, job: str, name: str | None = None, *, instance_type: str = "ml.m5.large"
) -> str:
    """Create an endpoint for a job's model; return its name once it serves.

    Its name is `name`, or the job's, and eight digits of chance: no other's is touched. It costs
    money every second until `delete`, asked or not.

    Raises
    ------
    InputError
        The endpoint failed; the message is the reason. What was created is deleted again.
    """
    with to_its_end():
        from sagemaker.core.training.configs import SourceCode
        from sagemaker.serve import ModelBuilder

    uri = artifact(place, job)
    if not (name or job).startswith(f"{PREFIX}-"):
        raise InputError(f"name {name!r} must begin with {PREFIX}-: the policy allows no other")
    name = f"{(name or job)[:54]}-{secrets.token_hex(4)}"  # AWS allows 63
    _must_be_new(place, name)
    rate = PRICES.get(instance_type)
    dollars = f"${rate:.4g} an hour, ${24 * rate:.2f} a day, " if rate else ""
    print(f"{instance_type}: {dollars}until you delete it")
    try:
        with (
            archive.serving_code() as code, archive.whole(uri), aws_errors(),
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
                builder.build(model_name=name)
            with to_its_end():
                builder.deploy(endpoint_name=name, initial_instance_count=1, wait=False)
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
    with aws_errors():
        endpoint = Endpoint.get(
            endpoint_name=name, session=place.session.boto_session, region=place.region
        )
        for start in range(0, max(1, len(images)), batch_size):
            buffer = io.BytesIO()
            np.save(buffer, images[start : start + batch_size])
            answer = endpoint.invoke(
                body=buffer.getvalue(), content_type=handlers.NPY, accept=handlers.NPY
            )
            found.append(np.load(io.BytesIO(answer.body.read())))
    probabilities = np.concatenate(found)
    return {"labels": probabilities.argmax(axis=1), "probabilities": probabilities}


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
    again = f"`python -m mnist_utils.jobs delete {name}` tries again"
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
