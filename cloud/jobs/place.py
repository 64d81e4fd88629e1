"""Where the work is done: an AWS account, or this machine in a rehearsal."""

import atexit
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from errno import ENOSPC
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from mnist_utils.command import Stop
from mnist_utils.errors import InputError

SDK = "3.27"
PROJECT = "mnist"  # what every name, key and tag begins with
ATTEMPTS = 10  # at a call that AWS throttles, with pauses of up to 20 seconds
# The framework's name and version, by what the image is for.
IMAGES = {"training": ("pytorch", "2.10.0"), "inference": ("pytorch", "2.6.0")}


@dataclass
class Place:
    """Where the work is done: an AWS account and region, or this machine; `close` leaves it."""

    session: object
    role: str
    bucket: str
    region: str
    owner: str
    rehearsal: object | None = None
    stack: ExitStack = field(default_factory=ExitStack)
    clients: dict = field(default_factory=dict)
    told: dict = field(default_factory=dict)  # which changes of a job's status `wait` has told

    def close(self) -> None:
        """End a rehearsal, and all that runs in it; on AWS there is nothing to end."""
        self.stack.close()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def prefix(self) -> str:
        """What every name and S3 key of this owner begins with, as a student's policy asks."""
        return f"{PROJECT}-{self.owner}"

    @property
    def s3(self) -> str:
        """The folder of all we store."""
        return f"s3://{self.bucket}/{self.prefix}"

    def tags(self, **more: str) -> list[dict[str, str]]:
        """Whose a thing is, for the bill and for whoever tidies up."""
        named = {"project": PROJECT, "owner": self.owner} | more
        return [{"Key": key, "Value": value} for key, value in named.items()]

    def client(self, service: str):
        """A boto3 client of this place, made once."""
        if service not in self.clients:
            self.clients[service] = self.session.boto_session.client(service)
        return self.clients[service]


