"""Weights and training state in safetensors: written whole or not at all, read without pickle."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mnist_utils.errors import InputError


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write to a temporary name beside `path`, then rename: a reader sees old or new, no mixture.

    Raises
    ------
    InputError
        The folder cannot be made or written.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as partial:
            partial.write(content)
            partial.flush()
            os.fsync(partial.fileno())
        os.chmod(partial.name, 0o644)  # temporary files start as 0600
        os.replace(partial.name, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another --out") from None


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
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train first, or name another file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable checkpoint ({error}); {remedy}") from None
    if metadata.get("sha256") != (found := _sha256(tensors, metadata.get("about", ""))):
        expected = metadata.get("sha256", "none")
        raise InputError(f"{path} is damaged: SHA-256 {expected} expected, {found} found; {remedy}")
    return tensors, json.loads(metadata["about"])


def save_training(path: str | Path, model, optimizer, average, about: dict) -> None:
    """Store all that training needs to go on: weights, their average, optimizer, `about`."""
    state = optimizer.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    for index, slots in state["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items()}
    save_tensors(path, tensors, about | {"param_groups": state["param_groups"]})


def load_training(path: str | Path, model, optimizer, average) -> dict:
    """Restore what `save_training` wrote into the three objects; return `about`."""
    tensors, about = load_tensors(path)
    parts = {"model": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, key = name.split(".", 1)
        parts[part][key] = tensor
    slots = {}
    for key, tensor in parts["optimizer"].items():
        index, slot = key.split(".")
        slots.setdefault(int(index), {})[slot] = tensor
    try:
        model.load_state_dict(parts["model"])
        if average is not None:
            average.load_state_dict(parts["average"])
        optimizer.load_state_dict({"state": slots, "param_groups": about.pop("param_groups")})
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} does not fit this model ({reason}); choose another --out"
        ) from None
    return about


def _sha256(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
