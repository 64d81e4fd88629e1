"""A class graded: submissions side by side, none of which can disturb another, resumable."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from mnist_utils.errors import InputError, first_line
from mnist_utils.files import write_atomically
from mnist_utils.grade import sandbox, submission
from mnist_utils.grade.marks import Evidence, Mark, mark, marks
from mnist_utils.grade.rebuild import rebuild
from mnist_utils.grade.rubric import Rubric
from mnist_utils.grade.submission import MODELS
from mnist_utils.recipes import RECIPES

SPEC = Path(__file__).with_name("spec.py")
QUICK = {"epochs": 2, "subset": 6_000, "share": 1.0, "clean_epochs": 1}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def grade(
    folders: Sequence[Path],
    rubric: Rubric,
    *,
    quick: bool = False,
    kept: Path = Path("grades"),
    told: Callable[[str], None] = lambda text: None,
) -> list[Graded]:
    """Grade submissions over all cores; a training that is stored in `kept` is not run again.

    `told` hears each step as it ends. `quick` trains one seed for two epochs of 6,000 digits, and
    gives no points for it.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(CORES) as pool:
        try:
            found = list(pool.map(lambda folder: _examine(folder, stop, told), folders))
            jobs = [(one, job) for one in found for job in _jobs(one, rubric, quick)]
            results = pool.map(lambda job: _train(*job, rubric, kept, stop, told), jobs)
            for (evidence, _), result in zip(jobs, results, strict=True):
                evidence.trainings.append(result)
        except KeyboardInterrupt as error:
            stop.set()
            pool.shutdown(cancel_futures=True)
            text = f"finished trainings are in {kept}; the same command goes on from there"
            raise type(error)(text) from None
    return [Graded(one, _marks(one, rubric, quick)) for one in found]


def _marks(evidence: Evidence, rubric: Rubric, quick: bool) -> list[Mark]:
    found = marks(evidence, rubric)
    if not quick:
        return found
    text = "Not measured: this was a quick look."
    if evidence.trainings and "epochs" in evidence.trainings[0]:
        share = evidence.trainings[0]["epochs"][-1]["held_out_accuracy"]
        text = f"A quick look: Model3 reads {share:.1%} after 2 epochs of 6,000 digits. No points."
    elif evidence.trainings:
        text = evidence.trainings[0]["error"]
    free = replace(mark(rubric, "accuracy", "none", text), of=0)
    return [free if one.name == "accuracy" else one for one in found]


def _examine(folder: Path, stop: threading.Event, told) -> Evidence:
    """Read a folder, have its networks described in the sandbox, build them again."""
    evidence = Evidence(submission.read(folder))
    try:
        _describe(evidence, stop)
    except Exception as error:  # whatever it is, it is this submission's alone
        text = f"could not be described: {first_line(error)}"
        evidence.refused |= {model: text for model in MODELS}
    for model, description in evidence.descriptions.copy().items():
        try:
            evidence.networks[model] = rebuild(description)
        except InputError as error:
            evidence.refused[model] = str(error)
            del evidence.descriptions[model]
    told(f"{evidence.submission.name}: read")
    return evidence


def _describe(evidence: Evidence, stop: threading.Event) -> None:
    given = evidence.submission
    if problem := given.problems.get("model.py"):
        evidence.refused |= {model: f"model.py {problem}" for model in MODELS}
        return
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place, "submission"), Path(place, "out")
        folder.mkdir()
        out.mkdir()
        os.chmod(place, 0o755)  # what is root reads it as nobody
        for name, content in given.code.items():
            (folder / name).write_bytes(content)
        written = out / "networks.json"
        ended = sandbox.run([str(SPEC), "model.py", str(written), *MODELS], folder, out, stop)
        try:
            found = json.loads(submission.read_file(written))
        except (InputError, ValueError, RecursionError):
            last = ended.output.strip().splitlines()[-1:]
            why = ended.stopped or f"it ended with exit status {ended.code}" + "".join(
                f": {line}" for line in last
            )
            evidence.refused |= {model: f"model.py was not described: {why}" for model in MODELS}
            return
    for model in MODELS:
        about = found.get(model) if isinstance(found, dict) else None
        if not isinstance(about, dict) or "error" in about:
            text = about["error"] if isinstance(about, dict) else "was not described"
            evidence.refused[model] = str(text)[:400]
        else:
            evidence.descriptions[model] = about


def settings_of(evidence: Evidence, rubric: Rubric, quick: bool) -> dict:
    """How Model3 is trained: the rubric's recipe, and what is asked for within limits."""
    base = replace(RECIPES[rubric.recipe], epochs=rubric.epochs).to_dict()
    asked = evidence.submission.training
    limits = {
        "epochs": min(asked.get("epochs", rubric.epochs), rubric.half_epochs),
        "augmentation": "none" if asked.get("augmentation") == "none" else "batch",
        "validation": 5_000,
        "evaluate_every": 1,
        "threads": 1,
        "workers": 0,
        "subset": 0,
    }
    return base | asked | limits | (QUICK if quick else {})


def _jobs(evidence: Evidence, rubric: Rubric, quick: bool) -> list[dict]:
    if MODELS[-1] not in evidence.descriptions:
        return []
    settings = settings_of(evidence, rubric, quick)
    return [
        {"description": evidence.descriptions[MODELS[-1]], "settings": settings | {"seed": seed}}
        for seed in range(1 if quick else rubric.seeds)
    ]


def _train(
    evidence: Evidence, job: dict, rubric: Rubric, kept: Path, stop: threading.Event, told
) -> dict:
    """One training in a process of its own, or its stored result."""
    written = json.dumps(job | {"torch": torch.__version__}, sort_keys=True)
    path = kept / f"{hashlib.sha256(written.encode()).hexdigest()[:16]}.json"
    which = f"{evidence.submission.name}: seed {job['settings']['seed']}"
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        told(f"{which} was trained before")
        return found
    with tempfile.TemporaryDirectory() as place:
        files = Path(place, "job.json"), Path(place, "out.json")
        files[0].write_text(json.dumps(job))
        error = _run(["mnist_utils.grade.training", *map(str, files)], rubric.minutes, stop)
        try:
            found = json.loads(files[1].read_text())
        except (OSError, ValueError):
            return {"error": error}
    write_atomically(path, json.dumps(found) + "\n")
    told(f"{which} trained")
    return found


def _run(module: list[str], minutes: float, stop: threading.Event) -> str:
    """Run a module of ours; return in words how it ended."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], stdout=log, stderr=log, start_new_session=True
        )
        end = time.monotonic() + 60 * minutes
        while process.poll() is None:
            if stop.wait(0.2) or time.monotonic() > end:
                process.kill()
                process.wait()
                late = f"it trained for more than {minutes:g} minutes"
                return "it was interrupted" if stop.is_set() else late
        log.seek(0)
        last = log.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"training ended early: {last[0] if last else process.returncode}"
