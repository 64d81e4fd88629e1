import gzip
import re
import shutil

import numpy as np
import pytest
import torch
import torchvision
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


def test_images_and_labels_equal_a_plain_read_of_the_idx_bytes(train_split, test_split):
    for prefix, split in (("train", train_split), ("t10k", test_split)):
        images = gzip.decompress((DATA / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((DATA / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
        assert np.array_equal(split.images.numpy(), pixels)
        assert np.array_equal(split.labels.numpy(), np.frombuffer(labels, np.uint8, offset=8))
    assert (len(train_split), len(test_split)) == (60_000, 10_000)


def test_the_page_beside_the_data_names_its_checksums():
    told = re.findall(r"`([\w-]+)\.gz` \| `(\w{32})`", (DATA / "README.md").read_text())
    assert dict(told) == data.MD5


def test_mean_and_deviation_are_those_of_the_training_images(train_split):
    pixels = train_split.images.double() / 255
    assert round(pixels.mean().item(), 4) == data.MEAN
    assert round(pixels.std().item(), 4) == data.STD


def test_standardize_gives_mean_0_and_deviation_1(train_split):
    images = data.standardize(train_split.images)
    assert images.shape == (60_000, 1, 28, 28)
    assert abs(images.mean().item()) < 1e-3
    assert abs(images.std().item() - 1) < 1e-3


def test_scaled_digits_keep_their_place_and_their_ink(train_split):
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


def test_digits_are_scaled_as_pillow_scales_them(train_split):
    few = train_split.take(slice(20))
    for side in (20, 40):
        theirs = [
            np.asarray(Image.fromarray(image.numpy()).resize((side, side), Image.BILINEAR))
            for image in few.images
        ]
        ours = data.scaled(few, side, 40).images.numpy()
        before = (40 - side) // 2
        inside = ours[:, before : before + side, before : before + side]
        assert np.abs(inside.astype(int) - np.stack(theirs)).max() <= 1


def test_hold_out_cuts_off_the_end_and_loses_nothing(train_split):
    training, validation = data.hold_out(train_split, 5_000)
    assert (len(training), len(validation)) == (55_000, 5_000)
    assert torch.equal(torch.cat([training.labels, validation.labels]), train_split.labels)
    with pytest.raises(InputError, match="validation=60000"):
        data.hold_out(train_split, 60_000)


def test_a_missing_folder_and_a_missing_file_are_named(bundle):
    with pytest.raises(InputError, match=r"'/nowhere' does not exist; restore"):
        data.load("/nowhere", train=True)
    (bundle / FILES[1]).unlink()
    with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz is missing: expected MD5"):
        data.load(bundle, train=True)


def test_a_file_cut_to_half_is_named_with_both_checksums(bundle):
    path = bundle / FILES[2]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError) as error:
        data.load(bundle, train=False)
    assert str(path) in str(error.value)
    assert data.MD5["t10k-images-idx3-ubyte"] in str(error.value)
    assert "found MD5" in str(error.value)


def test_one_altered_label_is_found(bundle):
    path = bundle / FILES[3]
    labels = bytearray(gzip.decompress(path.read_bytes()))
    labels[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(labels)))
    with pytest.raises(InputError, match=r"expected MD5 27ae3e4e\w+ of t10k-labels.*found \w{32}"):
        data.load(bundle, train=False)


def test_torchvision_reads_the_same_tensors_from_the_same_files(bundle, test_split):
    raw = bundle / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress((bundle / name).read_bytes()))
    theirs = torchvision.datasets.MNIST(bundle, train=False)
    assert torch.equal(theirs.data, test_split.images)
    assert torch.equal(theirs.targets, test_split.labels)


@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
def test_unpacked_files_serve_as_well(bundle, folder):
    target = bundle / "plain" / folder
    target.mkdir(parents=True)
    for name in FILES:
        content = gzip.decompress((bundle / name).read_bytes())
        (target / name.removesuffix(".gz")).write_bytes(content)
    assert len(data.load(bundle / "plain", train=False)) == 10_000
