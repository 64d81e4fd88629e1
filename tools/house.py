"""The packages' rooms as they are: what each is about, and which others it imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mnist_utils.files import ROOT

PACKAGES = ("mnist_utils", "receptive", "classroom", "cloud")


@cache
def rooms(package: str) -> dict[str, list[Path]]:
    """Room -> its files: a module at the package's top, or a folder with all that is in it."""
    result = {}
    for path in sorted((ROOT / package).iterdir()):
        if path.suffix == ".py" and path.stem[:2] != "__":
            result[f"{package}.{path.stem}"] = [path]
        elif (path / "__init__.py").exists():
            result[f"{package}.{path.name}"] = sorted(path.glob("*.py"))
    return result


def idea(room: str) -> str:
    """The first sentence that a room says of itself."""
    path = ROOT.joinpath(*room.split("."))
    face = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(face.read_text())).split("\n")[0].rstrip(".")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in it: `mnist_utils.train.loop`, `torch`."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(path: Path) -> set[Path]:
    """A file of Python, and all of ours that it imports, directly or not."""
    seen, ahead = set(), [path]
    while ahead:
        if (path := ahead.pop()) not in seen:
            seen.add(path)
            for parts in (name.split(".") for name in imports(path)):
                places = [ROOT.joinpath(*parts[: n + 1]) for n in range(len(parts))]
                files = [file for p in places for file in (p / "__init__.py", p.with_suffix(".py"))]
                ahead += filter(Path.is_file, files)
    return seen


def opened(room: str) -> list[str]:
    """The other rooms of its package that a room imports, and the other packages."""
    package, _, _ = room.partition(".")
    names = [name.split(".") for path in rooms(package)[room] for name in imports(path)]
    some = {".".join(n[:2]) if n[0] == package else n[0] for n in names if n[0] in PACKAGES}
    return sorted(some - {room, package})
