"""Bring into `.venv` what a target needs: `python3 tools/setup.py train notebooks`.

The words are groups of requirements.txt; uv installs what requirements.lock pins for them. `--cpu`
takes PyTorch's build without CUDA, from its own index or from `--cpu=ADDRESS`. In SageMaker Studio,
whose space has 5 GB, or with `--studio`, `.venv` lies over the Python that runs this and its torch,
and gets only what these lack or have too old: tools/studio/requirements.lock.

Runs before anything is installed, so it needs Python's standard library only.
"""

from __future__ import annotations  # an old Python is told so, and not of its syntax

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
READY = VENV / ".ready"  # says that it is ours, where it was made, and what is in it
LOCK, OVERLAY = ROOT / "requirements.lock", ROOT / "tools/studio/requirements.lock"
TEMPORARY = ROOT / ".venv.tmp"  # uv's cache: beside .venv, so that files are linked and not copied
METADATA = Path("/opt/ml/metadata/resource-metadata.json")  # Studio's
OLDEST = {"torch": (2, 8), "torchvision": (0, 23)}  # that the course runs with
# The disk's peak in GB, as measured: by the largest group asked for, less what CPU=1 saves, over.
PEAKS, CUDA, OVER = {"cloud": 6.6, "notebooks": 5.4, "train": 5.2}, 3.1, 0.9
GPU_ALONE = re.compile(r"(triton|cuda-\w+)==")  # torch starts without these
OF_TORCH = re.compile(r"(torch|torchvision|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
FROM_C = "sagemaker-training=="  # without a C compiler a rehearsed search alone misses it

# Prints what a lock pins for this Python that is not there, in that version or a newer.
LACKING = """
import sys
from importlib.metadata import distributions
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.packaging.version import Version
there = {}
for d in distributions():
    there.setdefault(canonicalize_name(d.name), Version(d.version))
for pin in map(Requirement, filter(str.strip, open(sys.argv[1]))):
    name, wanted = canonicalize_name(pin.name), Version(str(pin.specifier).removeprefix("=="))
    part = name == "mlflow-tracing" and "mlflow" in there
    torch = name in ("torch", "torchvision", "triton") or name.startswith("nvidia-")
    if (not pin.marker or pin.marker.evaluate()) and not part and not torch:
        if there.get(name, Version("0")) < wanted:
            print(f"{pin.name}=={wanted}")
"""


class Refused(Exception):
    """What stands in the way, and what to do about it, in one line."""


def main(words: list[str]) -> None:
    if reached(words):
        return
    with open(ROOT / ".venv.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up is at work here; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if reached(words):  # by the other
            return
        state = read_state()
        goal = goal_of(words, state)
        over, groups, cpu = goal["over"], {*goal["groups"]}, goal["cpu"]
        if PYTHON.exists() and state.get("groups") and cpu != state.get("cpu"):
            raise Refused(f"{VENV} holds another PyTorch: delete it, then the same command again")
        not_whole = goal | {"groups": state.get("groups", []), "lock": ""}
        if not PYTHON.exists() or state.get("lock", "") is None:
            check(over, goal["groups"], cpu)
            VENV.mkdir(exist_ok=True)
            write(not_whole | {"lock": None})  # ours from its first moment on, and not yet made
            make(over)
        elif state.get("path", str(ROOT)) != str(ROOT):
            mend(state["path"])
        write(not_whole)
        install(over, groups, cpu)
        site = site_packages()
        (site / "mnist_course.pth").write_text(os.path.relpath(ROOT, site) + "\n")
        for name, place in (("jupyter_server_config", "etc/jupyter"),
                            ("overrides", "share/jupyter/lab/settings")):  # fmt: skip
            (VENV / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / f"tools/jupyter/{name}.json", VENV / place)
        write(goal)
        shutil.rmtree(TEMPORARY, ignore_errors=True)


def goal_of(words: list[str], state: dict) -> dict:
    """What `.venv` is to be: what is asked for, and what was before."""
    over = state.get("over", METADATA.exists() or "--studio" in words)
    cpu = next((word[6:] or "cpu" for word in words if word.startswith("--cpu")), state.get("cpu"))
    groups = {word for word in words if not word.startswith("--")} | {*state.get("groups", ())}
    lock = hashlib.sha256((OVERLAY if over else LOCK).read_bytes()).hexdigest()[:16]
    return {
        "path": str(ROOT), "over": over, "cpu": cpu, "groups": sorted(groups), "lock": lock,
    }  # fmt: skip


def reached(words: list[str]) -> bool:
    """Whether nothing is to be done."""
    try:
        state = read_state()
    except Refused:
        if (ROOT / ".venv.lock").exists():  # another may just begin: decided behind the lock
            return False
        raise  # nothing of somebody else's is touched
    return state == goal_of(words, state) and PYTHON.exists()


def read_state() -> dict:
    """What READY holds; {} if there is none. Refused: a `.venv` that somebody else made."""
    try:
        return json.loads(READY.read_text())
    except FileNotFoundError:
        if VENV.exists() and any(VENV.iterdir()):
            raise Refused(f"{VENV} is not the course's: move it away, or delete it") from None
        return {}
    except ValueError:
        text = READY.read_text().strip()
        return {"path": text} if text.startswith("/") else {}  # an earlier version's


def write(state: dict) -> None:
    """Whole or not at all, on a full disk too."""
    partial = ROOT / ".venv.ready"
    partial.write_text(json.dumps(state, indent=1) + "\n")
    os.replace(partial, READY)


def check(over: bool, groups: list[str], cpu: str | None) -> None:
    """Refuse what would fail minutes later: Python, its modules, the torch below, the disk."""
    here = sys.version_info[:2]
    if not (3, 11) <= here < (3, 15):
        known = "is too old" if here < (3, 11) else "is so new that packages lack wheels for it"
        raise Refused(
            f"Python {here[0]}.{here[1]} ({sys.executable}) {known}: install one from 3.11 to "
            "3.14, or name it, make PYTHON=/path/to/python3.14"
        )
    if not find_spec("venv") or not find_spec("ensurepip"):
        raise Refused(
            f"{sys.executable} comes without venv: `apt install python3-venv` on Debian and Ubuntu"
        )
    for name, oldest in OLDEST.items() if over else ():
        try:
            there = version(name)
        except PackageNotFoundError:
            there = "0, that is none"
        if tuple(map(int, re.findall(r"\d+", there)[:2])) < oldest:
            remedy = "name one that has, make PYTHON=/path/to/python, or leave STUDIO=1 out"
            if METADATA.exists():  # there it is the space that decides, not STUDIO=1
                remedy = "choose SageMaker Distribution 4.x for the space, and start it again"
            wanted = ".".join(map(str, oldest))
            raise Refused(f"{sys.executable} has {name} {there}, not {wanted} or newer: {remedy}")
    peak = next(gb for group, gb in PEAKS.items() if group in (*groups, "train"))
    peak = OVER if over else round(peak - CUDA * bool(cpu), 1)
    if (free := shutil.disk_usage(ROOT).free / 1e9) < peak:
        larger = "stop the space and give it more storage, in Studio under *JupyterLab*"
        raise Refused(
            f"{free:.1f} GB are free in {ROOT}, setting up .venv takes up to {peak}: "
            f"free some, or {larger if over else 'clone to a larger disk'}"
        )
    print(
        f"setting up .venv for {', '.join(groups)}: up to {peak} GB, a minute or more", flush=True
    )


def make(over: bool) -> None:
    """An empty `.venv`."""
    for old in VENV.iterdir():  # of one that lost its Python, or was stopped; READY says it is ours
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old != READY:
            old.unlink()
    options = ["-m", "venv", *["--system-site-packages"] * over]
    process = subprocess.Popen(
        [sys.executable, *options, VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate()
    finally:  # Ctrl-C ends what it has started, too
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        why = "".join(said.strip().splitlines()[-1:])
        raise Refused(f"{sys.executable} -m venv: {why}; the same command tries again")
    if over and sys.prefix != sys.base_prefix:  # a venv itself, of which ours knows nothing
        (site_packages() / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")


def mend(old: str) -> None:
    """Write the new path over the old one in the scripts of a moved environment."""
    for script in PYTHON.parent.iterdir():
        if script.is_file() and not script.is_symlink() and old.encode() in script.read_bytes():
            text = script.read_bytes().replace(old.encode(), os.fsencode(ROOT))
            if " " in str(ROOT):  # the kernel cuts a `#!` there
                call = rb"""#!/bin/sh\n'''exec' "\1" "$0" "$@"\n' '''\n"""
                text = re.sub(rb"^#!(/.*/python[\d.]*)\n", call, text)
            script.write_bytes(text)
    print(f"the checkout moved here from {old}: .venv is mended")


def install(over: bool, groups: set[str], cpu: str | None) -> None:
    """Bring in what the lock pins for the groups and `.venv` lacks."""
    TEMPORARY.mkdir(exist_ok=True)
    (uv,) = (pin for pin in pins(LOCK) if pin.startswith("uv=="))
    if over:
        (TEMPORARY / "pins.txt").write_text("".join(pins(OVERLAY)))
        wanted = run_inside(LACKING, TEMPORARY / "pins.txt").splitlines(keepends=True)
    else:
        wanted = [pin for pin in pins(LOCK) if groups & {*pin.rpartition("# ")[2].split()}]
    if not Path("/proc/driver/nvidia/version").exists():
        wanted = [pin for pin in wanted if not GPU_ALONE.match(pin)]
    if not shutil.which("cc"):
        wanted = [pin for pin in wanted if not pin.startswith(FROM_C)]
    if wanted and not list(site_packages().glob("uv-*.dist-info")):
        pip = ["pip", "install", "--quiet", "--no-cache-dir", "--retries", "0", "--timeout", "15"]
        run([*pip, "--disable-pip-version-check"], uv)
    by_uv = ["uv", "pip", "install", "--python", PYTHON]
    torch = [pin for pin in wanted if cpu and OF_TORCH.match(pin)]
    if most := [pin for pin in wanted if pin not in torch]:
        run(by_uv, *most)
    if torch:
        where = ["--torch-backend", "cpu"] if cpu == "cpu" else ["--index-url", cpu]
        run([*by_uv, *where], *(f"{pin.split()[0]}\n" for pin in torch if pin.startswith("torch")))
    if over:
        taken = ", ".join(f"{name} {version(name)}" for name in OLDEST)
        print(f"taken from {sys.prefix}: {taken} and all else that is new enough; "
              f"installed over it: {len(wanted)} packages")  # fmt: skip


def pins(lock: Path) -> list[str]:
    """A lock's packages, each with its hashes and the groups that need it."""
    blocks = re.split(r"^(?=\w)", lock.read_text(), flags=re.MULTILINE)
    return [block for block in blocks if block[:1].isalnum()]


def run(installer: list, *requirements: str) -> None:
    """Run pip, or uv with pip's index; Refused with the last line that says why it failed."""
    source, shown = TEMPORARY / "requirements.txt", sys.stderr.isatty()
    source.write_text("".join(requirements))
    environment = {"UV_HTTP_TIMEOUT": "60", "UV_NO_CONFIG": "1"} | os.environ
    environment |= {"UV_CACHE_DIR": str(TEMPORARY / "cache")}
    for ours, theirs in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
        if theirs in environment:
            environment.setdefault(ours, environment[theirs])
    process = subprocess.Popen(
        [PYTHON, "-m", *installer, "--no-deps", "--requirement", source], env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True,
        stderr=None if shown else subprocess.PIPE, start_new_session=not shown,
    )  # fmt: skip  # in a session of its own, Ctrl-C is ours to answer
    try:
        _, said = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        lines = [line.strip(" ×╰─▶│") for line in (said or "").splitlines() if line.strip()]
        why = f". It says: {lines[-1]}" if lines else ". The reason stands above" * shown
        raise Refused(
            "packages could not be fetched: connect this machine, or set HTTPS_PROXY (a proxy) or "
            f"PIP_INDEX_URL (a mirror); the same command goes on from here{why}"
        )


def run_inside(code: str, *arguments) -> str:
    """What a script prints when the Python of `.venv` runs it."""
    words = [PYTHON, "-c", code, *arguments]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def site_packages() -> Path:
    return Path(run_inside("import sysconfig; print(sysconfig.get_path('purelib'))").strip())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1:])
    except Refused as refusal:
        sys.exit(f"error: {refusal}")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:  # a read-only checkout, a full disk
        sys.exit(
            f"error: {error.filename or ROOT}: {error.strerror}; choose another folder or disk"
        )
