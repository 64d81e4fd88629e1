"""What a student hands in, found and read with care: regular files of a sensible size alone."""

import csv
import io
import os
import re
import stat
import tempfile
import tomllib
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from classroom.grade.rubric import fault
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError, first_line
from mnist_utils.receptive_field import Row

MODELS = ("Model1", "Model2", "Model3")
COLUMNS = (
    "model", "layer", "kernel_size", "stride", "padding", "dilation",
    "size", "receptive_field", "jump", "start",
)  # fmt: skip
LARGEST = 1 << 20  # bytes of a file
MOST_FILES = 60  # of a kind
TITLES = 5  # lines of a table among which the names of its columns are looked for
MOST_PACKED, LARGEST_PACKED = 1_000, 32 << 20  # files in a zip, and their bytes
MOST_ZIPS = 4  # inside one another, or side by side
PACKED = (".py", ".csv", ".md", ".toml", ".json", ".ipynb", ".zip")
LARGEST_BATCH = 512  # for which a core's memory is enough
# What training.toml may not decide.
OURS = {"model", "seed", "validation", "evaluate_every", "subset", "threads", "workers"}
MOODLE = re.compile(r"([^_]+)_(\d+)_assignsubmission_")  # a name and a participant's number
NOTEBOOK = (
    "is missing, and there is a notebook: save it as a script (in JupyterLab File, Save and Export "
    "Notebook As, Executable Script), keep the three classes alone, and call it model.py"
)


class Asked(BaseModel):
    """Of a run's configuration, what it must have."""

    epochs: int = Field(ge=1, le=10_000)
    validation: int


class Epoch(BaseModel):
    """A row of a run's history; held-out figures only where it was evaluated."""

    epoch: int
    train_loss: float | None = None
    held_out: str | None = None
    held_out_accuracy: float | None = None


class History(BaseModel):
    """A run's history.json."""

    config: dict[str, Any]
    asked: Asked = Field(validation_alias="config")
    epochs: list[Epoch] = Field(min_length=1, max_length=10_000)
    held_out_accuracy: float = Field(ge=0, le=1)
    parameters: int = 0


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
    runs: dict[str, History] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        name = self.path.resolve().name
        match = MOODLE.match(name)  # else the folder or the archive is named after the student
        self.name = clean(match[1] if match else re.sub(r"\.zip$", "", name, flags=re.IGNORECASE))
        self.participant = match[2] if match else ""


def clean(text: object, most: int = 400) -> str:
    """What a student wrote as one printable line: no control characters, no line ends."""
    return printable(str(text)[:most]).strip()


def printable(text: str) -> str:
    """A text without control characters, which could do something where it is shown."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def read_file(path: Path) -> bytes:
    """A file's bytes; InputError if it is missing, a link, a device, or too large."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InputError("is missing") from None
    except OSError as error:
        link = "is a link; hand in the file itself"
        raise InputError(link if path.is_symlink() else error.strerror) from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise InputError("is not a file")
        if about.st_size > LARGEST:
            raise InputError(f"has {about.st_size:,} bytes; {LARGEST:,} are the most")
        return os.read(handle, LARGEST)
    finally:
        os.close(handle)


def read(path: Path) -> Submission:
    """Read a folder or a zip; whatever is wrong with a file is noted, and the others are read."""
    submission = Submission(path)
    with tempfile.TemporaryDirectory() as place:
        try:
            folder = _located(path, Path(place))
        except InputError as error:
            submission.problems = {
                name: f"is missing: {error}" for name in ("model.py", "fields.csv")
            }
            return submission
        readers = {
            "model.py": _code, "fields.csv": _table,
            "analysis.md": _analysis, "training.toml": _training,
        }  # fmt: skip
        for name, reader in readers.items():
            try:
                reader(submission, folder, read_file(_named(folder, name)))
            except InputError as error:
                if name != "training.toml" or str(error) != "is missing":
                    submission.problems[name] = clean(error) + _nearly(folder, name, str(error))
            except Exception as error:  # one file is not another's
                submission.problems[name] = f"cannot be read: {first_line(error)}"
        missing = submission.problems.get("model.py", "").startswith("is missing")
        if missing and any(folder.glob("*.ipynb")):
            submission.problems["model.py"] = NOTEBOOK
        _runs(submission, folder)
    return submission


def _located(path: Path, place: Path) -> Path:
    """The folder with model.py, at most two levels down; archives are unpacked into `place`."""
    level, unpacked = [path], 0
    for _ in range(3):
        for folder in level:
            if folder.is_file() and unpacked < MOST_ZIPS:
                unpacked += 1
                folder = _unpacked(folder, place / str(unpacked))
            if (clone := folder / "notebooks" / "assignment" / "submission").is_dir():
                return clone  # of the course's repository, where students work
            if folder.is_dir() and _named(folder, "model.py").exists():
                return folder
        folders = [*filter(Path.is_dir, [*level, *place.iterdir()])]
        level = sorted({one for folder in folders for one in folder.iterdir() if is_hand_in(one)})
        level = level[:MOST_FILES]
    return path if path.is_dir() else place / "1"


def is_hand_in(path: Path) -> bool:
    """Whether this is a folder or a zip, itself and no link, that somebody may have handed in."""
    is_zip = path.suffix.lower() == ".zip" and path.is_file()
    hidden = path.name[0] == "." or path.name == "__MACOSX"
    return (is_zip or path.is_dir()) and not hidden and not path.is_symlink()


