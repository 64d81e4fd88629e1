"""Runs behind the wall, over a student's files: the networks in model.py, written down as JSON.

`python -m classroom.grade.spec SECONDS WALLED FOLDER CLASS …` writes to its output. Nothing that
runs here is believed: the grader builds the networks again from what is written (`rebuild`), with
names and weights of its own, so that a student's line never meets a digit or a label.

A network is written down while it runs on digits without content, of which there are `DIGITS`: a
number so odd that a shape which holds it, or a multiple of it, holds the number of digits.
"""

import copy
import importlib
import inspect
import json
import os
import sys
import types
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from classroom.grade.rebuild import rebuild
from mnist_utils.errors import InputError

DIGITS = 7919
CONTAINERS = (nn.Sequential, nn.Module)


class Recorder(TorchFunctionMode):
    """Writes down each call of a layer or a function that reads what came of the digits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.names = {id(module): name for name, module in model.named_modules()}
        tensors = [*model.named_parameters(), *model.named_buffers()]
        self.tensors = {id(tensor): name for name, tensor in tensors}
        self.training = model.training
        self.places, self.kept, self.calls, self.inside = {}, [], [], False

    def keep(self, result) -> bool:
        """Number what a call gave: a tensor, or several; whether it was one of these."""
        number, parts = len(self.kept), result if isinstance(result, (tuple, list)) else [result]
        if not any(isinstance(part, Tensor) for part in parts):
            return False
        for item, part in enumerate(parts):
            self.places[id(part)] = [number] if part is result else [number, item]
        self.kept.append(result)  # an id is its own as long as its tensor lives
        return True

    def plain(self, value):
        """An argument as JSON; a tensor by its place, the number of digits by its own name."""
        if isinstance(value, Tensor):
            if id(value) in self.places:
                return {"place": self.places[id(value)]}
            return {"tensor": self.tensors.get(id(value), "a tensor made in forward")}
        if isinstance(value, slice):
            return {"slice": [self.plain(part) for part in (value.start, value.stop, value.step)]}
        if isinstance(value, (tuple, list)):
            return [self.plain(one) for one in value]
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, int) and value and value % DIGITS == 0:
            return {"digits": value // DIGITS}
        if isinstance(value, (int, float, bool, str, type(None))):
            return value
        return {"other": type(value).__name__}

    def write(self, what, args: tuple, kwargs: dict, result) -> None:
        """A call: what is called, a function's name or a layer's path, and what it is given."""
        arguments = [
            self.plain(list(args)),
            {name: self.plain(one) for name, one in kwargs.items()},
        ]
        if "place" in json.dumps(arguments) and self.keep(result):
            self.calls.append([what, *arguments])

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__ in ("to", "cpu", "cuda", "float"):
            return args[0]  # where and how a map is stored is the grader's
        result = func(*args, **(kwargs or {}))
        if not self.inside:
            name = func.__name__
            name = func.__self__.__name__ if name == "__get__" else name
            if "dropout" in name and (kwargs or {}).get("training") is self.training:
                kwargs = kwargs | {"training": "as the network"}
            self.write(name, args, kwargs or {}, result)
        return result

    def call(self, module: nn.Module, args: tuple, kwargs: dict, forward):
        """In place of `nn.Module.__call__`: PyTorch's layers are not looked into."""
        owner = next(kind for kind in type(module).__mro__ if "forward" in vars(kind))
        ours = owner.__module__.startswith("torch.nn") and owner not in CONTAINERS
        if self.inside or not ours or id(module) not in self.names:
            return forward(module, *args, **kwargs)
        self.inside = True
        result = forward(module, *args, **kwargs)
        self.inside = False
        self.write({"layer": self.names[id(module)]}, args, kwargs, result)
        return result


