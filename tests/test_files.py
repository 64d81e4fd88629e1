import pytest

from mnist_utils.errors import InputError
from mnist_utils.files import write_atomically


def test_a_failed_write_keeps_the_old_content(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def full(*_):
        raise OSError(28, "No space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path / "file" / "inside", "text")
