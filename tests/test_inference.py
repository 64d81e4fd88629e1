"""The four functions of the endpoint, called as the container calls them."""

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch

from mnist_utils import evaluate, inference
from mnist_utils.errors import InputError
from mnist_utils.inference import JSON, NPY, BadRequest


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model():
    return inference.model_fn(evaluate.REFERENCE.parent)


@pytest.fixture(scope="module")
def digits(test_split):
    return test_split.images[:1000].numpy()


def test_a_thousand_digits_get_the_labels_of_local_evaluation(model, digits, test_split):
    images = inference.input_fn(npy(digits), NPY)
    body, kind = inference.output_fn(inference.predict_fn(images, model), JSON)
    answer = json.loads(body)
    local = evaluate.evaluate(model, test_split.take(slice(1000)))
    assert kind == JSON
    assert answer["labels"] == local.predictions.tolist()
    expected = local.log_probabilities.exp()
    assert torch.equal(torch.tensor(answer["probabilities"]), expected)


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 1, 28, 28)])
@pytest.mark.parametrize("kind", [JSON, NPY, "Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
def test_every_accepted_form_of_a_digit_is_the_same_digit(digits, shape, kind, dtype):
    whole = digits[:2].reshape(shape)
    array = whole if dtype == np.uint8 else (whole / 255).astype(dtype)
    body = npy(array) if kind == NPY else json.dumps(array.tolist()).encode()
    images = inference.input_fn(body, kind)
    assert images.shape == (2, 1, 28, 28)
    expected = torch.from_numpy(digits[:2].reshape(2, 1, 28, 28) / np.float32(255))
    assert torch.allclose(images, expected, atol=1e-3 if dtype == np.float16 else 1e-7)


def test_one_digit_and_named_instances(digits):
    one = inference.input_fn(npy(digits[0]), NPY)
    named = inference.input_fn(json.dumps({"instances": digits[:1].tolist()}), JSON)
    assert one.shape == (1, 1, 28, 28)
    assert torch.equal(one, named)


BLACK = np.zeros((28, 28))
UNUSABLE = [
    (npy(np.full((2, 28, 28), np.nan)), NPY, "digit 0 holds NaN or infinity"),
    (json.dumps([BLACK.tolist(), np.full((28, 28), np.inf).tolist()]), JSON, "digit 1 holds NaN"),
    (npy(BLACK + 1.5), NPY, "decimals must lie in 0..1"),
    (npy((BLACK - 1).astype(int)), NPY, "whole numbers must lie in 0..255"),
    (json.dumps((BLACK.astype(int) + 256).tolist()), JSON, "span 256 to 256"),
    (npy(np.zeros((3, 28, 28, 3))), NPY, "has 3 channels"),
    (npy(np.zeros((1, 3, 28, 28))), NPY, "has 3 channels"),
    (npy(np.zeros((0, 28, 28))), NPY, "the batch is empty"),
    (b"[]", JSON, "the batch is empty"),
    (npy(np.zeros((27, 28))), NPY, r"shape (27, 28) is not (28, 28), (N, 28, 28)"),
    (npy(np.zeros(784)), NPY, r"shape (784,) is not"),
    (b"3", JSON, "shape () is not"),
    (b"[[0, 1], [0]]", JSON, "the lists differ in length"),
    (json.dumps([["a"] * 28] * 28), JSON, "not numbers"),
    (json.dumps([[True] * 28] * 28), JSON, "the values are bool"),
    (b"null", JSON, "not numbers"),
    (json.dumps([BLACK.tolist()])[:-9].encode(), JSON, "not whole JSON"),
    (b"", JSON, "not whole JSON"),
    (b"[" * 200_000, JSON, "not whole JSON"),
    (npy(BLACK), JSON, "not UTF-8 text"),
    (b'{"digits": []}', JSON, "no 'instances', only ['digits']"),
    (npy(BLACK)[:-100], NPY, "damaged"),
    (npy(BLACK)[:20], NPY, "damaged"),
    (b"[[0]]", NPY, "does not begin as application/x-npy does"),
    (pickle.dumps(BLACK), NPY, "does not begin as application/x-npy does"),
    (npy(np.array([[print]])), NPY, "damaged or holds objects"),
    (bytes(100 * 1024**2), NPY, "104,857,600 bytes; at most 6,291,456"),
    (b"P5", "image/png", "Content-Type 'image/png' is not one of"),
    (b"", None, "Content-Type 'none' is not one of"),
]


@pytest.mark.parametrize(("body", "kind", "words"), UNUSABLE, ids=[row[2] for row in UNUSABLE])
def test_an_unusable_request_is_told_what_is_wrong(body, kind, words):
    with pytest.raises(BadRequest) as refused:
        inference.input_fn(body, kind)
    assert words in refused.value.message
    assert 400 <= refused.value.status_code < 500


def test_answers_come_as_json_or_npy_and_in_no_other_way():
    probabilities = torch.eye(10)[[3, 7]]
    body, kind = inference.output_fn(probabilities, NPY)
    assert kind == NPY
    assert np.array_equal(np.load(io.BytesIO(body)), probabilities.numpy())
    for accept in ("*/*", "text/html, application/*;q=0.9", "", None):
        assert json.loads(inference.output_fn(probabilities, accept)[0])["labels"] == [3, 7]
    with pytest.raises(BadRequest, match="Accept 'text/csv' is not one of"):
        inference.output_fn(probabilities, "text/csv")


def test_weights_that_are_missing_or_pickled_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        inference.model_fn(tmp_path)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        inference.model_fn(tmp_path)


def test_the_server_loads_nothing_it_does_not_need():
    heavy = ["sagemaker", "albumentations", "matplotlib", "mlflow", "boto3"]
    heavy += ["ray", "moto"]
    code = f"import sys, mnist_utils.inference; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


# --- the same four functions behind Ray Serve ---------------------------------------------------


RAY_SERVE = """\
import importlib, sys, ray, yaml
from ray import serve

port, temporary = sys.argv[1:]
application = yaml.safe_load(open("config.yaml"))["applications"][0]
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=10**8, _temp_dir=temporary)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
module, name = application["import_path"].split(":")
serve.run(getattr(importlib.import_module(module), name), route_prefix=application["route_prefix"])
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


@pytest.fixture
def ray_endpoint(tmp_path):
    """The Ray Serve archive, unpacked and served by Ray itself; its URL."""
    pack = "import sys; from mnist_utils import serve_ray; serve_ray.pack(*sys.argv[1:])"
    archive = tmp_path / "model.tar.gz"
    subprocess.run([sys.executable, "-c", pack, evaluate.REFERENCE.parent, archive], check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "model"),  # the archive's source, not the repository's
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    log = tmp_path / "log"
    with (
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as temporary,  # sockets: short paths
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", RAY_SERVE, str(port), temporary],
            cwd=tmp_path / "model", env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        ) as server,
    ):  # fmt: skip
        timer = threading.Timer(600, server.kill)
        timer.start()
        assert any(line == "ready\n" for line in server.stdout), log.read_text()
        yield f"http://127.0.0.1:{port}/"
        server.communicate("")
        timer.cancel()
        assert server.returncode == 0, log.read_text()


def test_ray_serve_answers_as_the_functions_do(ray_endpoint, digits, model):
    def ask(body, kind):
        return urlopen(Request(ray_endpoint, body, {"Content-Type": kind}), timeout=60)

    with ask(npy(digits[:1000]), NPY) as answer:
        labels = json.load(answer)["labels"]
    expected = inference.predict_fn(inference.input_fn(npy(digits[:1000]), NPY), model)
    assert labels == expected.argmax(dim=1).tolist()
    with pytest.raises(HTTPError, match="400") as refusal:
        ask(b"[[", JSON)
    assert b"not whole JSON" in refusal.value.read()
