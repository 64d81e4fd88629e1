"""The bundled MNIST: verified every time, handed over as tensors.

Source: Yann LeCun and Corinna Cortes, CC BY-SA 3.0; `data/README.md` says more.
"""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_utils.errors import InputError
from mnist_utils.files import DATA

# MD5 of the four unpacked IDX files, as torchvision and the MNIST page publish them.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

# Of the 60,000 training images as fractions of white, 0..1; a test recomputes both.
MEAN, STD = 0.1307, 0.3081


@dataclass(frozen=True)
class Split:
    """Digits as they are stored: images uint8 `(N, 28, 28)`, 0 black; labels int64 `(N,)`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index) -> "Split":
        """The digits at a slice or an index tensor."""
        return Split(self.images[index], self.labels[index])


def standardize(images: Tensor) -> Tensor:
    """Floats `(N, 1, 28, 28)` of mean 0, deviation 1, from uint8 `(N, 28, 28)`."""
    return standardize_fractions(images.unsqueeze(1).float().div_(255))


def standardize_fractions(fractions):
    """The same from fractions of white, 0..1: a tensor, or a NumPy array, of any shape."""
    return (fractions - MEAN) / STD


def load(directory: str | Path | None = None, *, train: bool) -> Split:
    """Read the 60,000 training or the 10,000 test digits.

    Parameters
    ----------
    directory : path, optional
        Where the four files lie, gzipped or unpacked, directly or under `MNIST/raw`.
        Default: the bundle of this repository.
    train : bool
        The training split, or the test split.

    Raises
    ------
    InputError
        A file is missing, truncated or altered; the message names it and both checksums.
    """
    pixels = images(directory, train=train)
    kind = "train" if train else "t10k"
    labels = _verified(directory, f"{kind}-labels-idx1-ubyte")[8:]
    return Split(pixels, torch.frombuffer(labels, dtype=torch.uint8).long())


def images(directory: str | Path | None = None, *, train: bool) -> Tensor:
    """The images of a split alone, uint8 `(N, 28, 28)`; their labels need not be there."""
    kind = "train" if train else "t10k"
    # An IDX file is a header, of 16 or 8 bytes here, and one byte a pixel or a label.
    content = _verified(directory, f"{kind}-images-idx3-ubyte")[16:]
    return torch.frombuffer(content, dtype=torch.uint8).view(-1, 28, 28)


def hold_out(split: Split, n_validation: int) -> tuple[Split, Split]:
    """Cut off the last `n_validation` digits: (training, validation).

    MNIST's training set is ordered by writer in part, so its end is a harder and more honest
    validation set than a shuffled sample that shares its writers with the training digits.
    """
    if not 0 < n_validation < len(split):
        raise InputError(f"validation={n_validation} must lie between 1 and {len(split) - 1}")
    return split.take(slice(None, -n_validation)), split.take(slice(-n_validation, None))


def scaled(split: Split, side: int, canvas: int) -> Split:
    """Each digit `side` pixels wide and high, in the middle of a black canvas `(canvas, canvas)`.

    Bilinear, and antialiased where it shrinks, as Pillow does it: enlarging loses nothing,
    shrinking what is finer than the new pixels. Digits of 28 on 28 pixels stay as they are.
    """
    if side == canvas == split.images.size(-1):
        return split
    before = (canvas - side) // 2
    images = torch.zeros(len(split), canvas, canvas, dtype=torch.uint8)
    for place, few in zip(images.split(1000), split.images.split(1000), strict=True):
        pixels = F.interpolate(
            few.unsqueeze(1).float(), (side, side), mode="bilinear", antialias=True
        )
        place[:, before : before + side, before : before + side] = pixels.round()[:, 0].byte()
    return Split(images, split.labels)


_REMEDY = "restore the four files with `git checkout -- data`, or leave out --data for the bundle"


def _verified(directory: str | Path | None, name: str) -> bytearray:
    """The unpacked content of a file, whose checksum is the published one."""
    directory = Path(directory or DATA)
    if not directory.is_dir():
        raise InputError(f"data directory {str(directory)!r} does not exist; {_REMEDY}")
    source = _find(directory, name)
    content = _read(source)
    if (md5 := _md5(content)) != MD5[name]:
        raise InputError(
            f"{source}: expected MD5 {MD5[name]} of {name}, found {md5} "
            f"({len(content):,} bytes); {_REMEDY}"
        )
    return bytearray(content)  # writable, as torch wants it


def _find(directory: Path, name: str) -> Path:
    for folder in (directory, directory / "MNIST" / "raw"):
        for candidate in (folder / f"{name}.gz", folder / name):
            if candidate.is_file():
                return candidate
    raise InputError(f"{directory / name}.gz is missing: expected MD5 {MD5[name]}; {_REMEDY}")


def _read(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path}: truncated or unreadable, found MD5 {_md5(path.read_bytes())} of "
            f"{path.stat().st_size:,} packed bytes, expected MD5 {MD5[path.stem]} once unpacked "
            f"({error}); {_REMEDY}"
        ) from None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
