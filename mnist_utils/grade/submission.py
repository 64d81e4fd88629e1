"""What a student hands in, found and read with care: regular files of a sensible size alone."""

import csv
import json
import math
import os
import re
import stat
import tempfile
import tomllib
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from mnist_utils.checks.recurrence import Row
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError

MODELS = ("Model1", "Model2", "Model3")
COLUMNS = (
    "model", "layer", "kernel_size", "stride", "padding", "dilation",
    "size", "receptive_field", "jump", "start",
)  # fmt: skip
LARGEST = 1 << 20  # bytes of a file
MOST_FILES = 60  # of a kind
MOST_PACKED, UNPACKED = 1_000, 32 << 20  # files in a zip, and bytes
MOST_EPOCHS = 10_000
LARGEST_BATCH = 512  # for which a core's memory is enough
# What training.toml may not decide.
OURS = {"model", "seed", "validation", "evaluate_every", "subset", "threads", "workers"}
OURS |= {"side", "canvas"}
MOODLE = re.compile(r"([^_]+)_(\d+)_assignsubmission_")  # a name and a participant's number
NOTEBOOK = (
    "is missing, and there is a notebook: save it as a script (in JupyterLab File, Save and Export "
    "Notebook As, Executable Script), keep the three classes alone, and call it model.py"
)


@dataclass(frozen=True)
class Entry:
    """A row of fields.csv."""

    layer: str
    window: tuple[float, float, float, float]  # kernel size, stride, padding, dilation
    row: Row


@dataclass
class Submission:
    """What was handed in; what could not be read is in `problems`, by file."""

    path: Path
    code: dict[str, bytes] = field(default_factory=dict)  # model.py, and other .py beside it
    table: dict[str, list[Entry]] = field(default_factory=dict)
    analysis: str = ""
    training: dict = field(default_factory=dict)
    runs: dict[str, dict] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The student's, as far as the folder or the archive is named after them."""
        name = self.path.resolve().name
        found = MOODLE.match(name)
        return clean(found[1] if found else name.removesuffix(".zip"))

    @property
    def participant(self) -> str:
        """Moodle's number, if its name is in the folder's."""
        found = MOODLE.match(self.path.resolve().name)
        return found[2] if found else ""


def clean(text: object, most: int = 400) -> str:
    """What a student wrote as one printable line: no control characters, no line ends."""
    return printable(str(text)[:most]).strip()


def printable(text: str) -> str:
    """A text without control characters, which could do something where it is shown."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises
    ------
    InputError
        It is missing, a link, a device, or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InputError("is missing") from None
    except OSError as error:
        linked = path.is_symlink()
        raise InputError(
            "is a link; hand in the file itself" if linked else error.strerror
        ) from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InputError("is not a file")
        if about.st_size > LARGEST:
            raise InputError(f"has {about.st_size:,} bytes; {LARGEST:,} are the most")
        return file.read(LARGEST + 1)[:LARGEST]


def read(path: Path) -> Submission:
    """Read a folder or a zip; whatever is wrong with a file is noted, and the others are read."""
    found = Submission(path)
    with tempfile.TemporaryDirectory() as place:
        try:
            folder = _located(path, Path(place))
        except InputError as error:
            found.problems = {name: f"is missing: {error}" for name in ("model.py", "fields.csv")}
            return found
        readers = {
            "model.py": _code,
            "fields.csv": _table,
            "analysis.md": _analysis,
            "training.toml": _training,
        }
        for name, reader in readers.items():
            try:
                reader(found, folder, read_file(_named(folder, name)))
            except InputError as error:
                if name != "training.toml" or str(error) != "is missing":
                    found.problems[name] = clean(error)
        if found.problems.get("model.py") == "is missing" and any(folder.glob("*.ipynb")):
            found.problems["model.py"] = NOTEBOOK
        _runs(found, folder)
    return found


def _located(path: Path, place: Path) -> Path:
    """The folder with model.py, at most two levels down; archives are unpacked into `place`."""
    level = [path]
    for depth in range(3):
        level = [_unpacked(one, place / str(depth)) for one in level]
        for folder in level:
            if _named(folder, "model.py").exists():
                return folder
        level = sorted(one for folder in level for one in folder.iterdir() if is_hand_in(one))
        level = level[:MOST_FILES]
    return path if path.is_dir() else place / "0" / path.stem


def is_hand_in(path: Path) -> bool:
    """Whether something is a folder or an archive, itself and not a link to another's."""
    archive = path.suffix.lower() == ".zip" and path.is_file()
    return (path.is_dir() or archive) and not path.is_symlink() and path.name[0] not in "._"


def _unpacked(path: Path, place: Path) -> Path:
    """A folder as it is; what a zip holds of the kinds that are handed in, in `place`."""
    if path.is_dir():
        return path
    place /= path.stem
    place.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [one for one in archive.infolist() if "__MACOSX" not in one.filename]
            size = sum(one.file_size for one in packed)  # of which no more is unpacked
            if len(packed) > MOST_PACKED or size > UNPACKED:
                raise InputError(f"{len(packed):,} files, {size:,} bytes: hand in less")
            archive.extractall(place, packed)  # makes no link, and nothing outside
    except InputError:
        raise
    except Exception as error:  # zlib, LZMA and zipfile each have their own
        raise InputError(f"{clean(path.name)} cannot be unpacked: {clean(error)}") from None
    return place


