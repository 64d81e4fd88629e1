"""Archives that nobody need trust."""

import io
import tarfile

import numpy as np
import pytest

from cloud.jobs import archive
from mnist_utils.errors import InputError
from mnist_utils.files import ROOT


def pack(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../evil", b"x", "'../evil' would land outside"),
        ("a/../../evil", b"x", "would land outside"),
        ("/tmp/evil", b"x", "'/tmp/evil' would land outside"),
        ("passwd", None, "'passwd' is not a plain file"),
    ],
)
def test_an_archive_that_reaches_outside_is_refused_whole(tmp_path, name, content, words):
    path = pack(tmp_path / "model.tar.gz", {"model.safetensors": b"good", name: content})
    with pytest.raises(InputError, match=words):
        archive.unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model.tar.gz"]


@pytest.mark.parametrize(
    ("name", "size"), [("zeros", archive.MOST_BYTES + 1), ("/".join("abcdefghijk"), 1)]
)
def test_an_archive_too_large_or_too_deep_is_refused_before_it_is_unpacked(tmp_path, name, size):
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, open("/dev/zero", "rb"))  # noqa: SIM115
    with pytest.raises(InputError, match="no model of ours"):
        archive.unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model.tar.gz"]


def test_a_truncated_archive_is_refused_and_leaves_nothing(tmp_path):
    path = pack(tmp_path / "model.tar.gz", {"model.safetensors": np.random.bytes(100_000)})
    for size in (0, 10, 50_000):
        path.write_bytes(path.read_bytes()[:size] if size else b"")
        with pytest.raises(InputError, match=r"model\.tar\.gz is truncated or damaged"):
            archive.unpack(path, tmp_path / "out")
        pack(path, {"model.safetensors": np.random.bytes(100_000)})
    assert [p.name for p in tmp_path.iterdir()] == ["model.tar.gz"]


@pytest.mark.parametrize(
    ("hyperparameters", "needed"),
    [
        ({"recipe": "reference"}, True), ({}, False), ({"recipe": "fast"}, False),
        ({"recipe": "fast", "augmentation": "albumentations", "shift": 0, "scale": 0,
          "shear": 0}, True),
        ({"recipe": "reference", "augmentation": "batch"}, False),
    ],
)  # fmt: skip
def test_a_container_gets_albumentations_where_its_run_needs_it(hyperparameters, needed):
    with archive.training_source(hyperparameters) as folder:
        assert ("albumentations" in (folder / "requirements.txt").read_text()) is needed


def test_a_container_gets_no_door_that_it_does_not_open(tmp_path):
    archive.copy_package(tmp_path)
    for package, stay_here in (("mnist_utils", set()), ("cloud", {"jobs", "rehearsal"})):
        copied = {path.name for path in (tmp_path / package).iterdir()}
        left = {path.name for path in (ROOT / package).iterdir()} - copied - {"__pycache__"}
        assert left == stay_here
