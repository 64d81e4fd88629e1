"""A network from its description: allowed layers and calls only, with names and weights of ours.

What a student's process wrote is data from outside. Here it only picks from tables: a layer's kind
and a call are looked up, a number is a number, and no word of it becomes a name or a line of code.
A network is built without memory first (on torch's "meta" device), and then in earnest.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
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
        nn.Unflatten, nn.Identity, nn.Softmax, nn.LogSoftmax, nn.ZeroPad2d, nn.ConstantPad2d,
        nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d, nn.PixelShuffle,
        nn.PixelUnshuffle, nn.ChannelShuffle, nn.Upsample,
    )
}  # fmt: skip
# Functions and methods, by the name that PyTorch gives them while they run.
CALLS = {
    name: getattr(Tensor, name)
    for name in (
        "view", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "transpose", "mean", "sum",
        "amax", "amin", "relu", "sigmoid", "tanh", "chunk", "split", "unbind", "narrow", "clamp",
        "abs", "sqrt", "rsqrt", "square", "exp", "log", "var", "std", "logsumexp", "flip", "expand",
        "expand_as", "unflatten", "swapaxes", "movedim", "max", "min", "detach", "contiguous",
        "clone", "__getitem__",
    )
} | {
    name: getattr(F, name)
    for name in (
        "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
        "softplus", "softmax", "log_softmax", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
        "adaptive_max_pool2d", "dropout", "dropout2d", "pad", "interpolate", "pixel_shuffle",
        "pixel_unshuffle", "channel_shuffle", "hardtanh", "celu", "normalize", "layer_norm",
        "group_norm",
    )
} | {"cat": torch.cat, "concat": torch.cat, "stack": torch.stack}  # fmt: skip
# Arithmetic, in place or not.
ARITHMETIC = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg,
    "pow": torch.pow, "rsub": torch.rsub, "rdiv": lambda a, b: b / a, "maximum": torch.maximum,
    "minimum": torch.minimum,
}  # fmt: skip
ALIASES = {"true_divide": "div", "multiply": "mul", "subtract": "sub", "negative": "neg",
           "rtruediv": "rdiv", "radd": "add", "rmul": "mul", "truediv": "div"}  # fmt: skip
MOST = 2_000_000  # activations of one image in all, or parameters
MOST_CALLS = 1_000
LARGEST = 10**6  # of a number in a call
# What is given a number here computes with it; elsewhere a whole one is a size, and a fraction not.
WEIGHTY = {"min_val", "max_val", "min", "max", "negative_slope", "alpha", "beta", "threshold",
           "value"}  # fmt: skip
WEIGHTY |= {"divisor_override", "correction", "unbiased"}
INERT = {"p", "momentum"}
SMALL = 1e-2  # up to which `eps` only keeps from dividing by 0


class Call(NamedTuple):
    """One step of `forward`: a layer by its number, or a function."""

    what: int | Callable
    args: list
    kwargs: dict


class Rebuilt(nn.Module):
    """A network that takes its calls one by one: digits `(N, 1, 28, 28)` to ten numbers each."""

    def __init__(self, layers: Sequence[nn.Module], calls: Sequence[Call], result: dict):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.calls, self.result = calls, result
        self.watch: Callable[[Call, object], None] = lambda call, value: None

    def forward(self, images: Tensor) -> Tensor:
        """Logits, log-probabilities or whatever the description returns, `(N, 10)`."""
        values = [images]

        def value(written):
            if isinstance(written, list):
                return [value(one) for one in written]
            if not isinstance(written, dict):
                return written
            ((kind, about),) = written.items()
            if kind == "place":
                place = values[about[0]]
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
            values.append(what(*args, **{name: value(one) for name, one in call.kwargs.items()}))
            self.watch(call, values[-1])
        return value(self.result)


class Network(NamedTuple):
    """A network that is allowed, and what is to be said of it."""

    module: Rebuilt
    names: list[str]  # of its layers, as the student called them
    numbers: int  # that it computes with, and that are no layer's weights


def rebuild(description: dict) -> Network:
    """The network that a description says, with fresh weights.

    Raises
    ------
    InputError
        What it may not be: a layer, call or number that is not allowed, weights that are no
        layer's, too large, or no classifier of `(N, 1, 28, 28)` into `(N, 10)`.
    """
    try:
        build, numbers = _builder(description)
        with torch.device("meta"):
            _tried(build().eval())
        return Network(build(), list(description["layers"]), numbers)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the network cannot be built: {first_line(error)}") from None


def _tried(network: Rebuilt) -> None:
    """Run on two images that take no memory."""
    parameters = sum(p.numel() for p in network.parameters())
    if parameters > MOST:
        raise InputError(f"{parameters:,} parameters are more than the grader trains")
    activations = 0

    def watch(call: Call, value) -> None:
        nonlocal activations
        parts = value if isinstance(value, (tuple, list)) else [value]
        activations += sum(part.numel() // 2 for part in parts if isinstance(part, Tensor))
        if activations > MOST:
            raise InputError(f"its maps hold {activations:,} numbers an image; {MOST:,} may be")

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


def _builder(description: dict) -> tuple[Callable[[], Rebuilt], int]:
    """What builds the network, and its numbers; the description is checked here, once."""
    layers = {name: _check(about) for name, about in description["layers"].items()}
    result, written = _check(description["result"]), _check(description["calls"])
    if description["shared"]:
        names = " and ".join(description["shared"][0])
        raise InputError(
            f"{names} are one tensor under several names; call one layer twice instead"
        )
    if len(written) > MOST_CALLS:
        raise InputError(f"forward makes {len(written):,} calls; {MOST_CALLS} are the most")
    for name, (kind, options, _) in layers.items():
        if kind not in LAYERS:
            raise InputError(f"{name} is a {kind}, which is not among the assignment's layers")
        if options.get("track_running_stats") is False and kind != "InstanceNorm2d":
            raise InputError(f"{name} would use the batch's statistics when it is tested, too")
    numbers = sum(_numbers(LAYERS[kind], [], options) for kind, options, _ in layers.values())
    numbered = {name: number for number, name in enumerate(layers)}
    last = result["place"][0] - 1
    if written[last][0] == "softmax":  # the loss takes logarithms
        written = [*written[:last], ["log_softmax", *written[last][1:]], *written[last + 1 :]]
    calls = [_call(*call, numbered) for call in written]
    numbers += sum(_numbers(*call) for call in calls if callable(call.what))

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

    return build, numbers


def _call(what, args, kwargs, numbered: dict[str, int]) -> Call:
    """A call of the description, if it may be."""
    if isinstance(what, dict):
        return Call(numbered[what["layer"]], args, kwargs)
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
    function = ARITHMETIC.get(name) or CALLS[name]
    foreign = [one for one in _flat([args, kwargs]) if isinstance(one, dict) and "other" in one]
    if foreign:
        raise InputError(f"forward passes on a {foreign[0]['other']}")
    return Call(function, args, kwargs)


def _numbers(what: Callable, args: list, kwargs: dict) -> int:
    """How many numbers a layer or a call brings in that could stand for weights.

    In arithmetic each does, `True` too; elsewhere fractions and what `WEIGHTY` names, if it is not
    the default; what an index picks, or a map that is joined, for the second time.
    """
    if what in (Tensor.__getitem__, torch.cat, torch.stack):
        arguments = _listed(args[1]) if what is Tensor.__getitem__ else [*args, *kwargs.values()]
        lists = [[json.dumps(one) for one in many] for many in arguments if isinstance(many, list)]
        return sum(len(many) - len({*many}) for many in lists)
    if what in ARITHMETIC.values() or what in (Tensor.clamp, F.softplus):
        return sum(isinstance(one, int | float) and one != 0 for one in _flat([args, kwargs]))
    try:
        usual = {name: one.default for name, one in inspect.signature(what).parameters.items()}
    except (TypeError, ValueError):  # of a built-in function
        usual = {}
    named = [one for name, value in kwargs.items() for one in _flat(value)
             if name not in INERT and value != usual.get(name)
             and not (name == "eps" and 0 <= value <= SMALL)
             and isinstance(one, int | float) and (name in WEIGHTY or one % 1)]  # fmt: skip
    return len(named) + sum(isinstance(one, float) and one % 1 > 0 for one in _flat(args))


def _listed(value) -> list:
    return value if isinstance(value, list) else [value]


def _flat(value) -> Iterator:
    """What a nested value holds in the end; a dictionary's places and words are left out."""
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif isinstance(value, dict) and "place" not in value and "other" not in value:
        yield from _flat([*value.values()])
    else:
        yield value


def _check(written):
    """A value as it was written, if it is one that a call may be given."""
    if isinstance(written, dict):
        if "tensor" in written:
            raise InputError(
                f"forward uses {written['tensor']!r}, a tensor that belongs to no layer: "
                "parameters are those of layers, and constants have no place"
            )
        return {key: _check(one) for key, one in written.items()}
    if isinstance(written, list):
        return [_check(one) for one in written]
    if isinstance(written, int | float) and not abs(written) <= LARGEST:  # nor is it "nan"
        raise InputError(f"{written!r} is a number beyond {LARGEST:,}")
    return written


def allowed() -> str:
    """The assignment's list of what a network may be made of."""
    layers, calls = ", ".join(sorted(LAYERS)), ", ".join(sorted({*CALLS} - {"__getitem__"}))
    return (
        f"# **Layers** of `torch.nn`: {layers}.\n#\n# **Functions and methods**: {calls}; indexing "
        "and arithmetic."
    )
