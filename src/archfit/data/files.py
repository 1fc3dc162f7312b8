"""Images on disk: how one is decoded, and a split that decodes them as they are asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from archfit.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# What Pillow raises on bytes that are not a whole image, or whose EXIF has another type than it should.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def is_grey(image: Image.Image) -> bool:
    """Whether the stored mode has one channel of light, with or without alpha."""
    return image.mode in {"1", "L", "LA", "I", "F"} or image.mode.startswith("I;16")


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """The first frame upright as "L" or "RGB"; alpha is dropped, 16-bit grey keeps its upper 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns on the direct way from a palette with transparency to RGB.
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Resized (bicubic, antialiased) so that the short side is `size`, then the centre cut out."""
    width, height = image.size
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> Tensor:
    """uint8 `(C, H, W)` of an image in mode "L" or "RGB"."""
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def decode(path: Path, image_size: int, channels: int) -> Tensor:
    """One file as uint8 `(channels, image_size, image_size)`. Raises one of `DECODE_ERRORS` if it is not whole."""
    with Image.open(path) as image:
        return to_tensor(fit_square(to_mode(image, channels), image_size))


class _Files(Dataset[tuple[Tensor, int]]):
    def __init__(self, split: FileSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        split = self.split
        try:
            image = decode(split.paths[index], split.image_size, split.channels)
        except DECODE_ERRORS as error:
            raise DataError(
                f"{split.paths[index]} can no longer be read ({error}); restore it or start anew"
            ) from error
        return image, int(split.labels[index])


@dataclass(frozen=True, eq=False)
class FileSplit:
    """A split that decodes its files each time they are read.

    Attributes:
        paths: One file per image.
        labels: int64 `(N,)`.
        image_size: Short side after resizing; the centre is cut out.
        channels: 1 (grey) or 3 (RGB).
        num_workers: Processes that decode; 0 decodes in this one.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    image_size: int
    channels: int
    num_workers: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def raw(self, batch_size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        indices = list(range(len(self))) if order is None else order.tolist()
        # A generator of its own: without one, each pass of a loader advances torch's global random state.
        loader = DataLoader(
            _Files(self),
            batch_size,
            sampler=indices,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )
        yield from loader

    def subset(self, indices: Tensor) -> FileSplit:
        return replace(
            self, paths=tuple(self.paths[i] for i in indices.tolist()), labels=self.labels.index_select(0, indices)
        )
