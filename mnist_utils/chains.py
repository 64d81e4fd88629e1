"""Networks that are one chain of layers, each layer written as a row.

A row is a dict, as JSON has it: `{"kind": "conv", "out": 16, "k": 3}`; what it leaves out has the
value in `KINDS`. A square image, square windows. The bench's designs are such rows, and so are the
networks of the sweep, by their notation (`rows`).
"""

import re
from collections.abc import Sequence

from torch import nn

from mnist_utils.errors import InputError
from mnist_utils.receptive_field import IMAGE, Window, step

# Kind of layer -> its numbers and their defaults.
KINDS = {
    "conv": {"out": 16, "k": 3, "s": 1, "p": 0, "d": 1, "groups": 1, "bias": True},
    "norm": {},
    "relu": {},
    "maxpool": {"k": 2, "s": 2, "p": 0},
    "avgpool": {"k": 2, "s": 2, "p": 0},
    "pad": {"p": 1},  # so many pixels on each border; a negative number is cut off
    "dropout": {"rate": 0.05},
    "gap": {},
    "linear": {"out": 10},
}
MOST = 512  # of any number in a row

_LAYER = re.compile(
    r"(?:(?P<out>\d+)C|(?P<pool>[MA])P)(?P<k>\d+)"
    r"(?:s(?P<s>\d+))?(?:p(?P<p>\d+))?(?:d(?P<d>\d+))?"
)


def is_notation(name: str) -> bool:
    """Whether a name is a network in the notation that `rows` reads."""
    return all(_LAYER.fullmatch(part) for part in name.split("-"))


def rows(notation: str) -> list[dict]:
    """The rows of a network in Cireşan's notation (2012): `16C5-MP2-24C3p1`.

    A 5×5 convolution of 16 channels, a 2×2 max pool, a 3×3 convolution of 24 channels with one
    pixel of padding; `AP` is a mean, `s2` a stride, `d2` a convolution's dilation. Each convolution
    is without bias and is followed by BatchNorm and ReLU; GAP and a 1×1 convolution to the ten
    logits end the chain.

    Raises
    ------
    InputError
        A part is none of these.
    """
    result = []
    for part in notation.split("-"):
        if not (match := _LAYER.fullmatch(part)):
            raise InputError(f"{part!r} in {notation!r} is not a layer; write 16C5, MP2, AP2")
        numbers = {name: int(match[name]) for name in ("k", "s", "p", "d") if match[name]}
        if match["pool"]:
            kind = "maxpool" if match["pool"] == "M" else "avgpool"
            result.append({"kind": kind, "s": numbers["k"]} | numbers)
        else:
            conv = {"kind": "conv", "out": int(match["out"]), "bias": False}
            result += [conv | numbers, {"kind": "norm"}, {"kind": "relu"}]
    return [*result, {"kind": "gap"}, {"kind": "conv", "out": 10, "k": 1}]


def chain(notation: str) -> nn.Sequential:
    """The network of a notation: digits `(N, 1, 28, 28)` to log-probabilities `(N, 10)`."""
    return nn.Sequential(*build(rows(notation)), nn.Flatten(), nn.LogSoftmax(dim=1))


def build(rows: Sequence[dict], channels: int = 1, side: int = 28) -> nn.Sequential:
    """The layers of `rows`, one module for each, for images `(N, channels, side, side)`.

    Raises
    ------
    InputError
        A row is not a layer, or does not fit what comes before it; the message says which.
    """
    modules = []
    for number, row in enumerate(rows, 1):
        if problem := problem_of(row, channels, side):
            raise InputError(f"row {number}: {problem}")
        modules.append(_module(**KINDS[row["kind"]] | row, channels=channels, side=side))
        channels, side = after(row, channels, side)
    return nn.Sequential(*modules)


def after(row: dict, channels: int, side: int) -> tuple[int, int]:
    """Channels and side of the map that a row gives; a dense layer's has no side: 0."""
    values = KINDS[row["kind"]] | row
    if row["kind"] == "pad":
        return channels, side + 2 * values["p"]
    if row["kind"] == "linear":
        return values["out"], 0
    if row["kind"] == "gap":
        return channels, 1
    if "k" in values:
        window = Window(values["k"], values["s"], values["p"], values.get("d", 1))
        side = step(IMAGE._replace(size=side), window).size
    return values.get("out", channels), side


def problem_of(row: dict, channels: int, side: int) -> str:
    """Why a row cannot follow a map of `channels` and `side`, in words; "" if it can."""
    kind = row.get("kind")
    if kind not in KINDS:
        return f"{kind!r} is not a layer here; there are {', '.join(KINDS)}"
    values = KINDS[kind] | {name: value for name, value in row.items() if name != "kind"}
    for name, value in values.items():
        if name not in KINDS[kind]:
            return f"{kind} has no {name}"
        low = {"pad": -MOST}.get(kind, 0 if name in ("p", "rate") else 1)
        if name == "bias":
            fine = isinstance(value, bool)
        elif name == "rate":
            fine = isinstance(value, int | float) and 0 <= value < 1
        else:
            fine = type(value) is int and low <= value <= MOST
        if not fine:
            return f"{name} cannot be {value!r}"
    if not side and kind not in ("relu", "dropout", "linear"):
        return f"{kind} needs a map, and the dense layer before it leaves none"
    if channels % values.get("groups", 1) or values.get("out", 0) % values.get("groups", 1):
        return f"{values['groups']} groups do not divide {channels} and {values['out']} channels"
    if "pool" in kind and 2 * values["p"] > values["k"]:
        return f"padding of {values['p']} is more than half of a window of {values['k']}"
    try:
        left = after(row, channels, side)[1]
    except ValueError as error:  # from the table on paper
        return str(error)
    if side and kind != "linear" and left < 1:
        return f"a window of 1 does not fit a map of {left}"
    return ""


def _module(kind: str, channels: int, side: int, **values) -> nn.Module:
    if kind == "conv":
        out, bias = values["out"], values["bias"]
        k, s, p, d, groups = (values[name] for name in ("k", "s", "p", "d", "groups"))
        return nn.Conv2d(channels, out, k, s, p, d, groups, bias)
    if kind in ("maxpool", "avgpool"):
        pool = nn.MaxPool2d if kind == "maxpool" else nn.AvgPool2d
        return pool(values["k"], values["s"], values["p"])
    if kind == "linear":
        inputs = channels * side**2 if side else channels
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, values["out"]))
    return {
        "norm": lambda: nn.BatchNorm2d(channels),
        "relu": nn.ReLU,
        "pad": lambda: nn.ZeroPad2d(values["p"]),
        "dropout": lambda: nn.Dropout(values["rate"]),
        "gap": lambda: nn.AdaptiveAvgPool2d(1),
    }[kind]()
