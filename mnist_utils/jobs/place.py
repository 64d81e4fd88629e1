"""Where the work is done: an AWS account, or this machine in a rehearsal."""

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from mnist_utils.command import Stop
from mnist_utils.errors import InputError

SDK = "3.27"
PREFIX = "mnist"  # of every name and every S3 key
# The framework's name and version, by what the image is for.
IMAGES = {"training": ("pytorch", "2.10.0"), "inference": ("pytorch", "2.6.0")}


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
        with to_its_end():
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
        session = Session(boto_session=boto_session, default_bucket=bucket)
        try:
            with aws_errors():
                role = role or os.environ.get("SAGEMAKER_ROLE") or get_execution_role(session)
                bucket = session.default_bucket()
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


def image_of(place: Place, scope: str, instance_type: str) -> str:
    """The address of AWS's container image for "training" or "inference" on a machine."""
    from sagemaker.core import image_uris

    framework, version = IMAGES[scope]
    return image_uris.retrieve(
        framework, place.region, version=version, instance_type=instance_type, image_scope=scope
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
