"""An endpoint's container, rehearsed: SageMaker's own handler toolkit behind a small HTTP server.

Started by `rehearsal` as a script, not as a module: it must see the `mnist_utils` packed into
model.tar.gz, not this one. It answers `GET /ping` and `POST /invocations` on loopback, prints its
port, and ends when its standard input closes, that is, with whoever started it.
"""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Context:
    """What TorchServe and multi-model-server hand to the toolkit with each request."""

    def __init__(self, model_dir: str, headers: dict | None = None):
        self.system_properties = {"model_dir": model_dir, "gpu_id": None}
        self.request_processor, self.model_name = [self], "model"
        self.headers, self.status, self.content_type = headers or {}, 200, "text/plain"

    def get_request_properties(self) -> dict:
        return self.headers

    def set_response_status(self, code: int, phrase: str = "", index: int = 0) -> None:
        self.status = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_type = value


def serve(model_dir: str) -> None:
    """Load the model, then answer until the end."""
    from sagemaker_pytorch_serving_container.handler_service import HandlerService

    service, one_at_a_time = HandlerService(), threading.Lock()
    service.initialize(Context(model_dir))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(200 if self.path == "/ping" else 404, "text/plain", b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            context = Context(model_dir, dict(self.headers))
            with one_at_a_time:  # as one worker of TorchServe
                (result,) = service.handle([{"body": body}], context)
            content = result.encode() if isinstance(result, str) else bytes(result)
            self.answer(context.status, context.content_type, content)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.path[0] = os.path.join(sys.argv[1], "code")
    serve(sys.argv[1])
