"""Augmentation of whole batches as tensors; every image gets its own draw.

All take images `(N, C, H, W)` of uint8 or float and give new ones of the same type and shape. Bytes are moved, never
converted: a batch becomes float only when it is normalised, so that each step here touches a quarter of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from archfit.errors import InputError

_MOST_REPEATS = 64


def _pad(images: Tensor, padding: int, mode: Literal["zero", "reflect"]) -> Tensor:
    if mode == "zero":
        return F.pad(images, (padding, padding, padding, padding))
    # torch's own reflection has no kernel for uint8.
    for dim in (2, 3):
        size = images.shape[dim]
        period = max(1, 2 * (size - 1))
        position = torch.arange(-padding, size + padding).abs() % period
        images = images.index_select(dim, torch.minimum(position, period - position).clamp_max(size - 1))
    return images


def random_crop(
    images: Tensor, padding: int, generator: torch.Generator, mode: Literal["zero", "reflect"] = "zero"
) -> Tensor:
    """Each image padded on all sides, then cut back to its size at an offset drawn from `[0, 2 * padding]`^2."""
    count, channels, height, width = images.shape
    padded = _pad(images, padding, mode)
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1, 1), generator=generator)
    rows = offsets[0] + torch.arange(height).view(1, -1, 1)
    columns = offsets[1] + torch.arange(width)
    index = (rows * padded.shape[3] + columns).view(count, 1, -1).expand(count, channels, -1)
    return padded.flatten(2).gather(2, index).view(count, channels, height, width)


def random_affine(images: Tensor, degrees: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Each image turned about its centre by up to `degrees` to either side and scaled by 1 - `zoom` to 1 + `zoom`.

    Bilinear; what comes in from outside is zero.
    """
    draws = 2 * torch.rand(2, len(images), generator=generator) - 1
    angle, scale = torch.deg2rad(degrees * draws[0]), 1 + zoom * draws[1]
    height, width = images.shape[2:]
    # Where each pixel is taken from, in units of half a side: the inverse of the move.
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    zero = torch.zeros_like(angle)
    rows = [
        torch.stack([cosine, sine * height / width, zero], 1),
        torch.stack([-sine * width / height, cosine, zero], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, align_corners=False)
    return moved.to(images.dtype) if images.is_floating_point() else moved.round_().to(images.dtype)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    chosen = (torch.rand(len(images), generator=generator) < 0.5).nonzero().flatten()
    # Four times faster than `where` on a broadcast mask (32 x 32 uint8, one thread).
    return images.index_copy(0, chosen, images.index_select(0, chosen).flip(-1))


def cutout(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A square of zeros, `size` wide, centred anywhere on each image and cut off at its edges (arXiv:1708.04552)."""
    count, _, height, width = images.shape
    top = torch.randint(0, height, (count, 1), generator=generator) - size // 2
    left = torch.randint(0, width, (count, 1), generator=generator) - size // 2
    rows, columns = torch.arange(height), torch.arange(width)
    hidden_rows = (rows >= top) & (rows < top + size)
    hidden_columns = (columns >= left) & (columns < left + size)
    return images.masked_fill((hidden_rows.unsqueeze(2) & hidden_columns.unsqueeze(1)).unsqueeze(1), 0)


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch, in this order.

    Attributes:
        rotation: Degrees up to which an image is turned, to either side; 0 leaves it out.
        zoom: Share by which it is made larger or smaller at most; 0 leaves it out.
        crop_padding: Pixels of zeros on each side before a random crop; 0 leaves it out.
        flip: Mirror half of the images.
        cutout: Side in pixels of the square that is hidden; 0 leaves it out.
        repeats: Copies of each image in a batch, every one varied anew (batch augmentation, arXiv:1901.09335).
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    rotation: float = 0.0
    zoom: float = 0.0
    repeats: int = 1

    def __post_init__(self) -> None:
        for name, high in (("rotation", 180.0), ("zoom", 0.9)):
            if not 0 <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from 0 to {high:g}")
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 0 or more pixels")
        if not isinstance(self.repeats, int) or not 1 <= self.repeats <= _MOST_REPEATS:
            raise InputError(f"repeats is {self.repeats}; it must be a whole number from 1 to {_MOST_REPEATS}")
        if self.repeats > 1 and replace(self, repeats=1) == Augmentation():
            raise InputError(
                f"repeats is {self.repeats}, but nothing varies the copies; add one of crop_padding, cutout, rotation, "
                "zoom"
            )

    def batch(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """New images `(repeats * N, C, H, W)` of the same type, and their labels: all of one copy, then the next."""
        if self.repeats == 1:
            return self.apply(images, generator), labels
        varied = [self.apply(images, generator) for _ in range(self.repeats)]
        return torch.cat(varied), labels.repeat(self.repeats)

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """New images, `(N, C, H, W)` of the same type."""
        if self.rotation or self.zoom:
            images = random_affine(images, self.rotation, self.zoom, generator)
        if self.crop_padding:
            images = random_crop(images, self.crop_padding, generator)
        if self.flip:
            images = random_flip(images, generator)
        if self.cutout:
            images = cutout(images, self.cutout, generator)
        return images
