from __future__ import annotations

import pytest
import torch

from archfit.data import balanced, stratified
from archfit.errors import InputError


def test_each_class_is_cut_in_the_same_shares() -> None:
    # 20 of class 0 and 40 of class 1: 15 % are 3 and 6, 10 % are 2 and 4.
    labels = torch.tensor([0] * 20 + [1] * 40)[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    rest, first, second = stratified(labels, (0.15, 0.1), seed=3)
    assert torch.bincount(labels[first]).tolist() == [3, 6]
    assert torch.bincount(labels[second]).tolist() == [2, 4]
    assert torch.cat([rest, first, second]).sort().values.tolist() == list(range(60))


def test_three_images_give_one_to_each_part() -> None:
    parts = stratified(torch.tensor([0, 0, 0]), (0.15, 0.15), seed=0)
    assert [len(part) for part in parts] == [1, 1, 1]


def test_the_seed_decides() -> None:
    labels = torch.zeros(100, dtype=torch.int64)
    first, again, other = (stratified(labels, (0.2,), seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_images_for_the_parts() -> None:
    with pytest.raises(InputError, match="class 1 has 2 images; 3 parts"):
        stratified(torch.tensor([0, 0, 0, 1, 1]), (0.1, 0.1), seed=0)


def test_balanced_makes_up_for_a_small_class() -> None:
    # Counts 2, 10, 10 and 11 asked for: 4, 4, 3 at first; class 0 has 2, so 2 are left over and go one to each other.
    labels = torch.tensor([0] * 2 + [1] * 10 + [2] * 10)
    chosen = balanced(labels, 11, seed=0)
    assert torch.bincount(labels[chosen]).tolist() == [2, 5, 4]
    assert len(set(chosen.tolist())) == 11


@pytest.mark.parametrize("count", [1, 5])
def test_balanced_bounds(count: int) -> None:
    with pytest.raises(InputError, match=r"from 2 .* to 4"):
        balanced(torch.tensor([0, 0, 1, 1]), count, seed=0)