def _named(folder: Path, name: str) -> Path:
    """A file of a folder, whether it is `model.py` or `Model.PY`."""
    found = [path for path in folder.iterdir() if path.name.lower() == name]
    return min(found, default=folder / name, key=lambda path: path.name != name)


def _text(content: bytes) -> str:
    try:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # "Unicode text" of a spreadsheet
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text; save it as UTF-8") from None


def _code(found: Submission, folder: Path, content: bytes) -> None:
    paths = [*folder.glob("*.py"), *folder.glob("*/*.py"), *folder.glob("*/*/*.py")]
    for path in sorted(paths, key=lambda path: len(path.parts))[:MOST_FILES]:
        name = str(path.relative_to(folder))
        if path.parent.resolve() != folder.resolve() / path.parent.relative_to(folder):
            continue  # behind a link, so somebody else's
        try:
            found.code[name] = read_file(path)
        except InputError as error:
            found.problems[clean(name)] = str(error)
    found.code["model.py"] = content


def _table(found: Submission, folder: Path, content: bytes) -> None:
    lines = _text(content).splitlines()
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise InputError(f"is not a table: {error}") from None
    names = [re.sub(r"[\s-]+", "_", name).lower() for name in rows[0]] if rows else []
    if missing := [name for name in COLUMNS if name not in names]:
        separated = {",": "commas", ";": "semicolons", "\t": "tabs"}[delimiter]
        raise InputError(
            f"has no column {missing[0]!r} (read with {separated} between the columns); its first "
            f"line is {','.join(COLUMNS)}"
        )
    if not any(map(any, rows[1:])):
        raise InputError("has no line below its first: write one for each layer")
    for line, cells in enumerate(rows[1:], start=2):
        if not any(cells):
            continue
        row = dict(zip(names, [*cells, *[""] * len(names)], strict=False))
        model = row["model"].replace(" ", "").capitalize()
        if model not in MODELS:
            text = clean(row["model"], 40)
            raise InputError(f"line {line}, model: {text!r} is not one of {', '.join(MODELS)}")
        numbers = [_number(line, names.index(name) + 1, name, row[name]) for name in COLUMNS[2:]]
        entry = Entry(clean(row["layer"], 80), tuple(numbers[:4]), Row(*numbers[4:]))
        found.table.setdefault(model, []).append(entry)


def _number(line: int, column: int, name: str, text: str) -> float:
    """A number as people write it: `3.5`, `3,5`, `3½`, `−1`."""
    try:
        plain = text.replace(",", ".").replace("−", "-")
        part = 0.0
        if plain and unicodedata.category(plain[-1]) == "No":
            part, plain = unicodedata.numeric(plain[-1]), plain[:-1].strip() or "0"
        value = float(plain) + (-part if plain.startswith("-") else part)
        if not math.isfinite(value):
            raise ValueError
    except ValueError:
        shown = clean(text, 40)
        raise InputError(
            f"line {line}, column {column} ({name}): {shown!r} is not a number"
        ) from None
    return int(value) if value == int(value) else value


def _analysis(found: Submission, folder: Path, content: bytes) -> None:
    found.analysis = _text(content)


def _training(found: Submission, folder: Path, content: bytes) -> None:
    try:
        asked = tomllib.loads(_text(content[: 1 << 16]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not TOML: {clean(error)}") from None
    if ours := sorted(set(asked) & OURS):
        raise InputError(f"sets {ours[0]}, which the grader decides")
    config = TrainConfig.from_dict(asked | {"augmentation": "batch", "workers": 0})
    if config.batch_size > LARGEST_BATCH:
        raise InputError(f"sets batch_size = {config.batch_size}; {LARGEST_BATCH} are the most")
    found.training = asked


def _runs(found: Submission, folder: Path) -> None:
    runs = folder / "runs"
    if runs.is_symlink():
        found.problems["runs/"] = "is a link; hand in the folder itself"
        return
    for path in sorted(runs.glob("*/history.json"))[:MOST_FILES]:
        name = clean(path.relative_to(folder))
        try:
            if path.parent.is_symlink():
                raise InputError("lies behind a link; hand in the folder itself")
            history = json.loads(_text(read_file(path)))
            rows, config = history["epochs"], history["config"]
            if not 0 < len(rows) <= MOST_EPOCHS or not 0 < int(config["epochs"]) <= MOST_EPOCHS:
                raise InputError(f"has no epochs, or more than {MOST_EPOCHS:,}")
            rows[-1]["held_out_accuracy"]
            found.runs[name] = {
                "config": {clean(key): value for key, value in config.items()},
                "epochs": [int(row["epoch"]) for row in rows],
                "held_out": {clean(row["held_out"]) for row in rows if "held_out" in row},
                "accuracies": [
                    float(row["held_out_accuracy"]) for row in rows if "held_out_accuracy" in row
                ],
                "asked": int(config["epochs"]),
                "validation": int(config["validation"]),
                "claimed": float(history["held_out_accuracy"]),
                "parameters": int(history.get("parameters", 0)),
            }
        except InputError as error:
            found.problems[name] = str(error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            found.problems[name] = "is not a history of `mnist_utils.train`"
