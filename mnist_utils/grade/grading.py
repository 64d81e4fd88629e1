"""A class graded: submissions side by side, none of which can disturb another, resumable.

This process runs no student's code and builds no student's network: it starts those that do, behind
the wall, and reads what they say as data.
"""

import hashlib
import json
import math
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from mnist_utils import data
from mnist_utils.errors import InputError, first_line
from mnist_utils.files import DATA, write_atomically
from mnist_utils.grade import submission, wall
from mnist_utils.grade.marks import VALIDATION, Evidence, Mark, mark, marks
from mnist_utils.grade.rubric import Rubric
from mnist_utils.grade.submission import MODELS, Submission, clean
from mnist_utils.recipes import RECIPES

SPEC, INSIDE = "mnist_utils.grade.spec", "mnist_utils.grade.inside"
DIGITS = [f"{name}.gz" for name in data.MD5 if name != "t10k-labels-idx1-ubyte"]
QUICK = {"epochs": 2, "subset": 6_000, "share": 1.0, "clean_epochs": 1}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MARKING = 20  # seconds of CPU for reading a submission's files, and for marking them


@dataclass
class Graded:
    """One submission's marks, and what they rest on."""

    evidence: Evidence
    marks: list[Mark]

    @property
    def name(self) -> str:
        """The submission's."""
        return self.evidence.submission.name

    @property
    def points(self) -> float:
        """Given by the grader."""
        return sum(mark.points for mark in self.marks)

    @property
    def of(self) -> float:
        """The most that the grader could give."""
        return sum(mark.of for mark in self.marks)

    def to_dict(self, rubric: Rubric) -> dict:
        """For JSON: `submission`, `points`, `of`, `checks`, and what is left to the teacher."""
        return {
            "submission": self.name,
            "points": self.points,
            "of": self.of,
            "checks": [asdict(mark) for mark in self.marks],
            "by_teacher": [
                {"name": name, "of": of, "look_for": text}
                for name, (of, text) in rubric.teacher.items()
            ],
        }


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
    stop, found = threading.Event(), {}
    read = [_limited(lambda path=path: submission.read(path), Submission(path)) for path in paths]
    side_by_side = max(1, CORES // max(1, len(paths)))  # trainings of one submission
    with ThreadPoolExecutor(CORES) as pool:
        try:
            running = {
                pool.submit(_examine, one, rubric, options, side_by_side, stop, told): path
                for path, one in zip(paths, read, strict=True)
            }
            for future in as_completed(running):
                evidence = future.result()
                late = [
                    mark(rubric, name, "none", "Marking took too long.") for name in rubric.points
                ]
                graded = Graded(evidence, _limited(lambda e=evidence: marks(e, rubric), late))
                found[running[future]] = graded
                done(graded)
        except KeyboardInterrupt as error:
            stop.set()
            pool.shutdown(cancel_futures=True)
            text = f"what was trained is in {options.kept}; the same command goes on from there"
            raise type(error)(text) from None
    return [found[path] for path in paths]


class Late(BaseException):
    """Reading or marking took too long; no `except Exception` of a check swallows it."""


def _limited(work: Callable, otherwise):
    """What `work` returns, or `otherwise` if it computes for too long (in the main thread)."""
    try:
        with _seconds(MARKING):
            return work()
    except (Late, Exception) as error:  # one hand-in never ends the class
        if isinstance(otherwise, Submission):
            otherwise.problems = dict.fromkeys(
                ("model.py", "fields.csv", "analysis.md"), str(error)
            )
        return otherwise


@contextmanager
def _seconds(most: float):
    def late(number, frame):
        raise Late(f"took more than {most:g} seconds to read")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _examine(
    given: Submission, rubric: Rubric, options: Options, side_by_side: int, stop, told
) -> Evidence:
    """Have a submission's networks described, built again, read and trained, all behind walls."""
    evidence = Evidence(given, quick=options.quick, answers=options.answers)
    try:
        if problem := given.problems.get("model.py"):
            raise InputError(f"model.py {problem}")
        told(f"{given.name}: {'read' if _describe(evidence, options, stop) else 'read before'}")
        evidence.settings = settings_of(evidence, rubric, options.quick)
        if MODELS[-1] in evidence.networks:
            jobs = [
                {
                    "description": evidence.networks[MODELS[-1]]["description"],
                    "settings": evidence.settings | {"seed": seed},
                    "test": options.test,
                }
                for seed in range(1 if options.quick else rubric.seeds)
            ]
            with ThreadPoolExecutor(side_by_side) as pool:
                work = pool.map(lambda job: _train(given, job, rubric, options, stop, told), jobs)
                evidence.trainings = list(work)
    except Exception as error:  # whatever it is, it is this submission's alone
        text = str(error) if isinstance(error, InputError) else first_line(error)
        missing = [model for model in MODELS if model not in evidence.networks]
        evidence.refused |= {model: clean(text) for model in missing}
        told(f"{given.name}: {clean(text, 100)}")
    return evidence


def _describe(evidence: Evidence, options: Options, stop: threading.Event) -> bool:
    """Run a student's code, and read what it describes; whether that was not done before."""
    code = {name: content.hex() for name, content in sorted(evidence.submission.code.items())}

    def describe() -> dict:
        with tempfile.TemporaryDirectory() as place:
            os.chmod(place, 0o755)  # what is root reads it as nobody
            for name, content in evidence.submission.code.items():
                path = Path(place, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            said = wall.run(
                SPEC, [place, *MODELS], stop, shown=[Path(place)], wall=options.wall
            )  # fmt: skip
        if said.output[:1] != b"{":
            raise InputError(f"model.py was not described: {said.ended or 'it ended by itself'}")
        return _answer(wall.run(INSIDE, [], stop, given=said.output, wall=options.wall))

    found, new = _once(options, {"code": code, "wall": options.wall}, describe)
    for model in MODELS:
        about = found.get(model)
        if not isinstance(about, dict) or "error" in about:
            text = about["error"] if isinstance(about, dict) else "was not described"
            evidence.refused[model] = clean(text)
        else:
            evidence.networks[model] = checked_network(about)
    return new


def _answer(said: wall.Outcome) -> dict:
    """What a process of ours answered, as data."""
    try:
        found = json.loads(said.output)
        assert isinstance(found, dict)
        return found
    except (ValueError, RecursionError, AssertionError):
        raise InputError(said.ended or "it gave no answer") from None


def _once(options: Options, about: dict, make: Callable[[], dict]) -> tuple[dict, bool]:
    """What `make` gives, or what it gave before for the same; whether it was made now."""
    key = json.dumps(about | {"torch": version("torch")}, sort_keys=True)
    path = options.kept / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text()), False
    found = make()
    write_atomically(path, json.dumps(found) + "\n")
    return found, True


def checked_network(about: dict) -> dict:
    """What `inside` says of a network, if each part is of its kind.

    Raises
    ------
    InputError
        A number is missing, infinite or out of range.
    """
    try:
        windows = [
            ([_number(n) for n in window], clean(kind), [_number(n) for n in row], clean(name, 80))
            for window, kind, row, name in about["windows"]
        ]
        return {
            "parameters": int(_number(about["parameters"])),
            "numbers": int(_number(about["numbers"])),
            "fingerprint": clean(about["fingerprint"], 16),
            "image": [_number(n) for n in about["image"]],
            "windows": windows,
            "description": about["description"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"it could not be read: {first_line(error)}") from None


def _number(value, least: float = -1e9, most: float = 1e9) -> float:
    if value is None:
        return value  # what `describe` does not know
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{value!r} is not a number from {least:g} to {most:g}")
    return value


def checked_training(found: dict, job: dict) -> dict:
    """A training's answer, each number in its range; its accuracies are held to its answers.

    Raises
    ------
    InputError
        It is not what a training of this job can answer.
    """
    if "error" in found:
        return {"error": clean(found["error"])}
    try:
        accuracies = [_number(share, 0, 1) for share in found["accuracies"]]
        answers = {
            name: [int(_number(digit, 0, 9)) for digit in found[name]]
            for name in ("validation", "test")
            if name in found
        }
        labels = {"validation": _labels(True)[-VALIDATION:], "test": _labels(False)}
        wrong = {
            name: [
                i
                for i, pair in enumerate(zip(given, labels[name], strict=True))
                if len({*pair}) > 1
            ]
            for name, given in answers.items()
        }
        last = 1 - len(wrong["validation"]) / VALIDATION
        fits = len(accuracies) == job["settings"]["epochs"] and abs(accuracies[-1] - last) < 1e-6
        if not fits or ("test" in wrong) != job["test"]:
            raise ValueError("its accuracies are not those of its answers")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"training gave a strange answer: {first_line(error)}") from None
    kept = {"accuracies": accuracies, "validation": answers["validation"]}
    kept |= {"mistakes": wrong["validation"]}
    return kept | ({"test_errors": len(wrong["test"])} if job["test"] else {})


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
        "validation": VALIDATION,
        "evaluate_every": 1,
        "threads": 1,
        "workers": 0,
        "subset": 0,
    }
    return base | asked | limits | (QUICK if quick else {})


def _train(given: Submission, job: dict, rubric: Rubric, options: Options, stop, told) -> dict:
    """One training, or its stored result."""

    def train() -> dict:
        said = wall.run(
            INSIDE, [], stop, shown=[DATA / name for name in DIGITS],
            given=json.dumps(job).encode(), seconds=60 * rubric.minutes, wall=options.wall,
        )  # fmt: skip
        return checked_training(_answer(said), job)

    try:
        found, new = _once(options, job, train)
    except InputError as error:
        return {"error": str(error)}
    how = found.get("error") or f"{found['accuracies'][-1]:.2%} of the validation digits"
    told(f"{given.name}: seed {job['settings']['seed']}{'' if new else ', trained before'}: {how}")
    return found