def connect(
    *, rehearse: bool = False, role: str | None = None, bucket: str | None = None,
    region: str | None = None, owner: str | None = None, namespace: bool | None = None,
) -> Place:  # fmt: skip
    """Open the place to work in.

    Role, bucket and region not given come from the usual AWS configuration, or from Studio. So does
    `owner`, whose names and tags all that is made carries: Studio's profile, else the name you
    signed in with. The SDK's reports to AWS of what you call, and how it failed, stay off unless
    its own defaults file sets `TelemetryOptOut`.

    Raises
    ------
    InputError
        No credentials, region or role, or another SDK; the message says what to do.
    """
    _check_sdk()
    with ExitStack() as stack:
        stage = None
        if rehearse:
            from cloud import rehearsal

            stage = stack.enter_context(rehearsal.rehearse(namespace=namespace))
            print(rehearsal.UNPROVEN)
        with to_its_end():
            import boto3
            from sagemaker.core.helper.session_helper import Session

        for name in ("sagemaker", "sagemaker.config", "botocore", "boto3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        boto_session = boto3.Session(region_name=region)
        # A class shares AWS's limits on calls, and a wait must survive "Rate exceeded".
        boto_session._session.set_config_variable("retry_mode", "standard")
        boto_session._session.set_config_variable("max_attempts", ATTEMPTS)
        if boto_session.get_credentials() is None:
            raise InputError(
                "no AWS credentials: run `aws configure` or open this in SageMaker Studio; or "
                "rehearse on this machine, without an account: --rehearse, REHEARSE = True"
            )
        if boto_session.region_name is None:
            raise InputError("no AWS region: pass --region us-east-1, or set AWS_DEFAULT_REGION")
        # The SDK's own check of a role asks for what only jobs in a VPC need; AWS checks anyway.
        os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
        with aws_errors():
            session = Session(boto_session=boto_session, default_bucket=bucket)
            session.sagemaker_config.setdefault("SchemaVersion", "1.0")
            modules = session.sagemaker_config
            for key in ("SageMaker", "PythonSDK", "Modules"):
                modules = modules.setdefault(key, {})
            modules.setdefault("TelemetryOptOut", True)
            role = role or os.environ.get("SAGEMAKER_ROLE") or _own_role(session)
            bucket = session.default_bucket()
            owner = _owner(session, owner)
        place = Place(session, role, bucket, session.boto_region_name, owner, stage)
        place.stack = stack.pop_all()
        atexit.register(place.close)  # a notebook's kernel may end before its last cell
        return place


def _own_role(session) -> str:
    """The role of these credentials, if SageMaker could take it on."""
    from sagemaker.core.helper.session_helper import get_execution_role

    try:
        role = get_execution_role(session)
    except ValueError:
        role = "a user"
    if role == "a user" or "/aws-reserved/" in role:  # of the Identity Center: `aws sso login`
        raise InputError(
            f"these credentials are {role}'s, which no job can take on: name a role that "
            "SageMaker may assume, --role arn:aws:iam::ACCOUNT:role/NAME or SAGEMAKER_ROLE"
        )
    return role


def _owner(session, given: str | None) -> str:
    """Small letters and digits, at most 16: with it a search's name has the 32 that AWS allows."""
    from sagemaker.core.helper import session_helper

    name = given or os.environ.get("MNIST_OWNER")
    if not name:
        with suppress(OSError, ValueError):
            studio = json.loads(Path(session_helper.NOTEBOOK_METADATA_FILE).read_text())
            name = studio.get("UserProfileName") or studio.get("SpaceName")
    if not name:
        caller = session.boto_session.client("sts").get_caller_identity()["Arn"]
        name = re.split("[:/]", caller)[-1]
    if not (owner := re.sub("[^a-z0-9]", "", name.lower())[:16]):
        raise InputError(f"owner {name!r} has no letter from a to z and no digit; pass --owner")
    return owner


def _check_sdk() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("sagemaker")
    except PackageNotFoundError:
        raise InputError(f"sagemaker is not installed: `pip install 'sagemaker~={SDK}'`") from None
    if tuple(map(int, installed.split(".")[:2])) < tuple(map(int, SDK.split("."))):
        raise InputError(
            f"sagemaker {installed} lacks ModelTrainer.train(dry_run=…), and its jobs refresh with "
            "the "
            f"default credentials: this needs {SDK} (Studio's image has 3.12); `pip install "
            f"'sagemaker~={SDK}'` in a kernel of its own, not over Studio's"
        )


def image_of(place: Place, scope: str, instance_type: str) -> str:
    """The address of AWS's container image for "training" or "inference" on a machine."""
    from sagemaker.core import image_uris

    framework, version = IMAGES[scope]
    return image_uris.retrieve(
        framework, place.region, version=version, instance_type=instance_type, image_scope=scope
    )


def needs_toolkit(what: str, *pins: str) -> None:
    """Raise InputError where AWS's toolkit that rehearses `what` is not installed.

    They are source packages, one of them in C: Studio's overlay and machines without a compiler go
    without.
    """
    missing = []
    for pin in pins:
        try:
            distribution(pin.split("==")[0])
        except PackageNotFoundError:
            missing.append(pin)
    if missing:
        raise InputError(
            f"the rehearsal of {what} runs AWS's own toolkit, which is not installed here: "
            f"`pip install {' '.join(missing)}`"
        )


@contextmanager
def to_its_end() -> Iterator[None]:
    """Context in which Ctrl-C waits until the SDK is done: it would swallow it, or go on halved.

    A second Ctrl-C does not wait.
    """
    with Stop() as stop:
        yield
    stop.check()


@contextmanager
def aws_errors() -> Iterator[None]:
    """The one door for what AWS, its libraries or the disk refuse: bad input, told in one line."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        if re.search("AccessDenied|Forbidden|not authorized", f"{told} {error}"):
            told += "; the least permissions are in cloud/jobs/iam"
        raise InputError(told) from None


LIBRARIES = {"boto3", "botocore", "s3transfer", "sagemaker", "pydantic_core"}


def _told(error: Exception) -> str | None:
    """One line of what a library says; None if the error is our own, and so a bug."""
    if isinstance(error, OSError) and error.errno:
        where = f": {error.filename}" if error.filename else ""
        full = "; free some, or set TMPDIR to a larger disk" if error.errno == ENOSPC else ""
        return f"{error.strerror}{where}{full}"
    if type(error).__module__.split(".")[0] not in LIBRARIES:
        return None
    response = getattr(error, "response", None) or {}
    text = response.get("OriginalMessage") or response.get("Error", {}).get("Message") or error
    first = (str(text).strip().splitlines() or [type(error).__name__])[0]
    return f"{error.operation_name}: {first}" if hasattr(error, "operation_name") else first