def _unpacked(path: Path, place: Path) -> Path:
    """What a zip holds of the kinds that are handed in; nothing outside, no link."""
    place.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [one for one in archive.infolist() if one.filename.lower().endswith(PACKED)]
            for one in packed:
                one.filename = one.filename.replace("\\", "/")  # of old programs on Windows
            if len(packed) > MOST_PACKED or sum(one.file_size for one in packed) > LARGEST_PACKED:
                raise InputError("hand in less: what was asked for, without data and packages")
            archive.extractall(place, packed)  # reads no more of a file than its size says
    except Exception as error:  # zlib's, zipfile's, the system's
        raise InputError(f"{clean(path.name)} cannot be unpacked: {clean(error)}") from None
    return place


def _nearly(folder: Path, name: str, problem: str) -> str:
    """What lies there in place of a missing file: `fields.xlsx`, `model-1.py`."""
    stem, _, suffix = name.partition(".")
    near = [path.name for path in folder.iterdir() if path.name.lower().startswith(stem)]
    if problem != "is missing" or not near:
        return ""
    return f"; there is {clean(min(near), 60)}: save it as {suffix.upper()}, called {name}"


def _named(folder: Path, name: str) -> Path:
    """A file of a folder, whether it is `model.py` or `Model.PY`."""
    paths = [path for path in folder.iterdir() if path.name.lower() == name]
    return min(paths, default=folder / name, key=lambda path: path.name != name)


def _text(content: bytes) -> str:
    """A text as editors and spreadsheets save it: UTF-8, UTF-16 with a mark, else Windows-1252."""
    try:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_table(content: bytes) -> tuple[list[list[str]], str]:
    """A spreadsheet's rows, and what separates its columns; InputError if it is none."""
    text = _text(content)
    delimiter = max(",;\t", key=text[:2_000].count)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [[cell.strip() for cell in row] for row in rows]
    except csv.Error as error:
        raise InputError(f"is not a table: {error}") from None
    return rows or [[]], {",": "commas", ";": "semicolons", "\t": "tabs"}[delimiter]


def _code(submission: Submission, folder: Path, content: bytes) -> None:
    paths = [*folder.glob("*.py"), *folder.glob("*/*.py"), *folder.glob("*/*/*.py")]
    own = [path for path in paths if path.parent.resolve().is_relative_to(folder.resolve())]
    for path in sorted(own, key=lambda path: len(path.parts))[:MOST_FILES]:
        name = str(path.relative_to(folder))
        try:
            submission.code[name] = read_file(path)
        except InputError as error:
            submission.problems[clean(name)] = str(error)
    submission.code["model.py"] = content


def _table(submission: Submission, folder: Path, content: bytes) -> None:
    rows, separated = read_table(content)
    plain = [[re.sub(r"[\s-]+", "_", name).lower() for name in row] for row in rows[:TITLES]]
    head = max(range(len(plain)), key=lambda at: len({*COLUMNS} & {*plain[at]}))
    names = plain[head]
    if missing := [name for name in COLUMNS if name not in names]:
        raise InputError(
            f"has no column {missing[0]!r} (read with {separated} between the columns); its first "
            f"line is {','.join(COLUMNS)}"
        )
    for line, cells in enumerate(rows[head + 1 :], start=head + 2):
        if not any(cells):
            continue
        row = dict(zip(names, [*cells, *[""] * len(names)], strict=False))
        model = re.sub(r"[\W_]", "", row["model"]).capitalize()
        if model not in MODELS:
            text = clean(row["model"], 40)
            raise InputError(f"line {line}, model: {text!r} is not one of {', '.join(MODELS)}")
        numbers = []
        for name in COLUMNS[2:]:
            try:
                numbers.append(_number(row[name]))
            except ValueError:
                where = f"line {line}, column {names.index(name) + 1} ({name})"
                raise InputError(f"{where}: {clean(row[name], 40)!r} is not a number") from None
        entry = Entry(clean(row["layer"], 80), tuple(numbers[:4]), Row(*numbers[4:]))
        submission.table.setdefault(model, []).append(entry)
    if not submission.table:
        raise InputError("has no line below its first: write one for each layer")


def _number(text: str) -> float:
    """A number as people write it: `3.5`, `3,5`, `3½`, `−1`."""
    plain, part = text.replace(",", ".").replace("−", "-"), 0.0
    if plain and unicodedata.category(plain[-1]) == "No":
        part, plain = unicodedata.numeric(plain[-1]), plain[:-1].strip() or "0"
    value = float(plain) + (-part if plain.startswith("-") else part)
    if not abs(value) < 1e9:  # nor is it "nan"
        raise ValueError
    return int(value) if value == int(value) else value


def _analysis(submission: Submission, folder: Path, content: bytes) -> None:
    submission.analysis = _text(content)


def _training(submission: Submission, folder: Path, content: bytes) -> None:
    try:
        asked = tomllib.loads(_text(content[: 1 << 16]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not TOML: {clean(error)}") from None
    if ours := sorted(set(asked) & OURS):
        raise InputError(f"sets {ours[0]}, which the grader decides")
    config = TrainConfig.from_dict(asked | {"augmentation": "batch", "workers": 0})
    if config.batch_size > LARGEST_BATCH:
        raise InputError(f"sets batch_size = {config.batch_size}; {LARGEST_BATCH} are the most")
    submission.training = asked


def _runs(submission: Submission, folder: Path) -> None:
    runs = folder / "runs"
    if runs.is_symlink():
        submission.problems["runs/"] = "is a link; hand in the folder itself"
        return
    for path in sorted(runs.glob("*/history.json"))[:MOST_FILES]:
        name = clean(path.relative_to(folder))
        try:
            if path.parent.is_symlink():
                raise InputError("lies behind a link; hand in the folder itself")
            submission.runs[name] = History.model_validate_json(_text(read_file(path)))
        except InputError as error:
            submission.problems[name] = str(error)
        except ValidationError as error:
            submission.problems[name] = f"is not a history of `mnist_utils.train`: {fault(error)}"
