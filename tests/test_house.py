"""The rules of the house: who imports whom, what loads nothing heavy, how large a room may be."""

import ast
import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from imports import loaded_by
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mnist_utils import models
from mnist_utils.files import PACKAGE, ROOT
from tools import house

ROOMS = house.rooms()
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


def test_there_are_rooms():
    assert {"data", "plots", "describe"} <= ROOMS.keys()
    doors = {"describe", "train", "reproduce", "serve", "jobs", "rehearsal", "checks", "grade"}
    assert doors | {"lab"} == DOORS


def test_a_room_opens_only_what_it_may():
    for room in ROOMS:
        opened = set(house.opened(room))
        if room in GROUND:
            assert opened <= GROUND, room
        elif room in PAPER:
            assert not opened, room
        elif room in DOORS:
            assert opened & DOORS <= OPENS.get(room, set()), room
        else:
            assert not opened & DOORS, room


def test_contributors_are_told_which_door_opens_which():
    page = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    for door, opened in OPENS.items():
        told = re.search(rf"`{door}` opens ((?:`\w+`(?:, | and )?)+)", page)
        assert set(re.findall(r"\w+", told[1])) - {"and"} == opened, door


def test_a_machine_s_package_is_imported_behind_its_door_alone():
    for room, files in ROOMS.items():
        for package in {name.split(".")[0] for path in files for name in house.imports(path)}:
            assert room in OWNERS.get(package, {room}), f"{room} may not import {package}"


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
    brought, of_package = required(), packages_distributions()
    folders = (PACKAGE, ROOT / "tools", ROOT / "tests")
    files = [path for folder in folders for path in folder.rglob("*.py")
             if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]  # fmt: skip
    imported = {name.split(".")[0] for path in files for name in house.imports(path)}
    for package in imported & of_package.keys() - sys.stdlib_module_names - {"mnist_utils"}:
        assert brought.intersection(map(canonicalize_name, of_package[package])), package


def test_paper_imports_nothing_but_python():
    for room in PAPER:
        (path,) = ROOMS[room]
        assert {name.split(".")[0] for name in house.imports(path)} <= {"collections", "typing"}
        assert len(path.read_text().splitlines()) < 60


HEAVY = {"torch", "torchvision", "sagemaker", "albumentations", "matplotlib", "mlflow", "boto3"}
HEAVY |= {"ray", "moto", "torchsummary", "safetensors"}
TORCH = {"torch", "safetensors"}
WITHOUT_TORCH = [
    *sorted(GROUND),
    *sorted(PAPER),
    "config",
    "recipes",
    "label_errors",
    "describe",
    "train",
]


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_a_light_room_loads_nothing_heavy(room):
    assert loaded_by(f"import mnist_utils.{room}", HEAVY) == set()


def test_lessons_load_torch_and_nothing_heavier():
    rooms = sorted(ROOMS.keys() - DOORS - {"plots"})
    assert loaded_by(f"from mnist_utils import {', '.join(rooms)}", HEAVY) <= TORCH


def test_the_loop_the_reader_and_the_server_load_no_other_machine():
    doors = ("train.run", "describe.table", "serve.handlers")
    imports = ", ".join(f"mnist_utils.{door}" for door in doors)
    assert loaded_by(f"import {imports}", HEAVY) <= TORCH


@pytest.mark.parametrize("command", ["describe", "train", "jobs"])
def test_help_answers_without_torch(command):
    ask = f"import runpy; sys.argv = ['', '--help']\ntry: runpy.run_module('mnist_utils.{command}'"
    statement = f"{ask}, run_name='__main__')\nexcept SystemExit: pass\nNone"
    assert loaded_by(statement, {"torch"}) == set()


def test_what_a_statement_loads_is_seen():
    assert loaded_by("import matplotlib", HEAVY) == {"matplotlib"}


def functions(path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


FILES = [path for files in ROOMS.values() for path in files]


def test_no_file_and_no_function_is_too_long_to_read():
    for path in FILES:
        lines = len(path.read_text().splitlines())
        assert lines <= (450 if path.parent.name in DOORS else 280), path
        for function in functions(path):
            body = function.end_lineno - function.lineno + 1
            assert body <= LONG.get(function.name, 60), (path, function.name)


# Longer for their docstrings, or because one request is one list.
LONG = {"submit": 64, "tune": 61}


@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_door_s_face_says_how_to_use_and_to_understand_it(door):
    face = ast.get_docstring(ast.parse((PACKAGE / door / "__init__.py").read_text()))
    assert "To use it:" in face
    assert "To understand it" in face


def test_a_docstring_s_count_of_parameters_is_the_network_s():
    counted = 0
    for name, network in models.NETWORKS.items():
        told = re.findall(r"([\d,]+) parameters", getattr(network, "__doc__", None) or "")
        if told and name in models.__dict__:
            size = sum(p.numel() for p in models.build(name).parameters())
            assert told[0] == f"{size:,}", name
            counted += 1
    assert counted >= 6


def test_nothing_at_the_top_of_the_repository_is_without_a_place():
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    assert {"notebooks", "mnist_utils", "tests", "images", "data", "results", "tools"} <= top
