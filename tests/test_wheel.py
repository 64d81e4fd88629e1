"""What `pip wheel .` packs holds every door, and works where no repository is."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from mnist_utils.files import PACKAGE, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, source / "mnist_utils", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", source)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*words, "--wheel-dir", source / "out", source], check=True)
    (path,) = (source / "out").iterdir()
    return path


def test_it_holds_every_file_of_the_package(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert packed == {str(path.relative_to(ROOT)) for path in files}


def test_installed_elsewhere_it_describes_a_network(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    words = [sys.executable, "-m", "mnist_utils.describe", "mnist_utils.models:Model3"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert "6,016 parameters; 1,164,180 MACs" in done.stdout
    where = "import mnist_utils; print(mnist_utils.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment,
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert found.stdout.startswith(str(tmp_path))
