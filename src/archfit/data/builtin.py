"""Datasets known by name: digits comes with scikit-learn, the others are downloaded by torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_dir

from archfit._files import expanded
from archfit.data.arrays import images_to_uint8, resize_images
from archfit.data.assemble import Source
from archfit.data.dataset import MemorySplit
from archfit.data.npz import read_npz
from archfit.errors import DataError

DATA_VARIABLE = "ARCHFIT_DATA"


@dataclass(frozen=True)
class _Published:
    """A dataset of torchvision.

    Attributes:
        torchvision_name: Of the class in `torchvision.datasets`.
        folder: Where torchvision keeps its files, under the data folder.
        files: What belongs there, for the message when it cannot be downloaded.
        flip: Whether a mirrored image keeps its label.
        classes: Names by label; None where the files hold them.
    """

    torchvision_name: str
    folder: str
    files: str
    flip: bool
    classes: tuple[str, ...] | None = None


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_IDX = "the four *-ubyte.gz files, unpacked,"
_PUBLISHED = {
    "mnist": _Published("MNIST", "MNIST/raw", _IDX, False, tuple("0123456789")),
    "fashion-mnist": _Published("FashionMNIST", "FashionMNIST/raw", _IDX, True, _FASHION),
    "cifar10": _Published("CIFAR10", "", "cifar-10-python.tar.gz, unpacked,", True, _CIFAR10),
    "cifar100": _Published("CIFAR100", "", "cifar-100-python.tar.gz, unpacked,", True),
}
BUILTIN = ("digits", *_PUBLISHED)


def data_folder(data_dir: Path | None = None) -> Path:
    """Where downloads are kept: `data_dir`, else the environment's ARCHFIT_DATA, else the user's cache folder."""
    if data_dir is not None:
        return expanded(data_dir)
    if named := os.environ.get(DATA_VARIABLE):
        return expanded(named)
    return Path(user_cache_dir("archfit")) / "data"


def read_builtin(
    name: str,
    image_size: int | None,
    data_dir: Path | None,
    download: bool,
    progress: Callable[[str], None] | None,
) -> Source:
    """Reads one of `BUILTIN`. A `NAME.npz` in the data folder is preferred to torchvision's files.

    Raises:
        DataError: It is not there and cannot be downloaded.
    """
    if name == "digits":
        return _digits(image_size)
    published, folder = _PUBLISHED[name], data_folder(data_dir)
    npz = folder / f"{name}.npz"
    if npz.is_file():
        source = read_npz(npz, image_size)
        classes = published.classes or source.classes
        return replace(source, name=name, classes=classes, flip=published.flip, notes=(f"read from {npz}",))
    train, classes = _torchvision(name, published, folder, True, image_size, download, progress)
    test, _ = _torchvision(name, published, folder, False, image_size, False, None)
    channels, size = train.images.shape[1:3]
    return Source(name, classes, channels, size, train, test=test, flip=published.flip)


def _digits(image_size: int | None) -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Published as levels 0..16.
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    images = images if image_size is None else resize_images(images, image_size)
    split = MemorySplit(images, torch.from_numpy(bunch.target.astype(np.int64)))
    return Source("digits", tuple("0123456789"), 1, images.shape[2], split, flip=False)


def _torchvision(
    name: str,
    published: _Published,
    folder: Path,
    train: bool,
    image_size: int | None,
    download: bool,
    progress: Callable[[str], None] | None,
) -> tuple[MemorySplit, tuple[str, ...]]:
    """One published split and the names of its classes."""
    from torchvision import datasets

    kind = getattr(datasets, published.torchvision_name)
    place = folder / published.folder
    if progress:
        progress(f"reading {name} from {place}")
    try:
        dataset: Any = kind(folder, train=train, download=download)
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
        raise _unavailable(name, kind, published, place, download, error) from error
    images = images_to_uint8(name, np.asarray(dataset.data))
    if image_size is not None:
        images = resize_images(images, image_size)
    labels = torch.as_tensor(dataset.targets, dtype=torch.int64)
    return MemorySplit(images, labels), published.classes or tuple(dataset.classes)


def _unavailable(
    name: str, kind: Any, published: _Published, place: Path, download: bool, error: Exception
) -> DataError:
    origin = getattr(kind, "url", None) or kind.mirrors[0]
    reason = " ".join(str(error).split())
    reason = reason if len(reason) < 120 else f"{reason[:117]}..."
    problem = f"cannot be downloaded from {origin}" if download else "is not there, or not whole, and downloads are off"
    return DataError(
        f"{name} {problem} ({reason}); put {published.files} into {place}, "
        f"or choose another folder with {DATA_VARIABLE}"
    )
