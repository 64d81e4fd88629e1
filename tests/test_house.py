"""The rules of the house: who imports whom, what loads nothing heavy, which numbers hold."""

import re
import sys
from contextlib import suppress
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from gates import gate
from imports import loaded_by
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mnist_utils
from mnist_utils import models
from mnist_utils.files import ROOT
from tools import house
from tools.house import PACKAGES, imports

# Which of our packages each may import; `tools`, which nothing imports, may import them all.
MAY = {
    "receptive": set(),
    "mnist_utils": set(),
    "classroom": {"mnist_utils", "receptive"},
    "cloud": {"mnist_utils"},
}
ROOMS = {room: files for package in PACKAGES for room, files in house.rooms(package).items()}
FLAT = {room for room in house.rooms("mnist_utils")} - {"mnist_utils.train"}
GROUND = {"mnist_utils.errors", "mnist_utils.files", "mnist_utils.command"}
PAPER = {"mnist_utils.receptive_field", "mnist_utils.parameters"}
# Who alone may import what is heavy, or is a machine's own.
OWNERS = {
    "sagemaker": {"cloud.jobs", "cloud.rehearsal"},
    "boto3": {"cloud.jobs", "cloud.rehearsal"},
    "botocore": {"cloud.jobs", "cloud.rehearsal"},
    "moto": {"cloud.rehearsal"},
    "mlflow": {"mnist_utils.train"},
    "ray": {"cloud.serve"},
    "matplotlib": {"mnist_utils.plots"},
    "albumentations": {"mnist_utils.augment"},
    "torchsummary": {"classroom.second_opinion"},
    "anywidget": {"classroom.lab"},
    "jupytext": set(),
    "torchvision": set(),
    "tools": set(),
}


def test_a_package_imports_only_those_that_it_may():
    assert MAY.keys() == set(PACKAGES)
    wrong = []
    for package, may in MAY.items():
        for path in (ROOT / package).rglob("*.py"):
            names = {name.split(".")[0] for name in imports(path)} & {*PACKAGES, "tools"}
            wrong += [f"{path.relative_to(ROOT)} imports {n}" for n in names - may - {package}]
    gate(wrong, "move it to a package that may: CONTRIBUTING.md, Four packages")


def test_within_a_package_no_room_imports_upward_and_none_in_a_circle():
    opened = {room: set(house.opened(room)) & ROOMS.keys() for room in ROOMS}
    assert opened["mnist_utils.evaluate"] >= {"mnist_utils.data", "mnist_utils.weights"}
    below = dict.fromkeys(GROUND, GROUND) | {room: set() for room in PAPER}
    wrong = [
        f"{room} imports {other}"
        for room in FLAT
        for other in sorted(opened[room] - below.get(room, FLAT))
    ]
    gate(wrong, "ground imports ground, paper nothing, and only what is above them the loop")
    TopologicalSorter(opened).prepare()  # CycleError names the circle


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
    files = (p for folder in (*PACKAGES, "tools", "tests") for p in (ROOT / folder).rglob("*.py"))
    for path in (p for p in files if ".ipynb_checkpoints" not in p.parts):
        packages = {name.split(".")[0] for name in imports(path)} & of_package.keys()
        for package in packages - sys.stdlib_module_names - {*PACKAGES}:
            if not brought.intersection(map(canonicalize_name, of_package[package])):
                wrong.append(f"{path.relative_to(ROOT)} imports {package}")
    gate(wrong, "name its distribution in requirements.txt and run `make lock`")


def test_paper_imports_nothing_but_python():
    names = {name.split(".")[0] for room in PAPER for name in imports(ROOMS[room][0])}
    assert names <= sys.stdlib_module_names


HEAVY = {"torch", "torchvision", "sagemaker", "albumentations", "matplotlib", "mlflow", "boto3"}
HEAVY |= {"ray", "moto", "torchsummary", "safetensors"}
LIGHT = {"mnist_utils.config", "mnist_utils.recipes", "mnist_utils.label_errors", *GROUND, *PAPER}
LIGHT |= {"mnist_utils.train", "receptive", "receptive.steps", "classroom", "cloud", "cloud.jobs"}


def test_what_is_light_loads_nothing_heavy_and_the_rest_torch_alone():
    def gate_on(rooms, allowed):
        """All in one process; one by one only to name who it was."""
        if loaded_by(f"import {', '.join(rooms)}", HEAVY) - allowed:
            each = {room: loaded_by(f"import {room}", HEAVY) - allowed for room in rooms}
            wrong = [f"{room} loads {names}" for room, names in each.items() if names]
            gate(wrong, "import it in the function that needs it, or in another room")

    assert loaded_by("import matplotlib", HEAVY) == {"matplotlib"}
    gate_on(sorted(LIGHT), set())
    machines = {"mnist_utils.train.run", "receptive.table", "cloud.serve.handlers"}
    gate_on(sorted(FLAT - {"mnist_utils.plots"} | machines), {"torch", "safetensors"})


def test_the_reader_of_networks_needs_torch_and_numpy_alone():
    files = (ROOT / "receptive").rglob("*.py")
    used = {name.split(".")[0] for path in files for name in imports(path)}
    only_if_asked = {"pandas"}  # by `to_frame`
    assert used - sys.stdlib_module_names - only_if_asked == {"receptive", "torch", "numpy"}


def test_the_package_s_face_names_every_room():
    told = re.findall(r"\w+", " ".join(line[4:34] for line in mnist_utils.__doc__.splitlines()
                                      if line.startswith("    ")))  # fmt: skip
    assert {f"mnist_utils.{name}" for name in told} == house.rooms("mnist_utils").keys()


def test_help_answers_without_torch():
    for command in ("receptive", "mnist_utils.train", "cloud.jobs", "classroom.grade"):
        ask = f"runpy.run_module('{command}', run_name='__main__', alter_sys=True)"
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
