"""A dataset in memory or on disk: three splits, the names of the classes, and how to normalise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from archfit.architecture import Task
from archfit.errors import DataError

_STATISTICS_IMAGES = 2048


@runtime_checkable
class Split(Protocol):
    """Labelled images of one size, read in batches. Must be picklable and pass `archfit.testing.check_split`."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Tensor:
        """Class numbers from 0, int64 `(len,)`."""
        ...

    def raw(self, batch_size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches as they are stored: images uint8 `(B, C, H, W)` and labels int64 `(B,)`.

        The images may share memory with the split: do not write into them.

        Args:
            batch_size: Of all batches but the last, which may be shorter.
            order: Which images, in which order, int64; all of them as stored if None.
        """
        ...

    def subset(self, indices: Tensor) -> Split:
        """The images at these positions, int64 `(n,)`, in this order."""
        ...


@dataclass(frozen=True, eq=False)
class MemorySplit:
    """A split held as one tensor.

    Attributes:
        images: uint8 `(N, C, H, W)`.
        labels: int64 `(N,)`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def raw(self, batch_size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        if order is None:
            for start in range(0, len(self), batch_size):
                yield self.images[start : start + batch_size], self.labels[start : start + batch_size]
            return
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            yield self.images.index_select(0, part), self.labels.index_select(0, part)

    def subset(self, indices: Tensor) -> MemorySplit:
        return MemorySplit(self.images.index_select(0, indices), self.labels.index_select(0, indices))


@dataclass(frozen=True, eq=False)
class ImageData:
    """What a network is searched on, trained on and tested on.

    Attributes:
        name: As it is shown.
        classes: Their names; a label is a position in it.
        channels: 1 (grey) or 3 (RGB).
        image_size: Height and width in pixels.
        train: Weights are fitted to it.
        validation: Architectures and epochs are chosen by it.
        test: Read once, by the network that is recommended; None where it is withheld.
        mean: Per channel on the 0..1 scale, of the training split alone.
        std: Per channel on the 0..1 scale, of the training split alone.
        flip: Whether a mirrored image keeps its label.
        notes: What a reader of the results should know: skipped images, sizes chosen, splits cut.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    train: Split
    validation: Split
    test: Split | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(f"{self.name} has {len(self.classes)} class; at least 2 are needed to tell apart")
        if twice := [name for name, count in Counter(self.classes).items() if count > 1]:
            raise DataError(f"{self.name}: two classes are called {twice[0]!r}; give each a name of its own")
        if self.channels not in (1, 3):
            raise DataError(f"{self.name} has {self.channels} channels; images must have 1 (grey) or 3 (RGB)")
        if not len(self.mean) == len(self.std) == self.channels:
            raise DataError(f"{self.name}: mean {self.mean} and std {self.std} need one value per channel")

    @property
    def task(self) -> Task:
        return Task(self.channels, self.image_size, len(self.classes))

    def describe(self) -> dict[str, Any]:
        """What a record of a run says of it, as JSON."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "images": {
                "training": len(self.train),
                "validation": len(self.validation),
                "test": len(self.test) if self.test is not None else 0,
            },
            "channels": self.channels,
            "image_size": self.image_size,
            "notes": list(self.notes),
        }

    def without_test(self) -> ImageData:
        """What a search is given: the same with `test` None."""
        return replace(self, test=None)


def channel_statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel on the 0..1 scale.

    Exact for a split in memory; of at most 2048 images, evenly spaced, where each has to be decoded. A channel that
    never changes gets the deviation of one grey level, so that dividing by it is safe.
    """
    count = len(split)
    order = None
    if not isinstance(split, MemorySplit) and count > _STATISTICS_IMAGES:
        order = torch.linspace(0, count - 1, _STATISTICS_IMAGES).round().long()
    pixels, total, squares = 0, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    for images, _ in split.raw(512, order):
        pixels += images.shape[0] * images.shape[2] * images.shape[3]
        total = total + images.sum(dim=(0, 2, 3), dtype=torch.int64)
        squares = squares + images.int().square_().sum(dim=(0, 2, 3), dtype=torch.int64)
    mean = total.double() / pixels
    std = (squares.double() / pixels - mean.square()).clamp_min(0).sqrt().clamp_min(1)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())
