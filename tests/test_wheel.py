"""What `pip wheel .` packs holds the four packages, and works where no repository is."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from gates import gate

from mnist_utils.files import ROOT
from tools.house import PACKAGES


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", source)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*words, "--wheel-dir", source / "out", source], check=True)
    (path,) = (source / "out").iterdir()
    return path


def test_it_holds_every_file_of_the_packages(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = [p for package in PACKAGES for p in (ROOT / package).rglob("*.*")
            if p.suffix != ".pyc" and p.parent.name[0] != "."]  # fmt: skip
    files = {str(path.relative_to(ROOT)) for path in ours if path.is_file()}
    gate(sorted(packed ^ files), "name its kind in pyproject.toml's package-data")


def test_installed_elsewhere_it_describes_a_network(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}

    def said(*words):
        return subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, check=True).stdout  # fmt: skip

    told = said("-m", "receptive", "mnist_utils.models:Model3")
    assert "6,016 parameters; 1,164,180 MACs" in told
    for package in PACKAGES:
        where = said("-c", f"import {package}; print({package}.__file__)")
        assert where.startswith(str(tmp_path))
