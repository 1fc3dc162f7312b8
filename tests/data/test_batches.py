from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archfit.data import Augmentation, Batches, MemorySplit, evaluation_batches
from archfit.errors import InputError


def _split(count: int = 10, channels: int = 3) -> MemorySplit:
    images = torch.randint(
        0, 256, (count, channels, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return MemorySplit(images, torch.arange(count))


def _all(batches: Batches) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_normalised_by_hand() -> None:
    split = MemorySplit(torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8), torch.tensor([0]))
    images, _ = next(iter(evaluation_batches(split, (0.2,), (0.4,))))
    # 0, 1, 0.2 and 0.8, less 0.2, over 0.4.
    assert images.flatten().tolist() == pytest.approx([-0.5, 2.0, 0.0, 1.5], abs=1e-6)


def test_evaluation_sees_every_image_once_in_order() -> None:
    batches = evaluation_batches(_split(), (0.5,) * 3, (0.5,) * 3, 4)
    assert len(batches) == 3
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert _all(batches)[1].tolist() == list(range(10))


def test_reading_does_not_change_the_split() -> None:
    split = _split()
    before = split.images.clone()
    _all(Batches(split, (0.1,) * 3, (0.2,) * 3, 4, augmentation=Augmentation(1, True, 2)))
    assert torch.equal(split.images, before)


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    def epoch(seed: int, number: int, read_before: int = 0) -> tuple[Tensor, Tensor]:
        batches = Batches(
            _split(), (0.5,) * 3, (0.5,) * 3, 4, augmentation=Augmentation(1, True), seed=seed, shuffle=True
        )
        for earlier in range(read_before):
            batches.set_epoch(earlier)
            _all(batches)
        batches.set_epoch(number)
        return _all(batches)

    straight, resumed = epoch(0, 2, read_before=2), epoch(0, 2)
    assert torch.equal(straight[0], resumed[0])
    assert torch.equal(straight[1], resumed[1])
    orders = {tuple(epoch(seed, number)[1].tolist()) for seed, number in ((0, 1), (1, 0), (0, 2), (2, 0))}
    assert len(orders) == 4
    assert all(sorted(order) == list(range(10)) for order in orders)


@pytest.mark.parametrize("size", [1, 2])
def test_repeats_make_batches_longer_not_more(size: int) -> None:
    batches = [
        Batches(
            _split(), (0.5,) * 3, (0.5,) * 3, 4, augmentation=Augmentation(1, repeats=2), shuffle=True, drop_last=True,
            part=(rank, size),
        )
        for rank in range(size)
    ]  # fmt: skip
    assert (len(batches[0]), batches[0].images) == (2, 8)
    for parts in zip(*batches, strict=True):
        together = torch.cat([labels for _, labels in parts])
        assert [len(images) for images, _ in parts] == size * [8 // size]
        assert sorted(together.bincount(minlength=10).tolist()) == 6 * [0] + 4 * [2]


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    _all(Batches(_split(), (0.5,) * 3, (0.5,) * 3, 4, augmentation=Augmentation(1, True, 2), shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("count", "drop_last", "max_images", "sizes"),
    [
        (10, True, None, [4, 4]),
        (10, False, 6, [4, 2]),
        (10, True, 6, [4]),
        (10, True, 99, [4, 4]),
        (3, True, None, [3]),
    ],
)
def test_sizes(count: int, drop_last: bool, max_images: int | None, sizes: list[int]) -> None:
    batches = Batches(
        _split(count), (0.5,) * 3, (0.5,) * 3, 4, shuffle=True, drop_last=drop_last, max_images=max_images
    )
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


def test_memory_format() -> None:
    batches = evaluation_batches(_split(), (0.5,) * 3, (0.5,) * 3, memory_format=torch.channels_last)
    images, _ = next(iter(batches))
    assert images.is_contiguous(memory_format=torch.channels_last)
    plain, _ = next(iter(evaluation_batches(_split(), (0.5,) * 3, (0.5,) * 3)))
    assert torch.equal(images, plain)


def test_bounds() -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        Batches(_split(), (0.5,) * 3, (0.5,) * 3, 0)
    with pytest.raises(InputError, match="max_images is 0"):
        Batches(_split(), (0.5,) * 3, (0.5,) * 3, 4, max_images=0)
    with pytest.raises(InputError, match="no images"):
        Batches(_split(0), (0.5,) * 3, (0.5,) * 3, 4)
