"""Datasets from Python objects: map-style torch `Dataset`s of (image, label)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from archfit.data.arrays import images_to_uint8, labels_to_int64, make_square, numbered_classes
from archfit.data.assemble import Source
from archfit.data.dataset import MemorySplit
from archfit.data.files import is_grey, to_mode, to_tensor
from archfit.errors import DataError, InputError

_REPORT_EVERY = 1000


def is_dataset(value: object) -> bool:
    """Whether it has a length and is indexed by position, as a map-style dataset is."""
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, (str, bytes, dict))


def read_datasets(source: Any, image_size: int | None, progress: Callable[[str], None] | None) -> Source:
    """Reads a dataset, or a tuple (train, test) or (train, validation, test) of datasets, into memory.

    An image is a PIL image, a tensor `(C, H, W)` or `(H, W)`, or an array `(H, W, C)` or `(H, W)`; uint8, or floats
    in 0..1. Grey images among RGB ones become RGB.

    Raises:
        InputError: `source` is none of these.
        DataError: An image or a label cannot be used; the message says which.
    """
    parts = source if isinstance(source, (tuple, list)) else (source,)
    names = {1: ("train",), 2: ("train", "test"), 3: ("train", "validation", "test")}.get(len(parts))
    if names is None:
        raise InputError(f"{len(parts)} datasets given; give one, (train, test) or (train, validation, test)")
    for part in parts:
        if isinstance(part, IterableDataset) or not is_dataset(part):
            raise InputError(
                f"cannot read a dataset from {type(part).__name__}; "
                "give a name, a folder, a .npz file or map-style torch Datasets"
            )
    splits = {name: _read(name, part, image_size, progress) for name, part in zip(names, parts, strict=True)}
    channels = max(split.images.shape[1] for split in splits.values())
    if channels == 3:
        splits = {name: MemorySplit(_rgb(split.images), split.labels) for name, split in splits.items()}
    sizes = {name: split.images.shape[2] for name, split in splits.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"the datasets have images of different sizes, {sizes}; give image_size to make them alike")
    train = splits["train"]
    classes = getattr(parts[0], "classes", None)
    if classes is None:
        classes = numbered_classes("the dataset", train.labels)
    return Source(
        type(parts[0]).__name__,
        tuple(str(name) for name in classes),
        channels,
        sizes["train"],
        train,
        splits.get("validation"),
        splits.get("test"),
    )


def _read(name: str, dataset: Any, image_size: int | None, progress: Callable[[str], None] | None) -> MemorySplit:
    count = len(dataset)
    if count == 0:
        raise DataError(f"the {name} dataset is empty; at least one image is needed")
    images: list[Tensor] = []
    labels: list[Any] = []
    for index, (image, label) in enumerate(_items(name, dataset)):
        images.append(_image(f"image {index} of {name}", image, image_size))
        labels.append(_label(f"label {index} of {name}", label))
        if progress and (index + 1) % _REPORT_EVERY == 0:
            progress(f"reading {name} images: {index + 1} of {count}")
    if any(image.shape[0] == 3 for image in images):
        images = [_rgb(image[None])[0] for image in images]
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            shapes = f"{tuple(image.shape[1:])}, image 0 {tuple(images[0].shape[1:])}"
            raise DataError(f"image {index} of {name} is {shapes}; give image_size to make them alike")
    return MemorySplit(torch.stack(images), labels_to_int64(f"labels of {name}", np.array(labels), count))


def _label(what: str, label: Any) -> Any:
    if isinstance(label, (list, tuple)):
        raise DataError(f"{what} is a {type(label).__name__}; give one integer")
    shape = getattr(label, "shape", None)  # of a tensor, an array, or a number of numpy's
    if shape is None:
        return label
    if math.prod(shape) != 1:
        raise DataError(f"{what} has shape {tuple(shape)}; give one integer")
    return label.item()


def _items(name: str, dataset: Any) -> Iterator[tuple[Any, Any]]:
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"item {index} of {name} is a {type(item).__name__}; it must be a pair (image, label)")
        yield item[0], item[1]


def _image(what: str, image: Any, image_size: int | None) -> Tensor:
    if isinstance(image, Image.Image):
        tensor = to_tensor(to_mode(image, 1 if is_grey(image) else 3))[None]
    elif isinstance(image, Tensor):
        array = image.detach().cpu().numpy()
        tensor = images_to_uint8(what, (array.transpose(1, 2, 0) if array.ndim == 3 else array)[None])
    elif isinstance(image, np.ndarray):
        tensor = images_to_uint8(what, image[None])
    else:
        raise DataError(f"{what} is a {type(image).__name__}; it must be a PIL image, a tensor or an array")
    return make_square(what, tensor, image_size)[0]


def _rgb(images: Tensor) -> Tensor:
    """`(N, 3, H, W)`, grey ones repeated."""
    return images.expand(-1, 3, -1, -1).contiguous()
