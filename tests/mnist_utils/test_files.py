import pytest

from mnist_utils.errors import InputError
from mnist_utils.files import write_atomically


def test_a_failed_write_keeps_the_old_content_and_is_refused_by_name(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"old")
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(file / "inside", "text")

    def full(*_):
        raise OSError(28, "No space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
