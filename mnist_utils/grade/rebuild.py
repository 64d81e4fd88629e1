"""A network from its description: allowed layers and calls only, with weights of the grader's own.

What a student's process wrote is data from outside. So the description is checked before anything
is built, and built without memory (on torch's "meta" device) before it is built in earnest.
"""

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mnist_utils.errors import InputError, first_line

LAYERS = {
    layer.__name__: layer
    for layer in (
        nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.Linear, nn.MaxPool2d, nn.AvgPool2d,
        nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU,
        nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.Dropout,
        nn.Dropout2d, nn.Flatten, nn.Identity, nn.LogSoftmax, nn.ZeroPad2d, nn.PixelUnshuffle,
    )
}  # fmt: skip
FUNCTIONS = {
    "relu": F.relu, "silu": F.silu, "gelu": F.gelu, "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "add": operator.add, "iadd": operator.add,
    "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "neg": operator.neg, "cat": torch.cat,
    "flatten": torch.flatten, "mean": torch.mean, "log_softmax": F.log_softmax,
    "max_pool2d": F.max_pool2d, "boolean_dispatch": F.max_pool2d, "avg_pool2d": F.avg_pool2d,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d, "pad": F.pad, "getitem": operator.getitem,
    "getattr": getattr,
}  # fmt: skip
ARITHMETIC = {operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv}
METHODS = {
    "flatten",
    "mean",
    "view",
    "reshape",
    "size",
    "relu",
    "log_softmax",
    "squeeze",
    "sigmoid",
}
MOST = 2_000_000  # activations of one image in all, or parameters
LARGEST = 10**9  # whole number
MOST_CALLS = 2_000


class Counting(fx.Interpreter):
    """Runs a network on two images, and stops when what it makes grows too large."""

    def __init__(self, network: fx.GraphModule):
        super().__init__(network)
        self.extra_traceback = False  # which torch would add to our one line
        self.activations = 0

    def run_node(self, node):
        result = super().run_node(node)
        if isinstance(result, Tensor):
            self.activations += result.numel() // 2
        if self.activations > MOST:
            raise InputError(f"by {node.name} it makes {self.activations:,} numbers an image")
        if isinstance(result, int) and abs(result) > LARGEST:
            raise InputError(f"{node.name} is a number beyond {LARGEST:,}")
        return result

    def call_function(self, target, args, kwargs):
        if target in ARITHMETIC and any(isinstance(one, (tuple, list)) for one in args):
            raise InputError(f"forward calls {target.__name__!r} on a list")
        return super().call_function(target, args, kwargs)


def rebuild(description: dict) -> nn.Module:
    """The network that a description says, with fresh weights.

    Raises
    ------
    InputError
        What it may not be: a layer, call or number that is not allowed, weights that are no
        layer's, too large, or no classifier of `(N, 1, 28, 28)` into `(N, 10)`.
    """
    try:
        builder = _builder(description)
        with torch.device("meta"):
            trial = builder()
        _try(trial.eval())
        return builder()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the network cannot be built: {first_line(error)}") from None


def _try(network: fx.GraphModule) -> None:
    """Run on two images that take no memory."""
    parameters = sum(p.numel() for p in network.parameters())
    if parameters > MOST:
        raise InputError(f"{parameters:,} parameters are more than the grader trains")
    try:
        output = Counting(network).run(torch.zeros(2, 1, 28, 28, device="meta"))
    except InputError:
        raise
    except Exception as error:
        text = first_line(error)
        raise InputError(f"forward fails on digits of 1 × 28 × 28: {text}") from None
    if not isinstance(output, Tensor) or output.shape != (2, 10):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"two digits give {shape}; ten numbers for each are wanted, (2, 10)")


def _builder(description: dict) -> Callable[[], fx.GraphModule]:
    """What builds the network; the description is checked here, once."""
    calls = description["nodes"]
    called = {target for op, _, target, _, _ in calls if op == "call_module"}
    layers = {name: about for name, about in description["layers"].items() if name in called}
    if len(calls) > MOST_CALLS:
        raise InputError(f"forward makes {len(calls):,} calls")
    if description["shared"]:
        names = " and ".join(description["shared"][0])
        raise InputError(
            f"{names} are one tensor under several names; call one layer twice instead"
        )
    for name, (kind, options, _) in layers.items():
        if kind not in LAYERS:
            raise InputError(f"{name} is a {kind}; allowed are {', '.join(LAYERS)}")
        if options.get("track_running_stats") is False:
            raise InputError(f"{name} would use the batch's statistics when it is tested, too")
    for op, name, called, arguments, options in calls:
        if op == "get_attr":
            raise InputError(
                f"forward uses {called!r}, a tensor that belongs to no layer: parameters are those "
                "of layers, and constants have no place"
            )
        allowed = {"call_module": layers, "call_function": FUNCTIONS, "call_method": METHODS}
        if op in allowed and called not in allowed[op]:
            raise InputError(f"forward calls {called!r}, which is not allowed")
        if any(option == "training" for option, _ in options):
            raise InputError(f"{name} does not know train() from eval(); use nn.Dropout")
        if (op, called) == ("call_function", "getattr") and arguments[1:] != ["shape"]:
            raise InputError(f"forward reads {arguments[1:]}")

    def build() -> fx.GraphModule:
        root, graph, made = nn.Module(), fx.Graph(), {}
        for name, (kind, options, there) in layers.items():
            layer = LAYERS[kind](**options)
            for parameter in set(layer._parameters) - set(there):
                layer.register_parameter(parameter, None)  # a BatchNorm without its scale
            _put(root, name, layer)

        def value(written):
            if isinstance(written, dict):
                if "node" in written:
                    return made[written["node"]]
                return slice(*map(value, written["slice"])) if "slice" in written else ...
            return tuple(map(value, written)) if isinstance(written, list) else written

        for op, name, called, arguments, options in calls:
            arguments = value(arguments)
            options = {key: value(one) for key, one in options}
            if op == "placeholder":
                made[name] = graph.placeholder(name)
            elif op == "output":
                graph.output(arguments[0])
            else:
                what = FUNCTIONS[called] if op == "call_function" else called
                made[name] = graph.create_node(op, what, arguments, options, name=name)
        return fx.GraphModule(root, graph)

    return build


def _put(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Add a layer under its dotted name."""
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    root.add_module(last, layer)
