"""requirements.txt resolved: requirements.lock, Studio's, and the lists in pyproject.toml.

Command line: `make lock`. The lock holds for every system and Python, with hashes; below each
package stand the groups that need it, the headings of requirements.txt, by which tools/setup.py
chooses.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mnist_utils import command
from mnist_utils.files import ROOT

LOCK, STUDIO = ROOT / "requirements.lock", ROOT / "tools" / "studio"
LISTS = re.compile(r"(?<=# by `make lock`\n).*?(?=# until here\n)", re.DOTALL)


def groups() -> dict[str, list[str]]:
    """Group -> its requirements, as requirements.txt has them."""
    result = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if heading := re.match(r"# --- (\w+):", line):
            result[heading[1]] = []
        elif requirement := line.split("#")[0].strip():
            [*result.values()][-1].append(" ".join(requirement.split()))
    return result


def resolved(requirements: str, out: Path, *options) -> str:
    """What uv makes of requirements; what `out` pins already stays pinned."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as source:
        source.write(requirements)
        source.flush()
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal",
                   "--no-annotate", "--no-header", *options, source.name, "-o", out]  # fmt: skip
        subprocess.run(command, check=True)
    return out.read_text()


def names(lock: str) -> list[str]:
    """The packages of a lock."""
    return re.findall(r"^([\w.-]+)(?:\[.*\])?==", lock, re.MULTILINE)


def with_groups(lock: str, needs: dict[str, set[str]]) -> str:
    """The lock with a comment below each package: the groups that need it."""
    blocks = re.split(r"^(?=\w)", lock, flags=re.MULTILINE)
    marked = []
    for block in filter(None, blocks):
        (name,) = names(block)
        marked.append(f"{block}    # {' '.join(g for g, some in needs.items() if name in some)}\n")
    return "".join(marked)


def lists(some: dict[str, list[str]]) -> str:
    """The groups as pyproject.toml has them: the first is what `pip install .` gets."""

    def array(requirements):
        return "[\n" + "".join(f"  '{requirement}',\n" for requirement in requirements) + "]\n"

    (first, *others), text = some, ""
    text += f"dependencies = {array(some[first])}\n[project.optional-dependencies]\n"
    return text + "".join(f"{group} = {array(some[group])}" for group in others)


def main() -> None:
    command.Parser(prog="python -m tools.lock", description=__doc__).parse_args()
    some = groups()
    everything = "\n".join(requirement for group in some.values() for requirement in group)
    lock = resolved(everything, LOCK, "--python-version", "3.11", "--generate-hashes")
    needs = {}
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text(re.sub(r" \\\n    --hash=\S+", "", lock))
        for group, requirements in some.items():
            out = Path(folder, f"{group}.lock")
            options = ("--python-version", "3.11", "--constraint", pins)
            needs[group] = set(names(resolved("\n".join(requirements), out, *options)))
    LOCK.write_text(with_groups(lock, needs))
    project = ROOT / "pyproject.toml"
    project.write_text(LISTS.sub(lambda _: lists(some), project.read_text()))
    resolved(
        (STUDIO / "requirements.txt").read_text(), STUDIO / "requirements.lock",
        "--python-version", "3.12", "--constraint", STUDIO / "image.txt",
    )  # fmt: skip


if __name__ == "__main__":
    command.run(main)