def layer(module: nn.Module) -> list:
    """A layer's kind, what its constructor was given, as far as it keeps it, its parameters."""
    kind = next(kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn"))
    kept = {}
    for name in inspect.signature(kind.__init__).parameters:
        value = getattr(module, name, None)
        if name == "bias":
            value = value is not None if not isinstance(value, bool) else value
        if isinstance(value, (int, float, bool, str, tuple, list)):
            kept[name] = list(value) if isinstance(value, (tuple, list)) else value
    there = [name for name, tensor in module.named_parameters(recurse=False)]
    return [kind.__name__, kept, there]


def shared(model: nn.Module) -> list[list[str]]:
    """Names of parameters that are one tensor in several layers."""
    names = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            names.setdefault(id(parameter), []).append(f"{path}.{name}".lstrip("."))
    return [places for places in names.values() if len(places) > 1]


def record(model: nn.Module, training: bool) -> list:
    """The calls of `forward`, and the place of what it returns."""
    recorder, forward = Recorder(model.train(training)), nn.Module.__call__
    digits = torch.zeros(DIGITS, 1, 28, 28, device="meta")
    recorder.keep(digits)

    def call(module, *args, **kwargs):
        return recorder.call(module, args, kwargs, forward)

    with (
        torch.no_grad(), torch.device("meta"), mock.patch.object(nn.Module, "__call__", call),
        recorder,
    ):  # fmt: skip
        result = model(digits)
    return [recorder.calls, recorder.plain(result)]


def describe(model: nn.Module) -> dict:
    """A network written down."""
    with torch.no_grad():
        model.eval()(torch.zeros(2, 1, 28, 28))  # lazy layers learn their size; slips show here
    whole = copy.deepcopy(model)
    tied, model = shared(model), model.to("meta")
    calls, result = record(model, True)
    if [calls, result] != record(model, False):
        raise ValueError("forward does something else in eval() than in train(); use nn.Dropout")
    used = {what["layer"] for what, _, _ in calls if isinstance(what, dict)}
    layers = {name: layer(module) for name, module in model.named_modules() if name in used}
    description = {"calls": calls, "result": result, "layers": layers, "shared": tied}
    _check(description, whole)
    return description


def _check(description: dict, model: nn.Module) -> None:
    """Whether the calls that were written down are all that `forward` does."""
    try:
        built = rebuild(json.loads(json.dumps(description))).module.eval()
    except InputError:
        return  # why is said when it is built in earnest
    for name, layer in zip(description["layers"], built.layers, strict=True):
        layer.load_state_dict(model.get_submodule(name).state_dict())
    digits = 3 * torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        said = [F.log_softmax(one(digits), 1) for one in (built, model)]
        said[1:] += [F.log_softmax(model(digits).log(), 1)]  # a Softmax at the end is logarithms
    if not any(torch.allclose(said[0], one, rtol=0, atol=2e-5) for one in said[1:]):
        raise ValueError(
            "forward changes a map by way of a part of it (x[:, :4] += 1, a view changed in place) "
            "or has hooks, which cannot be built again; write it with torch.cat"
        )


def main() -> None:
    seconds, walled, folder, *names = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what students print is no answer
    torch.set_num_threads(1)
    from classroom.grade.wall import confine

    confine(seconds, walled, alone=True)
    for owner, name in ((torch, "compile"), (torch.jit, "script"), (nn, "DataParallel"),
                        (torch, "set_num_threads")):  # fmt: skip
        setattr(owner, name, same)  # how fast a network runs is nothing of it
    json.dump(networks(folder, names), out)
    out.flush()
    os._exit(0)  # before anything that was left for the end


def same(what=None, *_, **__):
    """Nothing done to a network, as a function or as a decorator."""
    return same if what is None else what


def networks(folder: str, names: list[str]) -> dict[str, dict]:
    """The networks of a student's files, or why there is none."""
    sys.path.append(folder)  # helpers beside model.py; none stands for a module of the grader
    package = sys.modules["submission"] = types.ModuleType("submission")
    package.__path__ = [folder]  # so that `from .blocks import` works, too
    try:
        module = sys.modules["model"] = importlib.import_module("submission.model")
    except BaseException as error:
        return {name: {"error": f"model.py cannot be imported: {said(error)}"} for name in names}
    descriptions = {}
    for name in names:
        try:
            if not hasattr(module, name):
                raise InputError(f"model.py has no class {name}")
            descriptions[name] = describe(getattr(module, name)())
        except InputError as error:
            descriptions[name] = {"error": str(error)}
        except BaseException as error:
            descriptions[name] = {"error": said(error)}
    return descriptions


WAYS_OUT = {
    "meta tensor": "forward decides by the digits' values; its steps must not depend on them",
    "expected device": "forward uses a tensor that belongs to no layer; parameters are a layer's",
    "get_ipython": "leave out the line with get_ipython(), which only a notebook has",
}
NO_DATA = "your code describes networks; it cannot read data: leave loading and training out of it"


def said(error: BaseException) -> str:
    """What an exception says, with the student's line that raised it, and the way out."""
    lines, trace, files = "", error.__traceback__, ""
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        files += path.replace("\\", "/")
        if path.endswith("model.py"):
            lines = f" (line {trace.tb_lineno} of model.py)"
        trace = trace.tb_next
    first = (str(error).strip().splitlines() or [""])[0]
    text = f"{type(error).__name__}: {first}{lines}"
    if isinstance(error, OSError) or "mnist_utils/data.py" in files or "datasets/" in files:
        return f"{NO_DATA} ({text})"
    return "; ".join([text, *(way for word, way in WAYS_OUT.items() if word in first)])


if __name__ == "__main__":
    main()
