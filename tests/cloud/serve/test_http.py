"""Hostile requests over HTTP, through SageMaker's own toolkit, in an image without safetensors."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import psutil
import pytest
from networks import npy, png

from cloud.jobs import archive
from cloud.rehearsal import loopback, serving
from cloud.serve.handlers import JSON, NPY, PNG


@pytest.fixture(scope="module")
def process(model_dir, tmp_path_factory):
    """A server: the container's code beside the weights, in an image without safetensors."""
    folder = tmp_path_factory.mktemp("container")
    shutil.copy(model_dir / "model.safetensors", folder)
    with archive.serving_code() as code:
        shutil.copytree(code, folder / "code")
    assert not (folder / "code/requirements.txt").exists()
    (folder / "code/safetensors.py").write_text("raise ImportError('not in this image')\n")
    process = subprocess.Popen(
        [sys.executable, serving.__file__, str(folder)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"} | loopback.DEAD_END,
    )  # fmt: skip
    yield process
    process.stdin.close()
    process.wait(300)
    assert "Traceback" not in process.stderr.read()


@pytest.fixture(scope="module")
def server(process):
    """Its port."""
    line = process.stdout.readline()
    assert line.strip().isdigit(), process.stderr.read()
    return int(line)


def ask(port, body, kind=JSON, accept=JSON):
    headers = {"Content-Type": kind, "Accept": accept}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def header(shape: str, kind: str = "<f8", order: str = "False") -> bytes:
    """A .npy file of 784 numbers whose header says what it likes."""
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(784 * 8)


BLACK, GREY = np.zeros((28, 28)), np.full((28, 28), 100)
NOISE = np.random.default_rng(0).integers(0, 100, (28, 28))
BITS = (np.arange(784).reshape(28, 28) % 2).astype(np.uint8)
HOSTILE = {
    "bits as npy": (npy(BITS), NPY, "whole numbers of 0 and 1 alone"),
    "bits as JSON": (json.dumps(BITS.tolist()), JSON, "whole numbers of 0 and 1 alone"),
    "one of bits among grey": (npy(np.stack([GREY, BITS])), NPY, "digit 1 holds whole numbers"),
    "Latin-1": ("[[\xe9]]".encode("latin-1"), JSON, "not UTF-8 text"),
    "UTF-8 cut": ('["é"]'.encode()[:3], JSON, "not"),
    "six megabytes of lists": (b"[" + b"[]," * 2_000_000 + b"[]]", JSON, "at most 10,000 digits"),
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, JSON, "not whole JSON"),
    "a shape with True": (header("(True, 28, 28)"), NPY, "damaged"),
    "a negative shape": (header("(-1, 28, 28)"), NPY, ""),
    "a huge shape": (header("(99999999999, 28, 28)"), NPY, "damaged"),
    "a shape of words": (header("('a', 28)"), NPY, "damaged"),
    "a shape that is code": (header("__import__('os')"), NPY, "damaged"),
    "no shape": (header("None"), NPY, "damaged"),
    "a list as shape": (header("[28, 28]"), NPY, "damaged"),
    "objects": (header("(28, 28)", "|O"), NPY, "objects"),
    "complex": (npy(BLACK.astype(complex)), NPY, "not numbers"),
    "text": (npy(np.full((28, 28), "a")), NPY, "not numbers"),
    "dates": (npy(np.zeros((28, 28), "datetime64[s]")), NPY, "not numbers"),
    "truths": (npy(BLACK.astype(bool)), NPY, "not numbers"),
    "records": (npy(np.zeros((28, 28), [("a", "f4")])), NPY, "not numbers"),
    "two archives": (npy(BLACK)[:200] + npy(BLACK), NPY, ""),
    "pickle": (pickle.dumps(print), NPY, "does not begin as"),
    "npy as JSON": (npy(BLACK), JSON, "not UTF-8 text"),
    "JSON as npy": (b"[[0]]", NPY, "does not begin as"),
    "an empty body": (b"", JSON, "not whole JSON"),
    "an empty npy": (b"", NPY, "does not begin as"),
    "a header alone": (npy(BLACK)[:10], NPY, "damaged"),
    "null": (b"null", JSON, "not numbers"),
    "a word": (b'"seven"', JSON, "not numbers"),
    "a number": (b"7", JSON, "shape ()"),
    "a truth": (b"true", JSON, "not numbers"),
    "an object": (b"{}", JSON, "no 'instances'"),
    "an object of numbers": (b'{"instances": {"a": 1}}', JSON, "not numbers"),
    "instances of null": (b'{"instances": null}', JSON, "not numbers"),
    "instances of nothing": (b'{"instances": []}', JSON, "empty"),
    "unequal lists": (b"[[1, 2], [3]]", JSON, "differ in length"),
    "27 rows": (json.dumps([[0.5] * 28] * 27), JSON, "is not (28, 28)"),
    "784 numbers": (json.dumps([0.5] * 784), JSON, "is not (28, 28)"),
    "three channels first": (npy(np.zeros((1, 3, 28, 28))), NPY, "3 channels"),
    "three channels last": (npy(np.zeros((1, 28, 28, 3))), NPY, "3 channels"),
    "five dimensions": (npy(np.zeros((1, 1, 1, 28, 28))), NPY, "is not (28, 28)"),
    "no digits": (npy(np.zeros((0, 28, 28))), NPY, "empty"),
    "NaN": (npy(BLACK * np.nan), NPY, "NaN or infinity"),
    "NaN as JSON": (json.dumps((BLACK * np.nan).tolist()), JSON, "NaN or infinity"),
    "infinity": (npy(BLACK + np.inf), NPY, "NaN or infinity"),
    "minus infinity": (npy(BLACK - np.inf), NPY, "NaN or infinity"),
    "1e400": (b"[[1e400]]", JSON, "is not (28, 28)"),
    "a long whole number": (b"[[" + b"9" * 400 + b"]]", JSON, "not numbers"),
    "a very long one": (b"[[" + b"9" * 5000 + b"]]", JSON, "not whole JSON"),
    "negative": (npy(-GREY), NPY, "0..255"),
    "256": (npy(GREY + 156), NPY, "0..255"),
    "1.5": (npy(BLACK + 1.5), NPY, "0..1"),
    "-0.5": (npy(BLACK - 0.5), NPY, "0..1"),
    "seven megabytes": (bytes(7 * 1024**2), NPY, "send fewer"),
    "JPEG": (b"\xff\xd8\xff", "image/jpeg", "is not one of"),
    "a PNG cut": (png(NOISE)[:300], PNG, "not a whole PNG"),
    "no PNG": (b"\x89PNG", PNG, "not a whole PNG"),
    "a photo": (png(np.full((280, 280), 9)), PNG, "280 x 280, not 28 x 28"),
    "16 bits": (png(GREY, np.uint16), PNG, "16 bits"),
    "transparent": (png(np.full((28, 28, 4), 100)), PNG, "transparent"),
    "as on paper": (png(255 - GREY), PNG, "dark on light"),
    "one as on paper": (npy(np.stack([GREY, 255 - GREY])), NPY, "digit 1 is dark on light"),
    "black on white": (json.dumps((1 - BLACK).tolist()), JSON, "dark on light"),
    "a form": (b"a=1", "application/x-www-form-urlencoded", "is not one of"),
    "CSV": (b"1,2,3", "text/csv", "is not one of"),
    "no kind": (b"[]", "", "is not one of"),
    "a kind of nonsense": (b"[]", ";;;", "is not one of"),
    "a kind with a newline's code": (b"[]", "application%0Ajson", "is not one of"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_with_its_reason_and_the_next_is_served(server, process, name):
    body, kind, words = HOSTILE[name]
    before = psutil.Process(process.pid).cpu_times().user
    status, said = ask(server, body.encode() if isinstance(body, str) else body, kind)
    cpu_seconds = psutil.Process(process.pid).cpu_times().user - before
    assert 400 <= status < 500, (status, said)
    assert words in said
    assert "Traceback" not in said
    assert cpu_seconds < 1
    assert ask(server, npy(GREY), NPY)[0] == 200


def test_an_answer_in_no_known_form_is_refused(server):
    status, said = ask(server, npy(GREY), NPY, "text/csv")
    assert (status, "is not one of" in said) == (406, True)
