"""`load_data`: from what a user names to the three splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from archfit._files import expanded
from archfit.data.assemble import Source, assemble, keep_train_images
from archfit.data.builtin import BUILTIN, read_builtin
from archfit.data.dataset import ImageData, channel_statistics
from archfit.data.folder import read_folder
from archfit.data.npz import read_npz
from archfit.data.objects import read_datasets
from archfit.errors import DataError, InputError, unknown_name


def load_data(
    source: str | Path | ImageData | Any,
    *,
    image_size: int | None = None,
    train_images: int | None = None,
    seed: int = 0,
    validation: float | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    max_corrupt: float = 0.05,
    num_workers: int = 0,
    progress: Callable[[str], None] | None = None,
) -> ImageData:
    """Reads a dataset and cuts the splits that it does not bring.

    Args:
        source: A name (`digits`, `mnist`, `fashion-mnist`, `cifar10`, `cifar100`; a folder of that name is meant by
            `./digits`), a folder of class folders, a `.npz` file, a map-style torch `Dataset`, a tuple (train, test)
            or (train, validation, test) of those, or an `ImageData`, which is taken as it is.
        image_size: Height and width in pixels to resize to: the short side, then the centre is cut out.
        train_images: Keep only so many training images, as many of each class as there can be.
        seed: Of the splits that are cut and of `train_images`.
        validation: Share of the images to validate on where there is no such split; None is 0.15 where the test split
            (0.15) is cut as well, 0.1 of the training images where a test split is given.
        data_dir: Where downloads are kept; None is the environment's ARCHFIT_DATA, else the user's cache folder.
        download: Whether a named dataset may be downloaded.
        max_corrupt: Largest share of unreadable images of a folder that is skipped.
        num_workers: Processes that decode a folder which does not fit in memory.
        progress: Called with a line now and then while much is read.

    Raises:
        DataError: The dataset is missing, unreadable or not usable for training.
        InputError: An argument is out of range, or the name is not known.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size is {image_size}; it must be 1 or more pixels")
    if not 0 <= max_corrupt <= 1:
        raise InputError(f"max_corrupt is {max_corrupt}; give a share from 0 to 1")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    if isinstance(source, ImageData):
        return _as_it_is(source, image_size, train_images, seed)
    if isinstance(source, (str, Path)):
        read = _read_path(source, image_size, data_dir, download, max_corrupt, num_workers, progress)
    else:
        read = read_datasets(source, image_size, progress)
    return assemble(read, train_images=train_images, seed=seed, validation=validation)


def _as_it_is(data: ImageData, image_size: int | None, train_images: int | None, seed: int) -> ImageData:
    if image_size not in (None, data.image_size):
        raise InputError(
            f"image_size is {image_size}, but the data given has {data.image_size} pixels; load it with that size"
        )
    if train_images is None:
        return data
    train, note = keep_train_images(data.train, train_images, seed)
    mean, std = channel_statistics(train)
    return replace(data, train=train, mean=mean, std=std, notes=(*data.notes, note))


def _read_path(
    source: str | Path,
    image_size: int | None,
    data_dir: Path | None,
    download: bool,
    max_corrupt: float,
    num_workers: int,
    progress: Callable[[str], None] | None,
) -> Source:
    if isinstance(source, str) and source in BUILTIN:
        return read_builtin(source, image_size, data_dir, download, progress)
    path = expanded(source)
    if path.is_dir():
        return read_folder(path, image_size, max_corrupt=max_corrupt, num_workers=num_workers, progress=progress)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path} is no dataset; give a folder of class folders or a .npz file")
        return read_npz(path, image_size)
    if isinstance(source, str) and source == path.name and not path.suffix:
        raise unknown_name("dataset or folder", source, BUILTIN)
    raise DataError(f"there is no folder or file {path}; give one that exists, or one of: {', '.join(BUILTIN)}")
