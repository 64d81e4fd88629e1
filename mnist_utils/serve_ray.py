"""The endpoint's four functions behind Ray Serve, which AWS names as TorchServe's successor.

The Ray Serve image wants in model.tar.gz a `config.yaml` that names an application; `pack` makes
such an archive from a fetched model. The image turns `/invocations` into requests to `app`.
"""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from mnist_utils import artifact, inference

CONFIG = """\
applications:
  - name: digits
    route_prefix: /
    import_path: mnist_utils.serve_ray:app
"""


@serve.deployment
class Digits:
    """One replica: a network in memory, asked over HTTP."""

    def __init__(self, model_dir: str):
        self.model = inference.model_fn(model_dir)

    async def __call__(self, request: Request) -> Response:
        kind, accept = (request.headers.get(name) for name in ("content-type", "accept"))
        try:
            images = inference.input_fn(await request.body(), kind)
            body, kind = inference.output_fn(inference.predict_fn(images, self.model), accept)
        except inference.BadRequest as refusal:
            return Response(refusal.message, refusal.status_code, media_type="text/plain")
        return Response(body, media_type=kind)


app = Digits.bind(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))


def pack(model_dir: str | Path, archive: str | Path) -> None:
    """Write the model.tar.gz that the Ray Serve image serves: weights, source, configuration."""
    with tempfile.TemporaryDirectory() as folder, artifact.serving_code() as code:
        folder = Path(folder)
        shutil.copy(Path(model_dir, "model.safetensors"), folder)
        shutil.move(code / "mnist_utils", folder)
        (folder / "code").mkdir()
        shutil.copy(code / "requirements.txt", folder / "code")
        (folder / "config.yaml").write_text(CONFIG)
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
