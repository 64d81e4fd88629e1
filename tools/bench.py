"""How fast, as ratios measured in one run, the two sides in turn, medians of the rounds.

Command line: `python -m tools.bench`. Leave the machine alone meanwhile.
"""

import copy
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from mnist_utils import augment, command, data, layers, models, recipes, results
from mnist_utils.errors import InputError
from mnist_utils.evaluate import evaluate
from mnist_utils.files import RESULTS, write_atomically
from mnist_utils.train import machine
from mnist_utils.train.loop import Training, fit, train_epoch
from receptive import describe

COMPARED = ("Model1", "Model3", "CourseNet", "SmallNet", "FastNet")
SAMPLE = 12_000  # digits a timing of one pass is taken on; figures are for 60,000


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process in `work`."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(rounds: int, sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU seconds of each side, run A B A B …, after one uncounted round of all."""
    seconds = {name: [] for name in sides}
    for number in tqdm(range(rounds + 1), desc=" | ".join(sides), disable=None, leave=False):
        for name, work in sides.items():
            used = cpu_seconds(work)
            if number:
                seconds[name].append(used)
    return {name: statistics.median(values) for name, values in seconds.items()}


def augmentation(split: data.Split, rounds: int) -> dict:
    """Samples per CPU second of both augmentation paths, at the reference setting."""
    few = split.take(slice(0, SAMPLE))
    naive = replace(recipes.REFERENCE, workers=0)

    def drain(settings):
        for _ in augment.training_batches(few, settings, 1, torch.Generator().manual_seed(0)):
            pass

    seconds = in_turn(
        rounds,
        {
            "albumentations": lambda: drain(naive),
            "batch": lambda: drain(replace(naive, augmentation="batch")),
        },
    )
    return {name: SAMPLE / used for name, used in seconds.items()} | {
        "ratio": seconds["albumentations"] / seconds["batch"]
    }


def training(split: data.Split, test: data.Split, rounds: int) -> dict:
    """CPU seconds: an epoch of the naive reference loop and others; `fast` and `course`, tested."""
    few = split.take(slice(0, SAMPLE))

    def epoch(settings):
        run = Training.start(settings, len(few))
        return lambda: train_epoch(run, few, 1)

    def whole(settings):
        return lambda: fit(Training.start(settings, len(split)), split, test)

    epochs = {
        "reference_naive": epoch(replace(recipes.REFERENCE, workers=0)),
        "reference_batch": epoch(recipes.RECIPES["reference_batch"]),
        "pytorch_example": lambda: example_epoch(few, epochs=1),
    }
    wholes = {name: whole(recipes.RECIPES[name]) for name in ("fast", "course")}
    seconds = in_turn(rounds, epochs | wholes)
    epochs = {name: seconds[name] * len(split) / SAMPLE for name in epochs}
    reference = recipes.REFERENCE.epochs * epochs["reference_naive"]
    return {
        "epoch": epochs,
        "reference_20_epochs": reference,
        "whole": {name: seconds[name] for name in wholes},
        "ratio": reference / seconds["fast"],
    }


class ExampleNet(nn.Module):
    """The network of PyTorch's own MNIST example: 1,199,882 parameters."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3),  # (32, 26, 26)
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3),  # (64, 24, 24)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (64, 12, 12)
            nn.Dropout(0.25),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (9216,)
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.log_softmax(self.classifier(self.features(images)), dim=1)


def example_epoch(split: data.Split, epochs: int) -> nn.Module:
    """PyTorch's MNIST example: Adadelta 1.0, gamma 0.7 per epoch, batch 64, no augmentation."""
    torch.manual_seed(0)
    settings = replace(recipes.REFERENCE, augmentation="none", batch_size=64, epochs=epochs)
    model = ExampleNet().train()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, epochs + 1):
        generator = torch.Generator().manual_seed(epoch)
        digits = split.take(torch.randperm(len(split), generator=generator))
        for images, labels in augment.training_batches(digits, settings, epoch, generator):
            optimizer.zero_grad()
            nn.functional.nll_loss(model(images), labels).backward()
            optimizer.step()
        schedule.step()
    return model


def first_epoch(split: data.Split, test: data.Split) -> dict:
    """Test accuracy and CPU seconds after one epoch: the example's, and FastNet's one-epoch run."""
    result = {}
    start = time.process_time()
    example = example_epoch(split, epochs=1)
    used = time.process_time() - start
    result["pytorch_example"] = {
        "cpu_seconds": used, "test_accuracy": evaluate(example, test).accuracy
    }  # fmt: skip
    run = Training.start(replace(recipes.RECIPES["fast"], epochs=1, clean_epochs=0), len(split))
    used = cpu_seconds(lambda: fit(run, split, test))
    result["fast_one_epoch"] = {
        "cpu_seconds": used, "test_accuracy": run.history[-1]["held_out_accuracy"]
    }  # fmt: skip
    return result


