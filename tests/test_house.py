"""The rules of the house: who imports whom, what loads nothing heavy, which numbers hold."""

import re
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from gates import gate
from imports import loaded_by
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mnist_utils import models
from mnist_utils.files import PACKAGE, ROOT
from tools import house

ROOMS = house.rooms()
imports = cache(lambda path: [*house.imports(path)])
GROUND = {"errors", "files", "command"}
PAPER = {"receptive_field", "parameters"}
DOORS = {room for room in ROOMS if house.is_door(room)} - {"plots"}
# Which doors a door opens; every other opens none.
OPENS = {
    "reproduce": {"train"},
    "jobs": {"train", "serve", "rehearsal"},
    "grade": {"checks", "describe", "train"},
    "lab": {"describe"},
}
# Who alone may import what is heavy, or is a machine's own.
OWNERS = {
    "sagemaker": {"jobs", "rehearsal"},
    "boto3": {"jobs", "rehearsal"},
    "botocore": {"jobs", "rehearsal"},
    "moto": {"rehearsal"},
    "mlflow": {"train"},
    "ray": {"serve"},
    "matplotlib": {"plots"},
    "albumentations": {"augment"},
    "torchsummary": {"describe"},
    "anywidget": {"lab"},
    "jupytext": set(),
    "torchvision": set(),
    "tools": set(),
}


def test_a_room_opens_only_what_it_may():
    assert {"data", "plots", *GROUND, *PAPER} <= ROOMS.keys()
    assert {"train", "serve", "checks", *OPENS} <= DOORS
    wrong = []
    for room, files in ROOMS.items():
        names = {name.split(".")[1] for p in files for name in imports(p) if "mnist_utils." in name}
        opened = names & ROOMS.keys() - {room}
        if room in GROUND | PAPER:
            opened -= GROUND if room in GROUND else set()
        else:
            opened = opened & DOORS - (OPENS.get(room, set()) if room in DOORS else set())
        wrong += [f"mnist_utils/{room} imports {other}" for other in sorted(opened)]
    gate(wrong, "move it to a room that may: CONTRIBUTING.md, A room of the package")


def test_a_machine_s_package_is_imported_behind_its_door_alone():
    gate(
        (
            f"{path.relative_to(ROOT)} imports {name}"
            for room, files in ROOMS.items()
            for path in files
            for name in imports(path)
            if room not in OWNERS.get(name.split(".")[0], {room})
        ),
        "ask the room that owns it: OWNERS in tests/test_house.py",
    )


def required() -> set[str]:
    """The distributions of requirements.txt, and what they bring."""
    lines = (line.split("#")[0] for line in (ROOT / "requirements.txt").read_text().splitlines())
    todo, found = [Requirement(line) for line in lines if line.strip()], set()
    while todo:
        one = todo.pop()
        if (name := canonicalize_name(one.name)) not in found or one.extras:
            found.add(name)
            with suppress(PackageNotFoundError):  # for another machine
                brought = [Requirement(text) for text in requires(name) or []]
                extras = [{"extra": extra} for extra in ("", *one.extras)]
                todo += [b for b in brought if not b.marker or any(map(b.marker.evaluate, extras))]
    return found


def test_every_package_that_is_imported_is_required():
    brought, of_package, wrong = required(), packages_distributions(), []
    for path in (p for folder in (PACKAGE, *map(ROOT.joinpath, ("tools", "tests")))
                 for p in folder.rglob("*.py") if ".ipynb_checkpoints" not in p.parts):  # fmt: skip
        packages = {name.split(".")[0] for name in imports(path)} & of_package.keys()
        for package in packages - sys.stdlib_module_names - {"mnist_utils"}:
            if not brought.intersection(map(canonicalize_name, of_package[package])):
                wrong.append(f"{path.relative_to(ROOT)} imports {package}")
    gate(wrong, "name its distribution in requirements.txt and run `make lock`")


def test_paper_imports_nothing_but_python():
    names = {name.split(".")[0] for room in PAPER for name in imports(ROOMS[room][0])}
    assert names <= {"collections", "typing"}


HEAVY = {"torch", "torchvision", "sagemaker", "albumentations", "matplotlib", "mlflow", "boto3"}
HEAVY |= {"ray", "moto", "torchsummary", "safetensors"}
LIGHT = [*GROUND, *PAPER, "config", "recipes", "label_errors", "describe", "train"]


def test_what_is_light_loads_nothing_heavy_and_the_rest_torch_alone():
    def gate_on(rooms, allowed):
        """All in one process; one by one only to name who it was."""
        if loaded_by(f"import mnist_utils.{', mnist_utils.'.join(rooms)}", HEAVY) - allowed:
            each = {
                room: loaded_by(f"import mnist_utils.{room}", HEAVY) - allowed for room in rooms
            }
            wrong = [f"mnist_utils.{room} loads {names}" for room, names in each.items() if names]
            gate(wrong, "import it in the function that needs it, or in another room")

    assert loaded_by("import matplotlib", HEAVY) == {"matplotlib"}
    gate_on(LIGHT, set())
    machines = ["train.run", "describe.table", "serve.handlers"]
    gate_on([*sorted(ROOMS.keys() - DOORS - {"plots"}), *machines], {"torch", "safetensors"})


def test_help_answers_without_torch():
    for command in ("describe", "train", "jobs"):
        ask = f"runpy.run_module('mnist_utils.{command}', run_name='__main__')"
        ask = f"import runpy; sys.argv = ['', '--help']\ntry: {ask}\nexcept SystemExit: pass\n0"
        assert loaded_by(ask, {"torch"}) == set(), command


def test_a_docstring_s_count_of_parameters_is_the_network_s():
    wrong, counted = [], 0
    for name, network in models.NETWORKS.items():
        told = re.findall(r"([\d,]+) parameters", getattr(network, "__doc__", None) or "")
        if told and name in models.__dict__:
            size = sum(p.numel() for p in models.build(name).parameters())
            wrong += [f"{name}: {told[0]}, counted {size:,}"] if told[0] != f"{size:,}" else []
            counted += 1
    assert counted >= 6
    gate(wrong, "correct the docstring in mnist_utils/models.py")
