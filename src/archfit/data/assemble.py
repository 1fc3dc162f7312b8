"""From the splits that a source has to the three that are needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archfit.data.arrays import check_classes
from archfit.data.dataset import ImageData, Split, channel_statistics
from archfit.data.splits import balanced, stratified
from archfit.errors import DataError, InputError

_TEST_SHARE = 0.15
_VALIDATION_SHARE = 0.15
_VALIDATION_SHARE_OF_TRAIN = 0.1


@dataclass(frozen=True)
class Source:
    """What was read, before anything is cut.

    Attributes:
        name: As it is shown.
        classes: Names by label.
        channels: 1 or 3.
        image_size: Height and width in pixels.
        train: All that may be trained on.
        validation: None where it is still to be cut from `train`.
        test: None where it is still to be cut from `train`.
        flip: Whether a mirrored image keeps its label.
        notes: What a reader of the results should know.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    train: Split
    validation: Split | None = None
    test: Split | None = None
    flip: bool = True
    notes: tuple[str, ...] = ()


def assemble(source: Source, *, train_images: int | None, seed: int, validation: float | None) -> ImageData:
    """Cuts the splits that are missing, keeps `train_images` of training, and takes the statistics of those.

    The arguments are those of `load_data`.

    Raises:
        DataError: A class has too few images to be cut, or is not in the training split.
        InputError: `validation` or `train_images` is out of range.
    """
    if validation is not None and not 0 < validation <= 0.5:
        raise InputError(f"validation is {validation}; give a share of the images above 0 and at most 0.5")
    if len(source.classes) < 2:
        raise DataError(f"{source.name} has one class only, {source.classes[0]!r}; at least 2 are needed to tell apart")
    others = {"validation": source.validation, "test": source.test}
    given = {name: split.labels for name, split in others.items() if split is not None}
    check_classes(source.name, source.train.labels, given, source.classes)

    shares: dict[str, float] = {}
    if source.validation is None:
        default = _VALIDATION_SHARE if source.test is None else _VALIDATION_SHARE_OF_TRAIN
        shares["validation"] = default if validation is None else validation
    if source.test is None:
        shares["test"] = _TEST_SHARE
    notes = list(source.notes)
    splits: dict[str, Split] = {name: split for name, split in others.items() if split is not None}
    train = source.train
    if shares:
        _check_enough(source, len(shares) + 1)
        rest, *parts = stratified(train.labels, tuple(shares.values()), seed)
        splits.update({name: train.subset(part) for name, part in zip(shares, parts, strict=True)})
        train = train.subset(rest)
        cut = " and ".join(f"{name} ({share:.0%})" for name, share in shares.items())
        notes.append(f"{cut} cut from the training images, class by class, seed {seed}")
    if train_images is not None:
        train, note = keep_train_images(train, train_images, seed)
        notes.append(note)
    mean, std = channel_statistics(train)
    return ImageData(
        source.name,
        source.classes,
        source.channels,
        source.image_size,
        train,
        splits["validation"],
        splits["test"],
        mean,
        std,
        source.flip,
        tuple(notes),
    )


def keep_train_images(train: Split, count: int, seed: int) -> tuple[Split, str]:
    """`count` training images, as many of each class as there can be, and the note that says so."""
    note = f"trained on {count} of {len(train)} training images, balanced over the classes, seed {seed}"
    return train.subset(balanced(train.labels, count, seed)), note


def _check_enough(source: Source, needed: int) -> None:
    counts = torch.bincount(source.train.labels, minlength=len(source.classes)).tolist()
    few = [(name, count) for name, count in zip(source.classes, counts, strict=True) if count < needed]
    if few:
        name, count = few[0]
        more = f" (and {len(few) - 1} more classes)" if len(few) > 1 else ""
        raise DataError(
            f"{source.name}: class {name!r} has {count} image{'s' * (count != 1)}{more}; "
            f"at least {needed} are needed, one for each split; add images or remove the class"
        )
