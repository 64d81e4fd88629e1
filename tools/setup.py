"""Make `.venv` from requirements.lock, or mend it where the checkout has moved: `make setup`.

In SageMaker Studio, whose space has 5 GB, or with `STUDIO=1`, it lies over the Python that runs
this and its torch, and gets only what these lack or have too old: tools/studio/requirements.lock.

Runs before anything is installed, so it needs Python's standard library only.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
METADATA = Path("/opt/ml/metadata/resource-metadata.json")  # Studio's


def lies_over() -> bool:
    """Whether `.venv` is, or shall be, one over the environment of the Python that runs this."""
    try:
        made_so = "include-system-site-packages = true" in (VENV / "pyvenv.cfg").read_text()
    except OSError:
        made_so = False
    return made_so or METADATA.exists() or "--studio" in sys.argv


IN_STUDIO = lies_over()
LOCK = ROOT / ("tools/studio/requirements.lock" if IN_STUDIO else "requirements.lock")
READY = VENV / ".ready"  # holds the path of the checkout that it was made for
TEMPORARY = ROOT / ".venv.tmp"  # pip's wheels: beside .venv, since /tmp may be memory
PYTHON = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
# 7.2 at the most: the packages, and the wheels of a batch while it is installed; over a torch 0.6.
NEEDED_GB = 0.9 if IN_STUDIO else 8
OLDEST = {"torch": (2, 8), "torchvision": (0, 23)}  # that the course runs with
FROM_C = "sagemaker-training=="  # without a C compiler a rehearsed search alone misses it
BATCH = 12  # packages that pip installs at once: more need more disk, fewer more starts of pip
PROBE = "torchsummary==1.5.1"  # three kilobytes, to see whether an index answers

# JupyterLab as the course wants it: no news, names whole, notebooks saved without this machine.
SERVER = {"FileContentsManager": {"pre_save_hook": "tools.pairs.forget_machine"}}
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/filebrowser-extension:browser": {"showLastModifiedColumn": False},
}

# Prints the pins of a lock file that apply to this Python and are not installed: in that version,
# or, over another environment, in that one or a newer.
MISSING = """
import sys
from importlib.metadata import distributions
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.packaging.version import Version
there, over = {}, sys.argv[2] == "over"
for d in distributions():
    there.setdefault(canonicalize_name(d.name), d.version)
for line in open(sys.argv[1]):
    if line.strip() and not line.startswith(("#", " ")):
        pin = Requirement(line.strip())
        if pin.marker and not pin.marker.evaluate():
            continue
        name = canonicalize_name(pin.name)
        ours = name in ("torch", "torchvision", "triton") or name.startswith("nvidia-")
        if over and (ours or (name == "mlflow-tracing" and "mlflow" in there)):  # a part of it
            continue
        found = there.get(name, "0")
        newer = over and Version(found) >= Version(str(pin.specifier).removeprefix("=="))
        if not newer and not pin.specifier.contains(found, prereleases=True):
            print(line, end="")
