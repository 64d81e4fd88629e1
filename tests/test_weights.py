import pytest
import torch

from mnist_utils import weights
from mnist_utils.errors import InputError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "state.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)}
    weights.save_tensors(path, tensors, {"epoch": 3})
    return path


def test_tensors_and_text_come_back_as_they_were(file):
    tensors, about = weights.load_tensors(file)
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert tensors["n"].item() == 7
    assert about == {"epoch": 3}


def test_random_bytes_a_cut_and_one_flipped_bit_are_refused_by_name(file):
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damaged in (b"\x93" * 500, whole[: len(whole) // 2], bytes(flipped), b""):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"state.safetensors is .*; restore the file"):
            weights.load_tensors(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none.safetensors does not exist"):
        weights.load_tensors(tmp_path / "none.safetensors")


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    weights.save_tensors(path, {"head.weight": torch.zeros(3)}, {"model": "Model3"})
    with pytest.raises(InputError, match=r"w.safetensors does not fit Model3"):
        weights.load_network(path)
