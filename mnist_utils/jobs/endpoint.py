"""An endpoint: a model that answers over HTTP, and costs money until it is deleted."""

import io
import logging
import re
import time
from contextlib import suppress

import numpy as np

from mnist_utils.errors import InputError
from mnist_utils.jobs import archive
from mnist_utils.jobs.place import PREFIX, Place, aws_errors, image
from mnist_utils.jobs.prices import PRICES
from mnist_utils.jobs.training import artifact
from mnist_utils.serve import handlers


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
    from sagemaker.core.training.configs import SourceCode
    from sagemaker.serve import ModelBuilder

    uri = artifact(place, job)
    name = name or job
    if not name.startswith(f"{PREFIX}-"):
        raise InputError(f"name {name!r} must begin with {PREFIX}-: the policy allows no other")
    with suppress(place.client("sagemaker").exceptions.ClientError):
        place.client("sagemaker").describe_endpoint(EndpointName=name)
        raise InputError(f"endpoint {name} exists already; delete it, or choose another name")
    rate = PRICES.get(instance_type)
    dollars = f"${rate:.4g} an hour, ${24 * rate:.2f} a day, " if rate else ""
    print(f"{instance_type}: {dollars}until you delete it")
    try:
        with archive.serving_code() as code, archive.whole(uri), aws_errors():
            builder = ModelBuilder(
                s3_model_data_url=uri, role_arn=place.role,
                image_uri=image(place, "inference", instance_type),
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
