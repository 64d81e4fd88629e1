import gzip
import re
import shutil

import numpy as np
import pytest
import torch
import torchvision
from gates import gate
from PIL import Image

from mnist_utils import data
from mnist_utils.errors import InputError
from mnist_utils.files import DATA

FILES = [f"{name}.gz" for name in data.MD5]


@pytest.fixture
def bundle(tmp_path):
    """A copy of the bundle, to be damaged."""
    for name in FILES:
        shutil.copy(DATA / name, tmp_path)
    return tmp_path


def test_images_and_labels_are_those_that_plain_bytes_and_torchvision_give(
    train_split, test_split, tmp_path
):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in data.MD5:
        (raw / name).write_bytes(gzip.decompress((DATA / f"{name}.gz").read_bytes()))
    for prefix, split in (("train", train_split), ("t10k", test_split)):
        pixels = np.fromfile(raw / f"{prefix}-images-idx3-ubyte", np.uint8)[16:]
        labels = np.fromfile(raw / f"{prefix}-labels-idx1-ubyte", np.uint8)[8:]
        assert np.array_equal(split.images.numpy(), pixels.reshape(-1, 28, 28))
        assert np.array_equal(split.labels.numpy(), labels)
    assert (len(train_split), len(test_split)) == (60_000, 10_000)
    theirs = torchvision.datasets.MNIST(tmp_path, train=False)
    assert torch.equal(theirs.data, test_split.images)
    assert torch.equal(theirs.targets, test_split.labels)
    for folder in (tmp_path, raw):  # unpacked files serve as well
        assert torch.equal(data.load(folder, train=False).labels, test_split.labels)


def test_the_page_beside_the_data_names_its_checksums():
    told = re.findall(r"`([\w-]+)\.gz` \| `(\w{32})`", (DATA / "README.md").read_text())
    wrong = (f"data/README.md: {name}: {md5}" for name, md5 in data.MD5.items() - set(told))
    gate(wrong, "name this checksum there; it is of data.MD5")


def test_mean_and_deviation_are_those_of_the_training_images(train_split):
    pixels = train_split.images.double() / 255
    assert round(pixels.mean().item(), 4) == data.MEAN
    assert round(pixels.std().item(), 4) == data.STD
    images = data.standardize(train_split.images)
    assert images.shape == (60_000, 1, 28, 28)
    assert abs(images.mean().item()) < 1e-3
    assert abs(images.std().item() - 1) < 1e-3


def test_scaled_digits_keep_their_place_and_their_ink_and_are_pillow_s(train_split):
    few = train_split.take(slice(200))
    assert data.scaled(few, 28, 28) is few
    framed = data.scaled(few, 28, 40)
    assert torch.equal(framed.images[:, 6:34, 6:34], few.images)
    assert framed.images.sum() == few.images.sum()
    for side, canvas in ((20, 40), (40, 40), (56, 57), (20, 28)):
        images = data.scaled(few, side, canvas).images
        assert images.shape == (200, canvas, canvas)
        before = (canvas - side) // 2
        inside = images[:, before : before + side, before : before + side]
        ink = (inside.double().sum() / few.images.double().sum()).item()
        assert images.sum() == inside.sum()
        assert ink == pytest.approx((side / 28) ** 2, rel=0.01)
        if canvas == 40:
            drawn = [Image.fromarray(image.numpy()) for image in few.images]
            theirs = np.stack([np.int32(one.resize((side, side), Image.BILINEAR)) for one in drawn])
            assert np.abs(inside.int().numpy() - theirs).max() <= 1


def test_hold_out_cuts_off_the_end_and_loses_nothing(train_split):
    training, validation = data.hold_out(train_split, 5_000)
    assert (len(training), len(validation)) == (55_000, 5_000)
    assert torch.equal(torch.cat([training.labels, validation.labels]), train_split.labels)
    with pytest.raises(InputError, match="validation=60000"):
        data.hold_out(train_split, 60_000)


def test_a_missing_folder_and_a_missing_cut_or_altered_file_are_named(bundle):
    with pytest.raises(InputError, match=r"'/nowhere' does not exist; restore"):
        data.load("/nowhere", train=True)
    (bundle / FILES[1]).unlink()
    with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz is missing: expected MD5"):
        data.load(bundle, train=True)
    images, labels = bundle / FILES[2], bundle / FILES[3]
    altered = bytearray(gzip.decompress(labels.read_bytes()))
    altered[-1] ^= 1
    labels.write_bytes(gzip.compress(bytes(altered)))
    with pytest.raises(InputError, match=r"expected MD5 27ae3e4e\w+ of t10k-labels.*found \w{32}"):
        data.load(bundle, train=False)
    images.write_bytes(images.read_bytes()[: images.stat().st_size // 2])
    known = data.MD5["t10k-images-idx3-ubyte"]
    with pytest.raises(InputError, match=rf"{images}.*found MD5.*{known}"):
        data.load(bundle, train=False)
