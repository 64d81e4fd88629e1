"""A class graded: submissions side by side; none can disturb another, and all can be resumed.

This process runs no student's code and builds no student's network: it starts those that do, behind
the wall, and reads what they say as data.
"""

import hashlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from classroom.grade import submission, wall
from classroom.grade.marks import VALIDATION, Evidence, Mark, mark, marks
from classroom.grade.rubric import Rubric, fault
from classroom.grade.submission import MODELS, Submission, clean
from mnist_utils import data
from mnist_utils.errors import InputError, first_line
from mnist_utils.files import DATA, write_atomically
from mnist_utils.recipes import RECIPES

SPEC, INSIDE = "classroom.grade.spec", "classroom.grade.inside"
DIGITS = [f"{name}.gz" for name in data.MD5 if name != "t10k-labels-idx1-ubyte"]
QUICK = {"epochs": 2, "subset": 6_000, "share": 1.0, "clean_epochs": 1}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MARKING = 20  # seconds of CPU for reading a submission's files, and for marking them

BOUNDS = {"strict": True, "ge": -1e9, "le": 1e9}
Number = Annotated[int, Field(**BOUNDS)] | Annotated[float, Field(**BOUNDS, allow_inf_nan=False)]
Row = Annotated[list[Number | None], Field(min_length=4, max_length=4)]  # None: not known
Text = Annotated[str, AfterValidator(clean)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Digit = Annotated[int, Field(strict=True, ge=0, le=9)]


class Network(BaseModel):
    """What `inside` says of a network."""

    parameters: Annotated[int, Field(strict=True, ge=0, le=1e9)]
    numbers: Annotated[int, Field(strict=True, ge=0, le=1e9)]
    fingerprint: Text
    image: Row
    windows: list[tuple[Row, Text, Row, Text]]
    description: dict


class Training(BaseModel):
    """What `inside` says of a training: accuracies by epoch, its answers to digits."""

    accuracies: list[Share]
    validation: list[Digit]
    test: list[Digit] | None = None


@dataclass(eq=False)
class Graded:
    """One submission's marks, and what they rest on."""

    evidence: Evidence
    marks: list[Mark]

    def __post_init__(self):
        self.name = self.evidence.submission.name
        self.points = sum(mark.points for mark in self.marks)
        self.of = sum(mark.of for mark in self.marks)


@dataclass(frozen=True)
class Options:
    """How a class is graded.

    `quick` trains one seed for two epochs of 6,000 digits, and gives no points for it; `answers`
    lets right numbers be said; `test` has the test digits read, once, at the end of each training.
    """

    quick: bool = False
    answers: bool = False
    test: bool = False
    wall: bool = True
    kept: Path = Path("grades")  # what was described and trained: not done again


class Work(NamedTuple):
    """What all steps of a grading share."""

    rubric: Rubric
    options: Options
    told: Callable[[str], None]
    stop: threading.Event
    side_by_side: int  # trainings of one submission


class Late(BaseException):
    """Reading or marking takes too long; no `except Exception` of a check swallows it."""


def grade(
    paths: Sequence[Path],
    rubric: Rubric,
    options: Options = Options(),
    *,
    told: Callable[[str], None] = lambda text: None,
    done: Callable[[Graded], None] = lambda graded: None,
) -> list[Graded]:
    """Grade submissions over all cores; `told` hears each step, `done` gets each that is ready.

    Raises
    ------
    InputError
        There is no wall, and `options` do not allow to grade without one.
    """
    wall.check(options.wall)
    work = Work(rubric, options, told, threading.Event(), max(1, CORES // max(1, len(paths))))
    late = [mark(rubric, name, "none", "Marking took too long.") for name in rubric.points]
    unread = dict.fromkeys(("model.py", "fields.csv", "analysis.md"), "could not be read")
    found = {}
    with ThreadPoolExecutor(CORES) as pool:
        try:
            running = {}
            for path in paths:
                one = _limited(lambda: submission.read(path), Submission(path, problems=unread))  # noqa: B023
                running[pool.submit(_examine, one, work)] = path
            for future in as_completed(running):
                evidence = future.result()
                graded = Graded(evidence, _limited(lambda: marks(evidence, rubric), late))  # noqa: B023
                found[running[future]] = graded
                try:
                    done(graded)
                except Exception as error:  # one page that cannot be written is not the class
                    told(f"{graded.name}: {clean(error)}")
        except KeyboardInterrupt as error:
            work.stop.set()
            pool.shutdown(cancel_futures=True)
            text = f"what was trained is in {options.kept}; the same command goes on from there"
            raise type(error)(text) from None
    return [found[path] for path in paths]


def _limited(work: Callable, otherwise):
    """What `work` returns, or `otherwise` if it fails or computes for too long (main thread)."""

    def late(number, frame):
        raise Late

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, MARKING)
    try:
        return work()
    except (Late, Exception):  # one hand-in never ends the class
        return otherwise
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _examine(submission: Submission, work: Work) -> Evidence:
    """Have a submission's networks described, built again, read and trained, all behind walls."""
    options = work.options
    evidence = Evidence(submission, quick=options.quick, answers=options.answers)
    try:
        if problem := submission.problems.get("model.py"):
            raise InputError(f"model.py {problem}")
        work.told(f"{submission.name}: {'read' if _describe(evidence, work) else 'read before'}")
        evidence.settings = settings_of(evidence, work.rubric, options.quick)
        if MODELS[-1] in evidence.networks:
            job = {"description": evidence.networks[MODELS[-1]]["description"]}
            job |= {"test": options.test}
            jobs = [
                job | {"settings": evidence.settings | {"seed": seed}}
                for seed in range(1 if options.quick else work.rubric.seeds)
            ]
            with ThreadPoolExecutor(work.side_by_side) as pool:
                evidence.trainings = list(pool.map(lambda job: _train(submission, job, work), jobs))
    except Exception as error:  # whatever it is, it is this submission's alone
        text = clean(error if isinstance(error, InputError) else first_line(error))
        missing = [model for model in MODELS if model not in evidence.networks]
        evidence.refused |= dict.fromkeys(missing, text)
        work.told(f"{submission.name}: {text[:100]}")
    return evidence


def _describe(evidence: Evidence, work: Work) -> bool:
    """Run a student's code, and read what it describes; whether that was not done before."""
    files, walled = evidence.submission.code, work.options.wall

    def describe() -> dict:
        with tempfile.TemporaryDirectory() as place:
            os.chmod(place, 0o755)  # what is root reads it as nobody
            for name, content in files.items():
                path = Path(place, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            said = wall.run(
                SPEC, [place, *MODELS], work.stop, shown=[Path(place)], wall=walled
            )  # fmt: skip
        if said.output[:1] != b"{":
            raise InputError(f"model.py was not described: {said.ended or 'it ended by itself'}")
        return _answer(wall.run(INSIDE, [], work.stop, stdin=said.output, wall=walled))

    code = {name: content.hex() for name, content in sorted(files.items())}
    described, new = _once(work.options, {"code": code, "wall": walled}, describe)
    for model in MODELS:
        about = described.get(model)
        if not isinstance(about, dict) or "error" in about:
            about = about if isinstance(about, dict) else {"error": "was not described"}
            evidence.refused[model] = clean(about["error"])
        else:
            evidence.networks[model] = checked_network(about)
    return new


def _answer(said: wall.Outcome) -> dict:
    """What a process of ours answered, as data."""
    with suppress(ValueError, RecursionError):
        if isinstance(answer := json.loads(said.output), dict):
            return answer
    raise InputError(said.ended or "it gave no answer")


def _once(options: Options, about: dict, make: Callable[[], dict]) -> tuple[dict, bool]:
    """What `make` gives, or what it gave before for the same; whether it was made now."""
    key = json.dumps(about | {"torch": version("torch"), "grader": _grader()}, sort_keys=True)
    path = options.kept / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text()), False
    result = make()
    write_atomically(path, json.dumps(result) + "\n")
    return result, True


@cache
def _grader() -> str:
    """This package's own version: what another one found out is not believed."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def checked_network(about: dict) -> dict:
    """What `inside` says of a network; InputError if a number is missing or out of range."""
    try:
        return Network.model_validate(about).model_dump()
    except ValidationError as error:
        raise InputError(f"it could not be read: {fault(error)}") from None


def checked_training(training: dict, job: dict) -> dict:
    """A training's answer, if this job can have it; its accuracies are held to its answers."""
    if "error" in training:
        return {"error": clean(training["error"])}
    try:
        answer = Training.model_validate(training)
        wrong = _wrong(answer.validation, _labels(True)[-VALIDATION:])
        last = 1 - len(wrong) / VALIDATION
        fits = len(answer.accuracies) == job["settings"]["epochs"]
        if not fits or abs(answer.accuracies[-1] - last) > 1e-6:
            raise ValueError("its accuracies are not those of its answers")
        if job["test"] != (answer.test is not None):
            raise ValueError("test digits are answered for only where they are asked for")
        kept = {"accuracies": answer.accuracies, "validation": answer.validation, "mistakes": wrong}
        if job["test"]:
            kept["test_errors"] = len(_wrong(answer.test, _labels(False)))
        return kept
    except ValueError as error:  # pydantic's are of this kind
        text = fault(error) if isinstance(error, ValidationError) else error
        raise InputError(f"training gave a strange answer: {text}") from None


def _wrong(answers: list[int], labels: list[int]) -> list[int]:
    """Where answers differ from labels; ValueError if there are not as many."""
    pairs = zip(answers, labels, strict=True)
    return [at for at, (answer, label) in enumerate(pairs) if answer != label]


@cache
def _labels(train: bool) -> list[int]:
    return data.load(train=train).labels.tolist()


def settings_of(evidence: Evidence, rubric: Rubric, quick: bool) -> dict:
    """How Model3 is trained: the rubric's recipe, and what is asked for within limits."""
    base = replace(RECIPES[rubric.recipe], epochs=rubric.epochs).to_dict()
    asked = evidence.submission.training
    limits = {
        "epochs": min(asked.get("epochs", rubric.epochs), rubric.half_epochs),
        "augmentation": "none" if asked.get("augmentation") == "none" else "batch",
        "validation": VALIDATION, "evaluate_every": 1, "threads": 1, "workers": 0, "subset": 0,
    }  # fmt: skip
    return base | asked | limits | (QUICK if quick else {})


def _train(submission: Submission, job: dict, work: Work) -> dict:
    """One training, or its stored result."""

    def train() -> dict:
        said = wall.run(
            INSIDE, [], work.stop, shown=[DATA / name for name in DIGITS],
            stdin=json.dumps(job).encode(), seconds=60 * work.rubric.minutes,
            wall=work.options.wall,
        )  # fmt: skip
        return checked_training(_answer(said), job)

    try:
        training, new = _once(work.options, job, train)
    except InputError as error:
        return {"error": str(error)}
    how = training.get("error") or f"{training['accuracies'][-1]:.2%} of the validation digits"
    seed = f"seed {job['settings']['seed']}{'' if new else ', trained before'}"
    work.told(f"{submission.name}: {seed}: {how}")
    return training
