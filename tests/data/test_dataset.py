from __future__ import annotations

import pytest
import torch

from archfit.architecture import Task
from archfit.data import ImageData, MemorySplit, channel_statistics, load_data
from archfit.errors import DataError
from archfit.testing.datasets import check_dataset, check_split


def test_statistics_of_four_pixels() -> None:
    # One channel, pixels 0, 0, 255, 255: mean 1/2, deviation 1/2 on the 0..1 scale.
    images = torch.tensor([[[[0, 255], [0, 255]]]], dtype=torch.uint8)
    assert channel_statistics(MemorySplit(images, torch.tensor([0]))) == ((0.5,), (0.5,))


def test_constant_channel_has_a_deviation_to_divide_by() -> None:
    images = torch.full((3, 1, 2, 2), 51, dtype=torch.uint8)
    # 51 / 255 = 0.2; the deviation of 0 becomes one grey level.
    mean, std = channel_statistics(MemorySplit(images, torch.zeros(3, dtype=torch.int64)))
    assert mean == (pytest.approx(0.2),)
    assert std == (pytest.approx(1 / 255),)


def test_task_and_withheld_test() -> None:
    data = load_data("digits")
    assert data.task == Task(channels=1, image_size=8, classes=10)
    assert data.test is not None
    assert data.without_test().test is None
    assert data.without_test().train is data.train


def test_one_class_is_refused() -> None:
    split = MemorySplit(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match="at least 2"):
        ImageData("one", ("a",), 1, 2, split, split, split, (0.0,), (1.0,))


def test_digits_pass_the_conformance_suite() -> None:
    check_dataset(load_data("digits"))


def test_conformance_suite_finds_a_label_out_of_range() -> None:
    split = MemorySplit(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2]))
    with pytest.raises(AssertionError, match="out of range"):
        check_split(split, 1, 4, classes=2)
