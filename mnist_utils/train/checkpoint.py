"""The state of a training between two epochs: all that is needed to go on.

On a CPU a resumed run equals an uninterrupted one bit for bit; on a GPU no two runs do, since
cuDNN adds in no fixed order.
"""

from pathlib import Path

from mnist_utils.errors import InputError
from mnist_utils.weights import load_tensors, save_tensors


def save_training(path: str | Path, run, about: dict) -> None:
    """Store all that `run`, a `loop.Training`, needs to go on: weights, their average, optimizers,
    each digit's last loss; and `about`.
    """
    tensors = {"digits.losses": run.losses}
    tensors |= {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    if run.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in run.average.state_dict().items()}
    states = [optimizer.state_dict() for optimizer in run.optimizers]
    for number, state in enumerate(states):
        for index, slots in state["state"].items():
            for slot, tensor in slots.items():
                tensors[f"optimizer{number}.{index}.{slot}"] = tensor
    save_tensors(path, tensors, about | {"param_groups": [s["param_groups"] for s in states]})


def load_training(path: str | Path, run) -> dict:
    """Restore what `save_training` wrote into `run`; return `about`.

    Raises
    ------
    InputError
        No checkpoint of such a run.
    """
    tensors, about = load_tensors(path)
    parts = {}
    for name, tensor in tensors.items():
        part, key = name.split(".", 1)
        parts.setdefault(part, {})[key] = tensor
    try:
        run.losses.copy_(parts["digits"]["losses"])
        run.model.load_state_dict(parts["model"])
        if run.average is not None:
            run.average.load_state_dict(parts["average"])
        for number, groups in enumerate(about.pop("param_groups")):
            slots = {}
            for key, tensor in parts.get(f"optimizer{number}", {}).items():
                index, slot = key.split(".")
                slots.setdefault(int(index), {})[slot] = tensor
            run.optimizers[number].load_state_dict({"state": slots, "param_groups": groups})
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} does not fit this run ({reason}); choose another --out") from None
    return about
