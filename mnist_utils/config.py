"""Every hyperparameter, its default, its range and its help: said here and nowhere else."""

from dataclasses import asdict, dataclass, field, fields

from mnist_utils.errors import InputError


def _option(default, help, *, choices=None, low=None, high=None):
    """A field with what its help, its command-line option and its check need."""
    limits = {"help": help, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class TrainConfig:
    """What decides a training run; the defaults are the source's recipe.

    Raises
    ------
    InputError
        A value out of range; the message names it and the range.
    """

    model: str = _option(
        "Model3", "network to train, of mnist_utils.models, or a chain: 16C5-MP2-16C3"
    )
    epochs: int = _option(20, "passes over the training digits", low=1)
    batch_size: int = _option(32, "digits per step", low=1, high=60_000)
    share: float = _option(
        1.0,
        "share of the digits that each epoch after the first sees, drawn by their last loss",
        low=0.001,
        high=1.0,
    )
    loss_power: float = _option(
        2.0, "a digit is drawn with its last loss to this power as weight; 0: all alike",
        low=0.0, high=10.0,
    )  # fmt: skip
    lr: float = _option(0.001, "learning rate of Adam, or its peak", low=0.0, high=10.0)
    muon: float = _option(
        0.0,
        "learning rate of Muon, or its peak, for filters that mix channels; 0: Adam trains all",
        low=0.0,
        high=10.0,
    )
    schedule: str = _option(
        "constant",
        "learning rate over time; step: a tenth after half of the steps, a hundredth after three "
        "quarters; onecycle: linear warm-up, then a cosine to 0",
        choices=("constant", "step", "onecycle"),
    )
    warmup: float = _option(0.25, "share of all steps that onecycle warms up", low=0.0, high=0.9)
    weight_decay: float = _option(0.0, "decoupled, as in AdamW; 0 is Adam", low=0.0, high=10.0)
    label_smoothing: float = _option(0.0, "share of the target spread evenly", low=0.0, high=0.9)
    ema: float = _option(
        0.0,
        "decay per step of the moving average of the weights, which is then evaluated; 0: none",
        low=0.0,
        high=0.99999,
    )
    precision: str = _option(
        "float32",
        "what layers compute in; bfloat16 only where the processor has it, and never for weights",
        choices=("float32", "bfloat16"),
    )

    side: int = _option(
        28, "digits enlarged or shrunk to images of so many pixels a side", low=7, high=112
    )
    canvas: int = _option(
        28, "pixels a side of the black canvas in whose middle they lie", low=28, high=112
    )

    augmentation: str = _option(
        "albumentations",
        "a sample at a time by albumentations, a batch at a time by torch, or none",
        choices=("albumentations", "batch", "none"),
    )
    rotation: float = _option(7.0, "largest rotation, degrees, either way", low=0.0, high=180.0)
    affine_p: float = _option(
        0.5, "share of digits rotated, shifted, scaled, sheared", low=0.0, high=1.0
    )
    fill: float = _option(
        1.0, "what rotation leaves at the corners: 0 black, 1 white", low=0.0, high=1.0
    )
    shift: float = _option(0.0, "largest shift, pixels, each axis", low=0.0, high=14.0)
    scale: float = _option(0.0, "largest change of size, 0.1: 0.9 to 1.1", low=0.0, high=0.9)
    shear: float = _option(0.0, "largest shear, 0.1: 1 pixel in 10", low=0.0, high=1.0)
    elastic: float = _option(
        0.0,
        "elastic distortion: s.d., pixels, of 5 × 5 random displacements, smooth between them",
        low=0.0,
        high=14.0,
    )
    clean_epochs: int = _option(0, "last epochs without any augmentation", low=0)
    holes: int = _option(3, "most holes CoarseDropout cuts in a digit, black", low=1, high=9)
    hole_min: int = _option(4, "smallest side of a hole, pixels", low=1, high=28)
    hole_max: int = _option(5, "largest side of a hole, pixels", low=1, high=28)
    holes_p: float = _option(0.5, "share of digits with holes", low=0.0, high=1.0)

    evaluate_every: int = _option(1, "epochs between evaluations; 0: at the end only", low=0)
    seed: int = _option(0, "decides weights, order, dropout and augmentation", low=0, high=2**31)
    threads: int = _option(1, "torch threads; another count rounds otherwise", low=1, high=256)
    workers: int = _option(1, "processes that run albumentations; 0: this one", low=0, high=64)
    subset: int = _option(0, "train on the first N digits only; 0: all", low=0, high=60_000)
    validation: int = _option(
        0, "hold out the last N training digits, evaluate there, not on test", low=0, high=50_000
    )

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is int and type(item.default) is float:
                object.__setattr__(self, item.name, value := float(value))
            check(item, value)
        if self.hole_min > self.hole_max:
            raise InputError(f"--hole-min {self.hole_min} exceeds --hole-max {self.hole_max}")
        if self.side > self.canvas:
            raise InputError(f"--side {self.side} exceeds --canvas {self.canvas}")
        batch_alone = ("shift", "scale", "shear", "elastic")
        if self.augmentation == "albumentations" and any(getattr(self, n) for n in batch_alone):
            raise InputError("--shift, --scale, --shear and --elastic need --augmentation batch")

    def to_dict(self) -> dict:
        """Field names to values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """The inverse of `to_dict`. Raises InputError for a field that does not exist."""
        known = [item.name for item in fields(cls)]
        if unknown := set(values) - set(known):
            raise InputError(
                f"unknown: {', '.join(sorted(unknown))}; the fields are {', '.join(known)}"
            )
        return cls(**values)


def option_name(item) -> str:
    """The command-line option of a field: `batch_size` is `--batch-size`."""
    return "--" + item.name.replace("_", "-")


def check(item, value) -> None:
    """Raise InputError, naming the field, the value and what it may be, if it may not be."""
    kind, limits, name = type(item.default), item.metadata, option_name(item)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{name} {value!r} is not {_KINDS[kind]}")
    if limits["choices"] and value not in limits["choices"]:
        raise InputError(f"{name} {value!r} is not one of {', '.join(limits['choices'])}")
    low, high = limits["low"], limits["high"]
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InputError(f"{name} {value!r} must be {span}")


_KINDS = {int: "a whole number", float: "a number", str: "a word"}
