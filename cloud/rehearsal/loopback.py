"""No way out: an environment without AWS and proxies, and sockets that reach this machine only.

A rehearsal holds keys of nonsense, but a mistake must not send even those to anybody.
"""

import ipaddress
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

# For processes that need no network at all: a proxy where nobody listens.
DEAD_END = {
    "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
    "AWS_EC2_METADATA_DISABLED": "true", "MLFLOW_DISABLE_TELEMETRY": "true",
}  # fmt: skip


def isolate(
    environment: MutableMapping[str, str], endpoint: str, folder: Path, region: str
) -> None:
    """Point every AWS library at `endpoint`; hide the user's AWS settings, keys and proxies."""
    for name in list(environment):
        big = name.upper()
        if big.startswith(("AWS_", "SAGEMAKER_", "MLFLOW_")) or big.endswith("_PROXY"):
            del environment[name]
    (folder / "empty").touch()
    (folder / "sagemaker.yaml").write_text("{}\n")
    environment.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="rehearsal",
        AWS_SECRET_ACCESS_KEY="rehearsal",
        AWS_DEFAULT_REGION=region,
        AWS_REGION=region,
        AWS_CONFIG_FILE=str(folder / "empty"),
        AWS_SHARED_CREDENTIALS_FILE=str(folder / "empty"),
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
        SAGEMAKER_ADMIN_CONFIG_OVERRIDE=str(folder / "sagemaker.yaml"),
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(folder / "sagemaker.yaml"),
        MLFLOW_DISABLE_TELEMETRY="true",
    )


def is_here(host) -> bool:
    """Is this the name or the address of this machine's loopback?"""
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def only() -> Iterator[None]:
    """Context in which this process can look up and connect to loopback alone."""

    def guard(original, host_of):
        def call(*arguments, **options):
            host = host_of(*arguments)
            if not is_here(host):
                raise ConnectionRefusedError(f"a rehearsal does not talk to {host}")
            return original(*arguments, **options)

        return call

    def of_address(sock, address):
        return address[0] if isinstance(address, tuple) else None  # a path: a local socket

    patches = [
        mock.patch.object(socket.socket, name, guard(getattr(socket.socket, name), of_address))
        for name in ("connect", "connect_ex")
    ]
    lookup = guard(socket.getaddrinfo, lambda host, *_: host)
    with patches[0], patches[1], mock.patch.object(socket, "getaddrinfo", lookup):
        yield
