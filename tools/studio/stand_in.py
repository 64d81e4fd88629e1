"""Try `make kernel STUDIO=1` over a stand-in of Studio's image: minutes, and 8 GB of disk.

    python tools/studio/stand_in.py FOLDER --python /path/to/python3.12

The stand-in is a virtual environment with the image's versions of the packages that matter
(image.txt), its torch and its SageMaker SDK. The report: seconds, megabytes, and what the package's
tests and notebooks 1, 2, 3 and 5 say in that kernel.
"""

import argparse
import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TORCH = ("torch==2.8.0", "torchvision==0.23.0", "numpy==1.26.4")  # PyPI has no 0.24 for torch 2.8
OLD = (
    "sagemaker==3.12.0", "sagemaker-core==2.20.0", "sagemaker-serve==1.12.0",
    "sagemaker-train==1.14.0", "sagemaker-mlops==1.12.0", "boto3==1.43.56", "botocore==1.43.56",
    "s3transfer==0.19.2", "matplotlib==3.10.9",
)  # fmt: skip
TOOLKITS = ("sagemaker-inference==1.10.1", "sagemaker-pytorch-inference==2.0.25")
NEEDS_MORE = (
    "tests/cloud/serve/test_ray.py",
    "tests/tools",
    "tests/classroom/lab",
    "tests/test_readme.py",
)
LESSONS = (
    "01_data",
    "02a_training",
    "02b_receptive_fields",
    "02c_field_worth",
    "03_parameter_counting",
    "05_misclassification",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="python3.12")
    options = parser.parse_args()
    base, checkout = options.folder.resolve() / "image", options.folder.resolve() / "course"
    python = base / "bin/python"
    if not (base / "ready").exists():
        run(options.python, "-m", "venv", base)
        run(python, "-m", "pip", "install", "-q", "--no-cache-dir", *TORCH)
        packages = [*without_torch(HERE / "image.txt"), *OLD]
        run(python, "-m", "pip", "install", "-q", "--no-cache-dir", "--no-deps", *packages)
        (base / "ready").touch()
    before = frozen(python)
    if not checkout.exists():
        run("git", "clone", "-q", ROOT, checkout)
    os.environ["PATH"] = f"{base / 'bin'}:{os.environ['PATH']}"  # as in Studio's terminal
    start = time.monotonic()
    run("make", "-C", checkout, "kernel", "STUDIO=1", f"PYTHON={python}", HOME=options.folder)
    seconds = time.monotonic() - start
    size = sum(f.stat().st_size for f in (checkout / ".venv").rglob("*") if not f.is_symlink())
    print(f"kernel made in {seconds:.0f} s, {size / 1e6:.0f} MB", flush=True)
    assert frozen(python) == before, "the image's own environment was touched"

    # What a rehearsed endpoint asks for: source packages, which the overlay leaves out.
    run(checkout / ".venv/bin/python", "-m", "pip", "install", "-q", *TOOLKITS)
    lessons = [f"notebooks/{name}.ipynb" for name in LESSONS]
    ignored = [f"--ignore={path}" for path in NEEDS_MORE]
    kernel = ["-o", "addopts=", "--nbval", "--nbval-kernel-name=mnist-course"]
    for words in (["tests", *ignored], [*kernel, "--nbval-cell-timeout=300", *lessons]):
        done = subprocess.run(
            [checkout / ".venv/bin/python", "-m", "pytest", "-q", *words],
            cwd=checkout, env=os.environ | {"HOME": str(options.folder)}, check=False,
        )  # fmt: skip
        print(f"pytest {' '.join(words)}: exit {done.returncode}", flush=True)


def run(*words, **environment) -> None:
    environment = {name: str(value) for name, value in environment.items()}
    subprocess.run([str(w) for w in words], check=True, env=os.environ | environment)


def frozen(python: Path) -> str:
    words = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def without_torch(path: Path) -> list[str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [line for line in lines if line.split("==")[0] not in ("torch", "torchvision", "numpy")]


if __name__ == "__main__":
    main()
