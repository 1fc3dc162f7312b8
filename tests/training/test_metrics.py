from __future__ import annotations

import pytest
import torch

from archfit.errors import InputError
from archfit.training import chance_level, confusion_matrix, get_metric, per_class

# Rows are the truth: 4 of class 0 (3 right, 1 seen as 1), 1 of class 1 (right), 3 of class 2 (1 right, 2 seen as 0).
CONFUSION = torch.tensor([[3, 1, 0], [0, 1, 0], [2, 0, 1]])


def test_confusion_matrix_counts_truth_by_answer() -> None:
    truth = torch.tensor([0, 0, 0, 0, 1, 2, 2, 2])
    answers = torch.tensor([0, 0, 0, 1, 1, 2, 0, 0])
    assert torch.equal(confusion_matrix(answers, truth, 3), CONFUSION)


def test_accuracies_by_hand() -> None:
    assert get_metric("accuracy")(CONFUSION) == pytest.approx(5 / 8)
    # Recalls 3/4, 1/1 and 1/3.
    assert get_metric("balanced-accuracy")(CONFUSION) == pytest.approx((3 / 4 + 1 + 1 / 3) / 3)


def test_a_class_without_images_does_not_count() -> None:
    confusion = torch.tensor([[2, 2, 0], [0, 1, 0], [0, 0, 0]])
    assert get_metric("balanced-accuracy")(confusion) == pytest.approx((0.5 + 1) / 2)


def test_the_same_answers_have_the_same_accuracy_as_in_the_test() -> None:
    """A rounded share would be below, or above, that of a network with as many right answers."""
    truth = torch.arange(269) % 10
    answers = torch.where(torch.arange(269) == 5, 0, truth)
    confusion = confusion_matrix(answers, truth, 10)
    assert get_metric("accuracy")(confusion) == float((answers == truth).double().mean()) == 268 / 269
    recalls = [entry["recall"] for entry in per_class(confusion, tuple("abcdefghij")).values()]
    assert get_metric("balanced-accuracy")(confusion) == pytest.approx(sum(recalls) / 10, abs=1e-12)
    assert chance_level(truth, 10, "accuracy") == 27 / 269


def test_unknown_metric() -> None:
    with pytest.raises(InputError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        get_metric("acuracy")


@pytest.mark.parametrize("labels", [[0, 0, 0, 1], [0, 0, 0, 1, 2, 2, 2, 2], [1, 1, 1]])
@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy"])
def test_chance_is_the_best_constant_answer(labels: list[int], metric: str) -> None:
    truth = torch.tensor(labels)
    constant = [confusion_matrix(torch.full_like(truth, answer), truth, 3) for answer in range(3)]
    assert chance_level(truth, 3, metric) == pytest.approx(max(get_metric(metric)(c) for c in constant))


def test_chance_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    assert chance_level(labels, 2, "accuracy") == pytest.approx(3 / 4)
    assert chance_level(labels, 2, "balanced-accuracy") == pytest.approx(1 / 2)


def test_per_class_by_hand() -> None:
    rows = per_class(CONFUSION, ("a", "b", "c"))
    # Answers per class: 5, 2, 1. F1 is 2 * right / (images + answers).
    assert rows["a"] == pytest.approx({"precision": 3 / 5, "recall": 3 / 4, "f1": 6 / 9, "images": 4})
    assert rows["b"] == pytest.approx({"precision": 1 / 2, "recall": 1.0, "f1": 2 / 3, "images": 1})
    assert rows["c"] == pytest.approx({"precision": 1.0, "recall": 1 / 3, "f1": 2 / 4, "images": 3})


def test_per_class_without_answers_or_images() -> None:
    rows = per_class(torch.tensor([[2, 0], [1, 0]]), ("a", "b"))
    assert rows["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 1}
    rows = per_class(torch.tensor([[2, 0], [0, 0]]), ("a", "b"))
    assert rows["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 0}
