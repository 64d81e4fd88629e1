"""The four functions SageMaker's PyTorch container calls, which serve digits over HTTP.

`model_fn` once; then, for each request, `input_fn`, `predict_fn`, `output_fn`. What a caller sends
is a caller's: every fault of it raises `BadRequest`, which names the fault, and the server goes on.
"""

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mnist_utils import data, layers, weights
from mnist_utils.errors import InputError

JSON, NPY, PNG = "application/json", "application/x-npy", "image/png"
MAX_BYTES = 6 * 1024**2  # a real-time request's limit on SageMaker: 8,000 digits as npy
MOST_DIGITS = 10_000
MOST_INK = 0.5  # mean of a digit: MNIST's 70,000 have 0.398 at most, their negatives 0.602 at least

try:
    from sagemaker_inference import content_types, transformer
    from sagemaker_inference.errors import BaseInferenceToolkitError as _ToolkitError
except ImportError:  # not in a container of SageMaker's toolkit
    _ToolkitError = Exception
else:  # by itself the toolkit answers what is no UTF-8 with 500, and every fault with a traceback
    content_types.UTF8_TYPES = [kind for kind in content_types.UTF8_TYPES if kind != JSON]

    def _answer(context, error, trace: str) -> list[str]:
        context.set_response_status(code=error.status_code, phrase=error.phrase)
        if isinstance(error, BadRequest):
            return [error.message]
        print(trace, file=sys.stderr, flush=True)
        return ["the server failed; its log says why"]

    transformer.Transformer.handle_error = staticmethod(_answer)


class BadRequest(InputError, _ToolkitError):
    """The request is unusable; `message` says why, `status_code` is HTTP's."""

    def __init__(self, message: str, status_code: int = 400):
        Exception.__init__(self, message)
        self.status_code, self.message, self.phrase = status_code, message, "Bad Request"


def model_fn(model_dir: str | Path) -> nn.Module:
    """The network of `model_dir/model.safetensors`, on the GPU if there is one; no pickle."""
    model = layers.prepared(weights.load_network(Path(model_dir) / "model.safetensors"))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def input_fn(body: bytes | bytearray | str, content_type: str = JSON) -> Tensor:
    """Floats 0..1 `(N, 1, 28, 28)` from a request's body.

    Parameters
    ----------
    body : bytes or str
        npy bytes, or JSON: nested lists, or an object with them under `instances`. One digit
        `(28, 28)`, or several: `(N, 28, 28)` or `(N, 1, 28, 28)`. Whole numbers are grey levels
        0..255; decimals are fractions of white 0..1. Or a PNG of 28 x 28 pixels. Light on dark.
    content_type : str
        `application/json`, `application/x-npy` or `image/png`.

    Raises
    ------
    BadRequest
        The body is not that; the message says what it is.
    """
    if len(body) > MAX_BYTES:
        raise BadRequest(
            f"the body has {len(body):,} bytes; at most {MAX_BYTES:,} fit a request, send fewer "
            "digits at a time",
            413,
        )
    kind = (content_type or "none").split(";")[0].strip().lower()
    if kind == JSON:
        array = _from_json(body)
    elif kind == NPY:
        array = _from_npy(body)
    elif kind == PNG:
        array = _from_png(body)
    else:
        raise BadRequest(f"Content-Type {kind!r} is not one of {JSON}, {NPY}, {PNG}", 415)
    return torch.from_numpy(_fractions(_digits(array)))


@torch.inference_mode()
def predict_fn(images: Tensor, model: nn.Module) -> Tensor:
    """Probabilities `(N, 10)` on the CPU; standardised exactly as in training."""
    images = data.standardize_fractions(images.to(next(model.parameters()).device))
    return torch.cat([model(chunk) for chunk in images.split(1000)]).float().exp().cpu()


def output_fn(probabilities: Tensor, accept: str = JSON) -> tuple[bytes, str]:
    """(body, content type): JSON `{"labels": …, "probabilities": …}`, or the latter as npy."""
    kinds = [part.split(";")[0].strip().lower() for part in (accept or JSON).split(",")]
    if {JSON, "*/*", "application/*"} & set(kinds):
        labels = probabilities.argmax(dim=1).tolist()
        answer = {"labels": labels, "probabilities": probabilities.tolist()}
        return json.dumps(answer).encode(), JSON
    if NPY in kinds:
        buffer = io.BytesIO()
        np.save(buffer, probabilities.numpy())
        return buffer.getvalue(), NPY
    raise BadRequest(f"Accept {accept!r} is not one of {JSON}, {NPY}", 406)


