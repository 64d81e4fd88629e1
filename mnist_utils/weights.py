"""A network on disk, in safetensors: written whole or not at all, read without pickle."""

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save
except ImportError:  # in SageMaker's serving image, which need only read
    safe_open, SafetensorError = None, ValueError

from mnist_utils import models
from mnist_utils.errors import InputError
from mnist_utils.files import write_atomically


def save_network(path: str | Path, model: nn.Module, about: dict) -> None:
    """Store a network's weights with `about`, which must name its class as `model`."""
    save_tensors(path, model.state_dict(), about)


def load_network(path: str | Path) -> nn.Module:
    """Read a network, in `eval()` mode, channels last in memory, which is the faster.

    Raises
    ------
    InputError
        No such file, a damaged one, or one that holds other weights than its network's.
    """
    tensors, about = load_tensors(path)
    if "model" not in about:
        raise InputError(f"{path} holds no weights of a network; pass a model.safetensors")
    model = models.build(about["model"])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(f"{path} does not fit {about['model']}: {reason}") from None
    return model.eval().to(memory_format=torch.channels_last)


def save_tensors(path: str | Path, tensors: dict[str, Tensor], about: dict) -> None:
    """Store named tensors, and `about`, which must be JSON, with a checksum over both."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    write_atomically(path, save(tensors, {"about": text, "sha256": _sha256(tensors, text)}))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `save_tensors` wrote: (tensors, about).

    Raises
    ------
    InputError
        No such file, not in this format, or not the bytes that were written.
    """
    remedy = "restore the file, or delete it and train again"
    try:
        tensors, metadata = _read(path) if safe_open is None else _read_by_library(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train first, or name another file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable checkpoint ({error}); {remedy}") from None
    if metadata.get("sha256") != (checksum := _sha256(tensors, metadata.get("about", ""))):
        expected = metadata.get("sha256", "none")
        raise InputError(
            f"{path} is damaged: SHA-256 {expected} expected, {checksum} found; {remedy}"
        )
    return tensors, json.loads(metadata["about"])


def checksum(path: str | Path) -> str:
    """SHA-256 of what `save_tensors` wrote, tensors and `about`; two files of one run share it."""
    tensors, about = load_tensors(path)
    return _sha256(tensors, json.dumps(about, sort_keys=True))


def _read_by_library(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata() or {}


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """The same in plain Python: a length, a header of JSON, and the numbers."""
    raw = Path(path).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    try:
        header, tensors = json.loads(raw[8:start]), {}
        metadata = header.pop("__metadata__", {})
        for name, about in header.items():
            first, last = (start + offset for offset in about["data_offsets"])
            kind = {"F32": torch.float32, "I64": torch.int64}[about["dtype"]]
            values = torch.frombuffer(bytearray(raw[first:last]), dtype=kind)
            tensors[name] = values.reshape(about["shape"])
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"a header that does not fit: {error}") from None
    return tensors, metadata


def _sha256(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
