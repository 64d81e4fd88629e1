"""The endpoint's four functions behind Ray Serve, which AWS names as TorchServe's successor.

The Ray Serve image wants in model.tar.gz a `config.yaml` that names this application:
`jobs.archive.pack` makes such an archive. The image turns `/invocations` into requests to `app`.
"""

import os

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from cloud.serve import handlers


@serve.deployment
class Digits:
    """One replica: a network in memory, asked over HTTP."""

    def __init__(self, model_dir: str):
        self.model = handlers.model_fn(model_dir)

    async def __call__(self, request: Request) -> Response:
        kind, accept = (request.headers.get(name) for name in ("content-type", "accept"))
        try:
            images = handlers.input_fn(await request.body(), kind)
            body, kind = handlers.output_fn(handlers.predict_fn(images, self.model), accept)
        except handlers.BadRequest as refusal:
            return Response(refusal.message, refusal.status_code, media_type="text/plain")
        return Response(body, media_type=kind)


app = Digits.bind(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