def _from_json(body) -> np.ndarray:
    lists = body.count("[" if isinstance(body, str) else b"[")
    if lists > 30 * MOST_DIGITS:  # a digit is 28 lists in one or two; millions take seconds to read
        raise BadRequest(f"{lists:,} lists; send at most {MOST_DIGITS:,} digits at a time")
    try:
        content = json.loads(body)
    except UnicodeDecodeError:
        raise BadRequest(f"the body is not UTF-8 text, so no JSON; is it {NPY}?") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not whole JSON: {error}") from None
    if isinstance(content, dict):
        if "instances" not in content:
            raise BadRequest(f"the JSON object has no 'instances', only {sorted(content)[:5]}")
        content = content["instances"]
    try:
        return np.asarray(content)
    except (ValueError, OverflowError):
        raise BadRequest("the lists differ in length; a digit is 28 lists of 28 numbers") from None


def _from_npy(body) -> np.ndarray:
    if isinstance(body, str):
        raise BadRequest(f"the body is text, not {NPY}")
    if not bytes(body[:6]) == b"\x93NUMPY":
        raise BadRequest(f"the body does not begin as {NPY} does; is it {JSON}?")
    try:
        return np.lib.format.read_array(io.BytesIO(body), allow_pickle=False)
    except (ValueError, TypeError, EOFError, MemoryError, OverflowError, SyntaxError) as error:
        raise BadRequest(f"the npy body is damaged or holds objects: {error}") from None


def _from_png(body) -> np.ndarray:
    from PIL import Image  # torchvision brings it into the image

    try:
        with Image.open(io.BytesIO(body), formats=["PNG"]) as image:
            if image.size != (28, 28):  # read off the header: nothing larger is unpacked
                raise BadRequest(f"the PNG is {image.width} x {image.height}, not 28 x 28 pixels")
            if image.mode.startswith("I"):
                raise BadRequest("the PNG has 16 bits a pixel; save it with 8")
            if image.convert("RGBA").getextrema()[3][0] < 255:
                raise BadRequest("the PNG is transparent in places; fill them before you send it")
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, TypeError) as error:
        raise BadRequest(f"the body is not a whole PNG: {error}") from None


def _digits(array: np.ndarray) -> np.ndarray:
    """Reshape to `(N, 1, 28, 28)`, or say what is wrong with the shape."""
    shape = array.shape
    if array.dtype.kind not in "iuf":
        raise BadRequest(f"the values are {array.dtype}, not numbers")
    if shape == (28, 28):
        return array.reshape(1, 1, 28, 28)
    if array.size == 0:
        raise BadRequest(f"the batch is empty: shape {shape}")
    if len(shape) == 3 and shape[1:] == (28, 28):
        return array[:, None]
    if len(shape) == 4 and shape[1:] == (1, 28, 28):
        return array
    if len(shape) == 4 and 3 in (shape[1], shape[3]):
        raise BadRequest(f"shape {shape} has 3 channels; a digit has 1: send grey levels")
    raise BadRequest(f"shape {shape} is not (28, 28), (N, 28, 28) or (N, 1, 28, 28)")


def _fractions(array: np.ndarray) -> np.ndarray:
    """Float32 in 0..1 from whole numbers 0..255 or decimals 0..1."""
    whole = array.dtype.kind in "iu"
    low, high = array.min(), array.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int((~np.isfinite(array)).any(axis=(1, 2, 3)).argmax())
        raise BadRequest(f"digit {bad} holds NaN or infinity")
    if low < 0 or high > (255 if whole else 1):
        expected = "whole numbers must lie in 0..255" if whole else "decimals must lie in 0..1"
        raise BadRequest(f"the values span {low} to {high}; {expected}")
    if whole and (dark := array.max(axis=(1, 2, 3)) <= 1).any():
        raise BadRequest(
            f"digit {int(dark.argmax())} holds whole numbers of 0 and 1 alone, which are grey "
            "levels of 0..255, so nearly black; send 0..255, or decimals 0.0..1.0"
        )
    result = array.astype(np.float32) / np.float32(255) if whole else array.astype(np.float32)
    ink = result.mean(axis=(1, 2, 3))
    if (inverted := ink > MOST_INK).any():
        first = int(inverted.argmax())
        raise BadRequest(
            f"digit {first} is dark on light, as on paper: on average {ink[first]:.0%} of white; "
            "MNIST's digits are light on dark, so send 255 - levels, or 1 - fractions"
        )
    return result
