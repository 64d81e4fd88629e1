"""The package's rooms as they are: what each is about, and which others it imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

from mnist_utils.files import PACKAGE


def rooms() -> dict[str, list[Path]]:
    """Room -> its files: a module at the top, or a door (a sub-package) with all that is behind."""
    found = {}
    for path in sorted(PACKAGE.iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            found[path.stem] = [path]
        elif (path / "__init__.py").exists():
            found[path.name] = sorted(path.glob("*.py"))
    return found


def is_door(room: str) -> bool:
    """Whether a room is a sub-package."""
    return (PACKAGE / room).is_dir()


def idea(room: str) -> str:
    """The first sentence that a room says of itself."""
    face = PACKAGE / room / "__init__.py" if is_door(room) else PACKAGE / f"{room}.py"
    return ast.get_docstring(ast.parse(face.read_text())).split("\n")[0].rstrip(".")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it: `mnist_utils.train.loop`, `torch`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def opened(room: str) -> list[str]:
    """The other rooms that a room imports."""
    named = {name.split(".")[1] for path in rooms()[room] for name in imports(path)
             if name.startswith("mnist_utils.")}  # fmt: skip
    return sorted(named - {room})
