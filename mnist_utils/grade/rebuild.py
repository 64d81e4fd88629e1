"""A network from its description: allowed layers and calls only, with names and weights of ours.

What a student's process wrote is data from outside. Here it only picks from tables: a layer's kind
and a call are looked up, a number is a number, and no word of it becomes a name or a line of code.
A network is built without memory first (on torch's "meta" device), and then in earnest.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_utils.errors import InputError, first_line

LAYERS = {
    layer.__name__: layer
    for layer in (
        nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d, nn.GroupNorm,
        nn.LayerNorm, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU,
        nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus,
        nn.Sigmoid, nn.Tanh, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.Flatten,
        nn.Unflatten, nn.Identity, nn.Softmax, nn.LogSoftmax, nn.ZeroPad2d, nn.ReflectionPad2d,
        nn.ReplicationPad2d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Upsample,
    )
}  # fmt: skip
# Functions and methods, by the name that PyTorch gives them while they run.
CALLS = {
    name: getattr(Tensor, name)
    for name in (
        "view", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "transpose", "contiguous",
        "mean", "sum", "amax", "amin", "relu", "sigmoid", "tanh", "chunk", "split", "unbind",
        "narrow", "clamp", "abs", "sqrt", "square", "exp", "clone", "__getitem__",
    )
} | {
    name: getattr(F, name)
    for name in (
        "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
        "softplus", "softmax", "log_softmax", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
        "adaptive_max_pool2d", "dropout", "dropout2d", "pad", "interpolate", "pixel_shuffle",
        "pixel_unshuffle", "channel_shuffle",
    )
} | {"cat": torch.cat, "concat": torch.cat, "stack": torch.stack}  # fmt: skip
# Arithmetic, in place or not: a number that it brings into the network is one of its parameters.
ARITHMETIC = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg,
    "pow": torch.pow, "rsub": torch.rsub, "rdiv": lambda a, b: b / a, "maximum": torch.maximum,
    "minimum": torch.minimum,
}  # fmt: skip
ALIASES = {"true_divide": "div", "multiply": "mul", "subtract": "sub", "negative": "neg",
           "rtruediv": "rdiv", "radd": "add", "rmul": "mul", "truediv": "div"}  # fmt: skip
MOST = 2_000_000  # activations of one image in all, or parameters
MOST_CALLS = 2_000
LARGEST = 10**6  # of a number in a call
FRACTIONS = 8  # different ones that a network may hold besides its parameters: rates, slopes


class Call(NamedTuple):
    """One step of `forward`: a layer by its number, or a function."""

    what: int | Callable
    args: list
    kwargs: dict
    arithmetic: bool = False


class Rebuilt(nn.Module):
    """A network that takes its calls one by one: digits `(N, 1, 28, 28)` to ten numbers each."""

    def __init__(self, layers: Sequence[nn.Module], calls: Sequence[Call], result: dict):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.calls, self.result = calls, result
        self.watch: Callable[[Call, object], None] = lambda call, value: None

    def forward(self, images: Tensor) -> Tensor:
        """Logits, log-probabilities or whatever the description returns, `(N, 10)`."""
        found = [images]

        def value(written):
            if isinstance(written, list):
                return [value(one) for one in written]
            if not isinstance(written, dict):
                return written
            ((kind, about),) = written.items()
            if kind == "place":
                place = found[about[0]]
                return place[about[1]] if len(about) > 1 else place
            if kind == "digits":
                return about * len(images)
            if kind == "slice":
                return slice(*map(value, about))
            return self.training if kind == "training" else ...

        for call in self.calls:
            what = self.layers[call.what] if isinstance(call.what, int) else call.what
            args = [tuple(a) if call.what is Tensor.__getitem__ and isinstance(a, list) else a
                    for a in map(value, call.args)]  # fmt: skip
            found.append(what(*args, **{name: value(one) for name, one in call.kwargs.items()}))
            self.watch(call, found[-1])
        return value(self.result)


class Network(NamedTuple):
    """A network that is allowed, and what is to be said of it."""

    module: Rebuilt
    names: list[str]  # of its layers, as the student called them
    numbers: int  # parameters that are Python's numbers in `forward`


def rebuild(description: dict) -> Network:
    """The network that a description says, with fresh weights.

    Raises
    ------
    InputError
        What it may not be: a layer, call or number that is not allowed, weights that are no
        layer's, too large, or no classifier of `(N, 1, 28, 28)` into `(N, 10)`.
    """
    try:
        build = _builder(description)
        with torch.device("meta"):
            trial = build()
        numbers = _tried(trial.eval())
        return Network(build(), list(description["layers"]), numbers)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the network cannot be built: {first_line(error)}") from None


def _tried(network: Rebuilt) -> int:
    """Run on two images that take no memory; how many numbers are parameters in disguise."""
    parameters = sum(p.numel() for p in network.parameters())
    if parameters > MOST:
        raise InputError(f"{parameters:,} parameters are more than the grader trains")
    activations, numbers = 0, 0

    def watch(call: Call, value) -> None:
        nonlocal activations, numbers
        parts = value if isinstance(value, (tuple, list)) else [value]
        activations += sum(part.numel() // 2 for part in parts if isinstance(part, Tensor))
        if activations > MOST:
            raise InputError(f"its maps hold {activations:,} numbers an image; {MOST:,} may be")
        numbers += call.arithmetic and sum(map(_is_number, [*call.args, *call.kwargs.values()]))

    network.watch = watch
    try:
        output = network(torch.zeros(2, 1, 28, 28, device="meta"))
    except InputError:
        raise
    except Exception as error:
        text = f"forward fails on digits of 1 × 28 × 28: {first_line(error)}"
        raise InputError(text) from None
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if shape != (2, 10):
        raise InputError(f"two digits give {shape}; ten numbers for each are wanted, (2, 10)")
    return numbers


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _builder(description: dict) -> Callable[[], Rebuilt]:
    """What builds the network; the description is checked here, once."""
    layers, fractions = description["layers"], set()
    if description["shared"]:
        names = " and ".join(description["shared"][0])
        raise InputError(
            f"{names} are one tensor under several names; call one layer twice instead"
        )
    if len(description["calls"]) > MOST_CALLS:
        raise InputError(f"forward makes {len(description['calls']):,} calls")
    for name, (kind, options, _) in layers.items():
        if kind not in LAYERS:
            raise InputError(f"{name} is a {kind}, which is not among the assignment's layers")
        if options.get("track_running_stats") is False and kind != "InstanceNorm2d":
            raise InputError(f"{name} would use the batch's statistics when it is tested, too")
        _check(list(options.items()), fractions)
    numbered = {name: number for number, name in enumerate(layers)}
    written, result = description["calls"], _check(description["result"], fractions)
    last = result["place"][0] - 1
    if written[last][0] == "softmax":  # the loss takes logarithms
        written = [*written[:last], ["log_softmax", *written[last][1:]], *written[last + 1 :]]
    calls = [_call(*call, numbered, fractions) for call in written]
    if len(fractions) > FRACTIONS:
        raise InputError(
            f"{len(fractions)} different fractions stand in its layers and calls; numbers that "
            "are learnt belong into a layer's weights"
        )

    def build() -> Rebuilt:
        made = []
        for number, (kind, options, there) in enumerate(layers.values()):
            kind = "LogSoftmax" if kind == "Softmax" and calls[last].what == number else kind
            pairs = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            layer = LAYERS[kind](**{k: v for k, v in pairs.items() if k != "inplace"})
            for parameter in set(layer._parameters) - set(there):
                layer.register_parameter(parameter, None)  # a BatchNorm without its scale
            made.append(layer)
        return Rebuilt(made, calls, result)

    return build


def _call(what, args, kwargs, numbered: dict[str, int], fractions: set) -> Call:
    """A call of the description, if it may be."""
    if isinstance(what, dict):
        kwargs = {key: _check(one, set()) for key, one in kwargs.items()}
        return Call(numbered[what["layer"]], _check(args, set()), kwargs)
    name = what.strip("_") if what != "__getitem__" else what  # in place or not
    name = name.removeprefix("i") if name in ("iadd", "isub", "imul", "idiv") else name
    name = ALIASES.get(name, name)
    if name not in CALLS and name not in ARITHMETIC:
        raise InputError(f"forward calls {what!r}, which is not among the assignment's functions")
    kwargs = {key: one for key, one in kwargs.items() if key != "inplace"}
    if kwargs.get("training") == "as the network":
        kwargs["training"] = {"training": True}
    elif kwargs.get("training") is not None and "dropout" in name:
        raise InputError(f"{name} does not know train() from eval(); use nn.Dropout")
    arithmetic = name in ARITHMETIC or (name == "pad" and bool(kwargs.get("value")))
    kept = set() if arithmetic else fractions
    function = ARITHMETIC.get(name) or CALLS[name]
    kwargs = {key: _check(one, kept) for key, one in kwargs.items()}
    return Call(function, _check(args, kept), kwargs, arithmetic)


def _check(written, fractions: set):
    """A value as it was written, if it is one that a call may be given; collects fractions."""
    if isinstance(written, dict):
        if "tensor" in written:
            raise InputError(
                f"forward uses {written['tensor']!r}, a tensor that belongs to no layer: "
                "parameters are those of layers, and constants have no place"
            )
        if "other" in written:
            raise InputError(f"forward passes on a {written['other']}")
        return {key: _check(one, fractions) for key, one in written.items()}
    if isinstance(written, (list, tuple)):
        return [_check(one, fractions) for one in written]
    if _is_number(written):
        if not math.isfinite(written) or abs(written) > LARGEST:
            raise InputError(f"{written!r} is a number beyond {LARGEST:,}")
        if written != int(written):
            fractions.add(written)
    return written


def allowed() -> str:
    """The assignment's list of what a network may be made of."""
    layers, calls = ", ".join(sorted(LAYERS)), ", ".join(sorted({*CALLS} - {"__getitem__"}))
    return (
        f"# **Layers** of `torch.nn`: {layers}.\n#\n# **Functions and methods**: {calls}; indexing "
        "and arithmetic."
    )
