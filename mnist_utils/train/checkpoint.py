"""The state of a training between two epochs: all that is needed to go on, bit for bit."""

from pathlib import Path

from mnist_utils.errors import InputError
from mnist_utils.weights import load_tensors, save_tensors


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
