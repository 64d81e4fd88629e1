"""The page reads digits as PyTorch does, and makes a drawing the digit that MNIST would have."""

import os
from base64 import b64decode

import numpy as np
import torch

from classroom.lab.design import base64, rows_of, weights_of
from mnist_utils import results
from mnist_utils.evaluate import predict

DIGITS = int(os.environ.get("DIGITS", 1_000))  # DIGITS=10000 pytest … for all of the test set
READ = """([rows, weights, digits], lab) => {
  const tensors = lab.readWeights(rows, lab.floats(weights)), pixels = lab.bytes(digits), all = [];
  for (let at = 0; at < pixels.length; at += 784) {
    const digit = Float32Array.from(pixels.subarray(at, at + 784), (v) => v / 255);
    const logits = lab.forward(rows, tensors, lab.standardised(digit)).maps.at(-1);
    all.push(...lab.softmax(logits).map(Math.log));
  }
  return lab.base64(Float32Array.from(all));
}"""


def test_a_digit_is_read_as_torch_reads_it(test_split, javascript):
    network = results.network("reference").eval()
    images = test_split.images[:DIGITS]
    given = [rows_of(network), base64(weights_of(network)), base64(images.numpy())]
    ours = np.frombuffer(b64decode(*javascript(READ, [given])), np.float32).reshape(-1, 10)
    theirs = predict(network, images).numpy()
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    assert np.abs(ours - theirs).max() < 1e-4


REDRAWN = """([digits, places, prepare], lab) => {
  const pixels = lab.bytes(digits), side = 280, made = [];
  places.forEach(([down, right], n) => {
    const ink = new Float32Array(side * side);
    for (let r = 0; r < 196; r++) for (let q = 0; q < 196; q++) {
      const pixel = pixels[n * 784 + Math.floor(r / 7) * 28 + Math.floor(q / 7)];
      ink[(r + down) * side + q + right] = pixel / 255;
    }
    made.push(...lab.toDigit(ink, side, prepare).map((v) => Math.round(255 * v)));
  });
  return lab.base64(Uint8Array.from(made));
}"""


def test_a_digit_drawn_large_and_aside_comes_back_and_raw_it_is_read_much_worse(
    train_split, javascript
):
    """Digits held out, and the same drawn seven times as large, anywhere on the sheet; and raw."""
    split = train_split.take(slice(59_800, 60_000))
    places = np.random.default_rng(0).integers(0, 280 - 196, (len(split), 2)).tolist()
    given = [[base64(split.images.numpy()), places, prepare] for prepare in (True, False)]
    made = [np.frombuffer(b64decode(text), np.uint8) for text in javascript(REDRAWN, given)]
    prepared, raw = (torch.from_numpy(m.reshape(-1, 28, 28).copy()) for m in made)
    difference = (prepared.int() - split.images.int()).abs().float().mean((1, 2))  # of 255
    assert (difference == 0).float().mean() > 0.95  # the others by one pixel's rounding
    read = [predict(results.network("reference").eval(), images) for images in (prepared, raw)]
    wrong = [int((answers.argmax(1) != split.labels).sum()) for answers in read]
    assert wrong[0] < 5 < 40 < wrong[1]
    (answer,) = javascript("(side, lab) => lab.toDigit(new Float32Array(side * side), side)", [280])
    assert answer is None  # a sheet without ink
