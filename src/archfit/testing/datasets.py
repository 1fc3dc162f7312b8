"""What every split and every dataset must do."""

from __future__ import annotations

import torch

from archfit.data import ImageData, Split, channel_statistics


def check_split(split: Split, channels: int, image_size: int, classes: int) -> None:
    """Raises `AssertionError` unless `split` keeps the promises of `archfit.data.Split`."""
    count = len(split)
    assert count > 0, "a split must have images"
    assert split.labels.dtype == torch.int64, f"labels are {split.labels.dtype}, not int64"
    assert split.labels.shape == (count,), f"labels have shape {tuple(split.labels.shape)} for {count} images"
    assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < classes, "a label is out of range"

    batch_size = max(1, (count + 1) // 2)
    batches = list(split.raw(batch_size))
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert all(len(batch) == batch_size for batch, _ in batches[:-1]), "only the last batch may be shorter"
    assert images.dtype == torch.uint8, f"images are {images.dtype}, not uint8"
    assert images.shape == (count, channels, image_size, image_size), f"images have shape {tuple(images.shape)}"
    assert torch.equal(labels, split.labels), "raw(None) must follow the stored order"

    order = torch.arange(count - 1, -1, -1)
    for read in (split.raw(count, order), split.subset(order).raw(count)):
        reversed_images, reversed_labels = next(iter(read))
        assert torch.equal(reversed_images, images.flip(0)), "images must follow the order asked for"
        assert torch.equal(reversed_labels, labels.flip(0)), "labels must follow the order asked for"


def check_dataset(data: ImageData) -> None:
    """Raises `AssertionError` unless `data` can be searched on: see `archfit.data.ImageData`.

    Reads every image several times: meant for small datasets.
    """
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    for split in splits.values():
        if split is not None:
            check_split(split, data.channels, data.image_size, len(data.classes))
    absent = set(range(len(data.classes))) - set(data.train.labels.tolist())
    assert not absent, f"classes {sorted(absent)} have no training images"
    assert (data.mean, data.std) == channel_statistics(data.train), "mean and std must be those of the training split"
    assert data.without_test().test is None, "a search must not be given the test split"
    assert data.task.classes == len(data.classes)
