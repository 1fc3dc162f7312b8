"""Accuracies of predictions, in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from archfit.errors import unknown_name

Metric = Callable[[Tensor], float]


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts, `(classes, classes)`, rows the true class; both arguments are int64 `(N,)`."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)


def top1(confusion: Tensor) -> float:
    """Share of right answers in a confusion matrix."""
    return int(confusion.diagonal().sum()) / int(confusion.sum())


def balanced_accuracy(confusion: Tensor) -> float:
    """Mean recall over the classes that occur: chance is 1 / classes however uneven they are."""
    images = confusion.sum(dim=1)
    return float((confusion.diagonal()[images > 0].double() / images[images > 0]).mean())


def top_k(logits: Tensor, labels: Tensor, k: int) -> float:
    """Share of images whose class is among the `k` largest logits."""
    return float((logits.topk(k, dim=1).indices == labels.unsqueeze(1)).any(dim=1).double().mean())


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error over 15 bins of confidence: how far accuracy lies from confidence, on average.

    Guo et al., arXiv:1706.04599, equation 3.
    """
    # Late: it takes 170 MB of memory and a second, which every reward of a supernet would do without.
    from torchmetrics.functional.classification import multiclass_calibration_error

    error: Tensor = multiclass_calibration_error(
        logits.softmax(dim=1), labels, num_classes=logits.shape[1], n_bins=15, norm="l1"
    )
    return float(error)


METRICS: dict[str, Metric] = {"accuracy": top1, "balanced-accuracy": balanced_accuracy}


def get_metric(name: str) -> Metric:
    """The metric of that name, a function of a confusion matrix."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def chance_level(labels: Tensor, classes: int, metric: str) -> float:
    """What the best constant answer scores: the share of the largest class, or 1 / classes that occur when balanced."""
    images = torch.bincount(labels, minlength=classes)
    if metric == "balanced-accuracy":
        return 1 / int((images > 0).sum())
    return int(images.max()) / len(labels)


def per_class(confusion: Tensor, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of images of each class; a precision without predictions is 0."""
    right = confusion.diagonal().double()
    images = confusion.sum(dim=1).double()
    answers = confusion.sum(dim=0).double()
    precision = right / answers.clamp(min=1)
    recall = right / images.clamp(min=1)
    f1 = 2 * right / (images + answers).clamp(min=1)
    return {
        name: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "images": int(images[i]),
        }
        for i, name in enumerate(names)
    }
