import pytest
import torch
from torch import nn

from mnist_utils import checkpoint
from mnist_utils.errors import InputError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "state.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)}
    checkpoint.save_tensors(path, tensors, {"epoch": 3})
    return path


def test_tensors_and_text_come_back_as_they_were(file):
    tensors, about = checkpoint.load_tensors(file)
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
            checkpoint.load_tensors(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none.safetensors does not exist"):
        checkpoint.load_tensors(tmp_path / "none.safetensors")


def test_a_failed_write_keeps_the_old_content(file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr(
        "os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(InputError, match="No space left"):
        checkpoint.write_atomically(file, b"new")
    assert file.read_bytes() == before


def test_training_state_comes_back_whole(tmp_path):
    def make():
        model = nn.Linear(3, 2)
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    model, optimizer = make()
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint.save_training(tmp_path / "c", model, optimizer, None, {"epoch": 1})
    other, other_optimizer = make()
    assert checkpoint.load_training(tmp_path / "c", other, other_optimizer, None) == {"epoch": 1}
    assert torch.equal(model.weight, other.weight)
    for slot, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(value, other_optimizer.state_dict()["state"][0][slot])


def test_another_network_s_training_state_is_refused(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save_training(tmp_path / "c", model, optimizer, None, {})
    other = nn.Linear(4, 2)
    with pytest.raises(InputError, match="does not fit this model"):
        checkpoint.load_training(tmp_path / "c", other, torch.optim.AdamW(other.parameters()), None)