"""


class Refused(Exception):
    """What stands in the way, and what to do about it, in one line."""


def main() -> None:
    made_for, new = READY.read_text() if READY.exists() else "", not works()
    if new:
        check()
        size = "over this Python's torch: 0.6 GB" if IN_STUDIO else "7 GB"
        print(
            f"setting up .venv, {size} of disk, a few minutes where the network is fast", flush=True
        )
        options = ["--clear", *["--system-site-packages"] * IN_STUDIO]
        subprocess.run([sys.executable, "-m", "venv", *options, VENV], check=True)
        if (
            IN_STUDIO and sys.prefix != sys.base_prefix
        ):  # a venv itself, of which ours knows nothing
            (site_packages() / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elif made_for not in ("", str(ROOT)):
        mend(made_for)
    installed = install()
    if IN_STUDIO and new:
        taken = ", ".join(f"{name} {version(name)}" for name in OLDEST)
        print(f"taken from {sys.prefix}: {taken} and all else that is new enough; "
              f"installed over it: {installed} packages")  # fmt: skip
    add_the_package()
    write(VENV / "etc/jupyter/jupyter_server_config.json", SERVER)
    write(VENV / "share/jupyter/lab/settings/overrides.json", SETTINGS)
    READY.write_text(str(ROOT))


def works() -> bool:
    """Whether `.venv` has a Python that starts."""
    try:
        return subprocess.run([PYTHON, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def mend(old: str) -> None:
    """Write the new path over the old one in the scripts of a moved environment."""
    for script in PYTHON.parent.iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            if old.encode() in content:
                script.write_bytes(content.replace(old.encode(), str(ROOT).encode()))
    print(f"the checkout moved here from {old}: .venv is mended")


def check() -> None:
    """Refuse what would fail minutes later: modules, disk."""
    if not find_spec("venv") or not find_spec("ensurepip"):
        raise Refused(
            f"{sys.executable} comes without venv: `apt install python3-venv` on Debian and Ubuntu"
        )
    for name, oldest in OLDEST.items() if IN_STUDIO else ():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "none"
        if found == "none" or tuple(map(int, found.split(".")[:2])) < oldest:
            remedy = "name one that has, make PYTHON=/path/to/python, or leave STUDIO=1 out (7 GB)"
            if METADATA.exists():  # there it is the space that decides, not STUDIO=1
                remedy = "choose SageMaker Distribution 4.x for the space, and start it again"
            wanted = ".".join(map(str, oldest))
            raise Refused(f"{sys.executable} has {name} {found}, not {wanted} or newer: {remedy}")
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        larger = "stop the space and give it more storage, in Studio under *JupyterLab*"
        raise Refused(
            f"{free:.1f} GB are free in {ROOT}, setting up .venv takes up to {NEEDED_GB}: "
            f"free some, or {larger if IN_STUDIO else 'clone to a larger disk'}"
        )


def install() -> int:
    """Install the pins of the lock that `.venv` lacks, a batch at a time; return how many."""
    pins = run_inside(MISSING, LOCK, "over" if IN_STUDIO else "").splitlines()
    if not shutil.which("cc"):
        pins = [pin for pin in pins if not pin.startswith(FROM_C)]
    if pins and (said := pip("download", PROBE, "--dest", str(TEMPORARY / "probe"),
                             "--retries", "0", "--timeout", "15")):  # fmt: skip
        raise Refused(
            "no package index answers: connect this machine, or set HTTPS_PROXY (a proxy) or "
            f"PIP_INDEX_URL (a mirror), and run `make setup` again. pip says: {said}"
        )
    for start in range(0, len(pins), BATCH):
        batch = TEMPORARY / "batch.txt"
        batch.write_text("\n".join(pins[start : start + BATCH]))
        progress = f"{start:3} of {len(pins)} packages"
        if said := pip("install", "--requirement", str(batch), progress=progress):
            raise Refused(f"pip stopped: {said}; run `make setup` again, it goes on from here")
    if pins:
        print(f"{len(pins)} of {len(pins)} packages", flush=True)
    return len(pins)


def run_inside(code: str, *arguments) -> str:
    """What a script prints when the Python of `.venv` runs it."""
    words = [PYTHON, "-c", code, *arguments]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def pip(command: str, *options: str, progress: str = "") -> str:
    """Run pip with its temporary files in TEMPORARY; return "", or the line that says why not."""
    TEMPORARY.mkdir(exist_ok=True)
    words = [PYTHON, "-m", "pip", command, "--quiet", "--no-deps", "--no-cache-dir",
             "--disable-pip-version-check", *options]  # fmt: skip
    log = TEMPORARY / "pip.log"
    if progress:
        print(progress, end="" if sys.stdout.isatty() else "\n", flush=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            words, env=os.environ | {"TMPDIR": str(TEMPORARY)}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip  # its own session: Ctrl-C is ours to answer
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if progress and sys.stdout.isatty():
                    on_disk = f"{megabytes():,.0f} MB of the next {BATCH} on disk"
                    print(f"\r{progress}, {on_disk:32}", end="", flush=True)
        finally:
            process.kill()
            process.wait()
    if progress and sys.stdout.isatty():
        print("\r" + " " * 70, end="\r", flush=True)
    if process.returncode == 0:
        return ""
    said = [line for line in log.read_text().splitlines() if line.startswith("ERROR")]
    return said[-1] if said else f"exit status {process.returncode}"


def megabytes() -> float:
    """What pip has fetched of a batch so far."""
    total = 0
    for folder, _, files in os.walk(TEMPORARY):
        for name in files:
            try:
                total += os.path.getsize(os.path.join(folder, name))
            except OSError:  # gone since it was listed
                continue
    return total / 1e6


def add_the_package() -> None:
    """Let `.venv` import our packages by a relative path, which holds when the checkout moves."""
    site = site_packages()
    (site / "mnist_course.pth").write_text(os.path.relpath(ROOT, site) + "\n")


def site_packages() -> Path:
    return Path(run_inside("import sysconfig; print(sysconfig.get_path('purelib'))").strip())


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except Refused as refusal:
        sys.exit(f"error: {refusal}")
    except KeyboardInterrupt:
        print("\nstopped; run `make setup` again, it goes on from here", file=sys.stderr)
        sys.exit(130)
    finally:
        shutil.rmtree(TEMPORARY, ignore_errors=True)
