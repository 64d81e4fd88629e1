"""The four functions of the endpoint, called as the container calls them."""

import io
import json
import pickle

import numpy as np
import pytest
import torch
from networks import npy, png

from cloud.serve import handlers
from cloud.serve.handlers import JSON, NPY, PNG, BadRequest
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate


def test_a_thousand_digits_get_the_labels_of_local_evaluation(model, digits, test_split):
    images = handlers.input_fn(npy(digits), NPY)
    body, kind = handlers.output_fn(handlers.predict_fn(images, model), JSON)
    answer = json.loads(body)
    local = evaluate(model, test_split.take(slice(1000)))
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
    images = handlers.input_fn(body, kind)
    assert images.shape == (2, 1, 28, 28)
    expected = torch.from_numpy(digits[:2].reshape(2, 1, 28, 28) / np.float32(255))
    assert torch.allclose(images, expected, atol=1e-3 if dtype == np.float16 else 1e-7)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_is_the_same_digit(digits, channels):
    pixels = digits[0] if channels == 1 else np.stack([digits[0]] * channels, axis=-1)
    if channels == 4:
        pixels[..., 3] = 255  # as a browser's canvas saves it
    assert torch.equal(handlers.input_fn(png(pixels), PNG), handlers.input_fn(npy(digits[:1]), NPY))


def test_every_digit_of_mnist_is_light_enough_and_no_negative_of_one_is(train_split, test_split):
    for split in (train_split, test_split):
        ink = split.images.flatten(1).float().mean(dim=1) / 255
        assert ink.max() < 0.4 < handlers.MOST_INK < 0.6 < (1 - ink).min()


def test_one_digit_and_named_instances(digits):
    one = handlers.input_fn(npy(digits[0]), NPY)
    named = handlers.input_fn(json.dumps({"instances": digits[:1].tolist()}), JSON)
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
    (b"P5", "image/x-pgm", "Content-Type 'image/x-pgm' is not one of"),
    (b"", None, "Content-Type 'none' is not one of"),
]


@pytest.mark.parametrize(("body", "kind", "words"), UNUSABLE, ids=[row[2] for row in UNUSABLE])
def test_an_unusable_request_is_told_what_is_wrong(body, kind, words):
    with pytest.raises(BadRequest) as refused:
        handlers.input_fn(body, kind)
    assert words in refused.value.message
    assert 400 <= refused.value.status_code < 500


def test_answers_come_as_json_or_npy_and_in_no_other_way():
    probabilities = torch.eye(10)[[3, 7]]
    body, kind = handlers.output_fn(probabilities, NPY)
    assert kind == NPY
    assert np.array_equal(np.load(io.BytesIO(body)), probabilities.numpy())
    for accept in ("*/*", "text/html, application/*;q=0.9", "", None):
        assert json.loads(handlers.output_fn(probabilities, accept)[0])["labels"] == [3, 7]
    with pytest.raises(BadRequest, match="Accept 'text/csv' is not one of"):
        handlers.output_fn(probabilities, "text/csv")


def test_weights_that_are_missing_or_pickled_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        handlers.model_fn(tmp_path)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        handlers.model_fn(tmp_path)
