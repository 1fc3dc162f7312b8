"""Checks and conversions between arrays that users have and the tensors that splits hold."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from archfit.errors import DataError

_CHUNK = 1024


def images_to_uint8(what: str, images: np.ndarray) -> Tensor:
    """uint8 `(N, C, H, W)` of images `(N, H, W)` or `(N, H, W, C)`, uint8 or floats in 0..1.

    Args:
        what: Which images, for the message, as in "x_train of photos.npz".
        images: C is 1 or 3.

    Raises:
        DataError: The shape, the type or the range is another, or there are no images.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        first = images.ndim == 4 and images.shape[1] in (1, 3)
        hint = "move the channels last" if first else "store (N, H, W) or (N, H, W, C) with C 1 or 3"
        raise DataError(f"{what} has shape {images.shape}; {hint}")
    if 0 in images.shape:
        raise DataError(f"{what} is empty, shape {images.shape}; at least one image is needed")
    if images.dtype != np.uint8:
        images = _floats_to_uint8(what, images)
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _floats_to_uint8(what: str, images: np.ndarray) -> np.ndarray:
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{what} has type {images.dtype}; store uint8 in 0..255 or floats in 0..1")
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        if not np.isfinite(chunk).all():
            raise DataError(f"{what} holds NaN or infinity; remove or repair those images")
        if chunk.min() < 0 or chunk.max() > 1:
            low, high = float(chunk.min()), float(chunk.max())
            raise DataError(f"{what} has floats from {low:g} to {high:g}; scale them to 0..1, or store uint8 in 0..255")
        result[start : start + _CHUNK] = np.rint(chunk.astype(np.float32) * 255)
    return result


def labels_to_int64(what: str, labels: np.ndarray, count: int) -> Tensor:
    """int64 `(N,)` of labels `(N,)` or `(N, 1)`.

    Raises:
        DataError: They are not integers from 0, or not as many as there are images (`count`).
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(f"{what} has shape {labels.shape} for {count} images; store one label per image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what} has type {labels.dtype}; labels must be integers from 0")
    if len(labels) and labels.min() < 0:
        raise DataError(f"{what} has the label {labels.min()}; labels must be integers from 0")
    return torch.from_numpy(labels.astype(np.int64))


def numbered_classes(name: str, labels: Tensor) -> tuple[str, ...]:
    """Names "0", "1", ... of labels that have none.

    Raises:
        DataError: A label is so large that some class can have no image.
    """
    largest = int(labels.max())
    if largest >= len(labels):
        raise DataError(f"{name} has the label {largest}, but {len(labels)} training images; number the classes from 0")
    return tuple(map(str, range(largest + 1)))


def check_classes(name: str, train: Tensor, others: dict[str, Tensor], classes: tuple[str, ...]) -> None:
    """Raises `DataError` unless each class has training images and no split has a label beyond `classes`."""
    for split, labels in {"train": train, **others}.items():
        if len(labels) == 0:
            raise DataError(f"{name}: the {split} split is empty; at least one image is needed")
        if (label := int(labels.max())) >= len(classes):
            raise DataError(
                f"{name}: label {label} of {split} is not in train, which has {len(classes)} classes "
                f"(0 to {len(classes) - 1}); add training images of it or remove it"
            )
    counts = torch.bincount(train, minlength=len(classes))
    for label in (counts == 0).nonzero().flatten().tolist():
        places = [split for split, labels in others.items() if bool((labels == label).any())]
        where = f" but is in {places[0]}" if places else ""
        raise DataError(
            f"{name}: class {classes[label]!r} (label {label}) has no training images{where}; "
            "add some or remove the class"
        )


def resize_images(images: Tensor, size: int) -> Tensor:
    """Short side to `size` (bicubic, antialiased), then the centre: `(N, C, H, W)` to `(N, C, size, size)` uint8.

    ImageNet's networks are trained on bicubic images. A ridge regression on EfficientNet-Lite0's features of CIFAR-10
    at 96 pixels was right on 80.9 %, on 80.7 % after a bilinear resize (benchmarks/resizing.py: 3,000 images, within
    the error).
    """
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    resized = torch.empty(len(images), images.shape[1], size, size, dtype=torch.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = F.interpolate(images[start : start + _CHUNK], shape, mode="bicubic", antialias=True)
        resized[start : start + _CHUNK] = chunk[:, :, top : top + size, left : left + size]
    return resized


def make_square(what: str, images: Tensor, image_size: int | None) -> Tensor:
    """Resized to `image_size`; as they are if None, where they must be square.

    Raises:
        DataError: They are not square and no size is given.
    """
    height, width = images.shape[2:]
    if image_size is None and height != width:
        raise DataError(f"{what} holds images of {height}x{width}; give image_size to resize and cut them square")
    return images if image_size is None else resize_images(images, image_size)
