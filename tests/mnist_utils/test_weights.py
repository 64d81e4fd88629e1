import pytest
import torch

from mnist_utils import weights
from mnist_utils.errors import InputError


def test_tensors_and_text_come_back_and_what_is_damaged_or_misses_is_refused_by_name(tmp_path):
    file = tmp_path / "state.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)}
    weights.save_tensors(file, tensors, {"epoch": 3})
    tensors, about = weights.load_tensors(file)
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert tensors["n"].item() == 7
    assert about == {"epoch": 3}
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damaged in (b"\x93" * 500, whole[: len(whole) // 2], bytes(flipped), b""):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"state.safetensors is .*; restore the file"):
            weights.load_tensors(file)
    file.unlink()
    with pytest.raises(InputError, match="state.safetensors does not exist"):
        weights.load_tensors(file)
    weights.save_tensors(file, {"head.weight": torch.zeros(3)}, {"model": "Model3"})
    with pytest.raises(InputError, match=r"state.safetensors does not fit Model3"):
        weights.load_network(file)