def answers(images: torch.Tensor, rounds: int) -> dict:
    """`course` on one thread: images per CPU second in batches of 1,000, milliseconds of one."""
    network = results.network("course")
    session = onnx_session(network)
    digits = data.standardize(images)
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    sides = {
        "torch_channels_first": plain,
        "torch_channels_last": network,
        "torch": layers.prepared(network),
        "onnxruntime": lambda batch: session.run(None, {"images": batch.numpy()}),
    }
    rates = {}
    with torch.inference_mode():
        for size in (1_000, 1):
            batches = digits.split(size)[: 1_000 if size == 1 else 10]

            def answer(model, batches=batches):
                return lambda: [model(batch) for batch in batches]

            seconds = in_turn(rounds, {name: answer(model) for name, model in sides.items()})
            n = size * len(batches)
            rates[size] = {name: n / used for name, used in seconds.items()}
    return {
        "images_per_cpu_second": rates[1_000],
        "one_digit_milliseconds": {name: 1_000 / rate for name, rate in rates[1].items()},
        "ratio": rates[1_000]["torch"] / rates[1_000]["onnxruntime"],
    }


def by_network(images: torch.Tensor, rounds: int) -> dict[str, float]:
    """Images per CPU second of notebook 3's networks, as `answers` reads them, batches of 1,000."""
    batches = data.standardize(images).split(1_000)
    networks = {name: layers.prepared(models.build(name).eval()) for name in COMPARED}

    def answer(model):
        return lambda: [model(batch) for batch in batches]

    with torch.inference_mode():
        seconds = in_turn(rounds, {name: answer(model) for name, model in networks.items()})
    return {name: len(images) / used for name, used in seconds.items()}


READ = ("resnet50", "efficientnet_v2_l", "convnext_base", "vit_b_16", "densenet201", "maxvit_t")


def reading(rounds: int) -> dict[str, float]:
    """CPU seconds of `describe` over torchinfo's, which runs the network; images of 224 pixels."""
    import torchinfo
    import torchvision

    ratios, shape = {}, (3, 224, 224)
    options = {"verbose": 0, "depth": 10, "device": "cpu"}
    for name in READ:
        network = torchvision.models.get_model(name)
        sides = {
            "describe": lambda model=network: describe(model, shape),
            "torchinfo": lambda model=network: torchinfo.summary(model, (1, *shape), **options),
        }
        seconds = in_turn(rounds, sides)
        ratios[name] = seconds["describe"] / seconds["torchinfo"]
    return ratios


def onnx_session(network: nn.Module):
    """The same weights in ONNX Runtime, one thread."""
    import onnxruntime

    file = io.BytesIO()
    with warnings.catch_warnings():  # torch's newer exporter takes 20 s and a package more
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, torch.zeros(1, 1, 28, 28), file, dynamo=False,
            input_names=["images"], dynamic_axes={"images": {0: "n"}},
        )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options)


def main() -> None:
    parser = command.Parser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS / "bench.json", help="JSON goes here")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        raise InputError(f"--rounds {arguments.rounds} must be at least 1")
    torch.set_num_threads(1)
    machine.keep_freed_memory()
    split, test = data.load(train=True), data.load(train=False)
    result = {
        "date": date.today().isoformat(),
        "machine": machine.describe("cpu"),
        "threads": torch.get_num_threads(),
        "rounds": arguments.rounds,
        "augmentation_samples_per_cpu_second": augmentation(split, arguments.rounds),
        "training_cpu_seconds": training(split, test, arguments.rounds),
        "first_epoch": first_epoch(split, test),
        "inference": answers(test.images, arguments.rounds),
        "images_per_cpu_second": by_network(test.images, arguments.rounds),
        "describe_over_torchinfo": reading(arguments.rounds),
    }
    write_atomically(arguments.out, json.dumps(result, indent=1) + "\n")
    print(table(result))


def table(result: dict) -> str:
    """The figures for a terminal."""
    lines = [f"{result['machine']['processor']}, {result['threads']} thread, {result['date']}", ""]
    samples = result["augmentation_samples_per_cpu_second"]
    lines.append("augmentation, samples per CPU second")
    lines += [f"  {name:24}{samples[name]:>12,.0f}" for name in ("albumentations", "batch")]
    lines += [f"  {'ratio':24}{samples['ratio']:>12.1f}", "", "training, CPU seconds"]
    used = result["training_cpu_seconds"]
    lines += [f"  epoch, {name:17}{value:>12.1f}" for name, value in used["epoch"].items()]
    lines.append(f"  {'reference, 20 epochs':24}{used['reference_20_epochs']:>12.0f}")
    lines += [f"  {f'{name}, whole':24}{value:>12.1f}" for name, value in used["whole"].items()]
    lines += [f"  {'ratio':24}{used['ratio']:>12.0f}", "", "after one epoch"]
    for name, row in result["first_epoch"].items():
        lines.append(f"  {name:24}{row['test_accuracy']:>12.2%}{row['cpu_seconds']:>10.1f} CPU s")
    speed = result["inference"]
    lines += ["", "course, images per CPU second in batches of 1,000; one digit"]
    for name, rate in speed["images_per_cpu_second"].items():
        one = speed["one_digit_milliseconds"][name]
        lines.append(f"  {name:24}{rate:>12,.0f}{one:>10.2f} ms")
    lines.append(f"  {'ratio':24}{speed['ratio']:>12.2f}")
    lines += ["", "describe, CPU seconds over torchinfo's"]
    lines += [f"  {name:24}{r:>12.1f}" for name, r in result["describe_over_torchinfo"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main)
