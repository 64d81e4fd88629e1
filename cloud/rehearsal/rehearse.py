"""SageMaker rehearsed on this machine: the real SDK, no account, no Docker, no network.

moto answers the SDK's HTTP requests on loopback. What moto only pretends is made real here: our
policy judges each call; a training job runs the driver scripts that the SDK staged, or the image's
own toolkit, and leaves its artifact in (moto's) S3; a stop and a limit reach it; an endpoint serves
its model through the container's own handler toolkit. `patches` lists what all this hides.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from cloud.rehearsal import loopback, patches
from cloud.rehearsal.stage import REGION, Stage
from mnist_utils.command import Stop
from mnist_utils.errors import InputError

UNPROVEN = (
    "This is a rehearsal: nothing leaves this machine and nothing costs money. It cannot prove "
    "what only AWS has: CUDA, your role and quotas, image pulls, real spot capacity and prices."
)


@contextmanager
def rehearse(*, namespace: bool | None = None) -> Iterator[Stage]:
    """Context in which SageMaker is this machine; afterwards nothing of it is left.

    Parameters
    ----------
    namespace : bool, optional
        Show jobs a true `/opt/ml`, in a mount namespace of their own. Default: if the kernel
        allows. Otherwise `/opt/ml` is rewritten in the driver scripts to a temporary folder.
    """
    if os.environ.get("AWS_SECRET_ACCESS_KEY") == "rehearsal":
        raise InputError("a rehearsal is under way in this process; close it first")
    if os.name == "nt":
        raise InputError(
            "a rehearsal runs its containers as Linux or macOS processes; on Windows, use WSL"
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        stack.enter_context(mock.patch.dict(os.environ))
        stack.enter_context(loopback.only())
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # it prints every request
        server.start()
        stack.callback(server.stop)
        stack.callback(patches.forget)
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        stage = Stage(endpoint, folder, namespace)
        stack.callback(stage.close)
        loopback.isolate(os.environ, endpoint, folder, REGION)
        with Stop() as stop:  # Ctrl-C while it is imported breaks the SDK
            patches.patch_sdk(stack, stage)
            patches.patch_moto(stack, stage)
            patches.forget()
        stop.check()
        yield stage
