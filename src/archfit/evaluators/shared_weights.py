"""Shared weights: a candidate is scored by its path through a trained supernet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from archfit.architecture import Architecture, Task
from archfit.data import Batches, ImageData
from archfit.spaces import SharedSpace, Supernet
from archfit.training import MEMORY_FORMATS, Metric, confusion_matrix, get_metric

BATCH = 128
"""Images that are normalised together: the accuracy of a path depends on its batches."""


@dataclass(frozen=True)
class SharedWeights:
    """Scores on the whole validation split, in shuffled batches of 128: a sorted one would upset batch norms.

    Attributes:
        weights: File with the supernet's state dict under "supernet".
        space: That the supernet is of.
        metric: Name of the validation score.
        memory_format: "channels_last" or "contiguous".
    """

    weights: Path
    space: SharedSpace
    metric: str = "accuracy"
    memory_format: str = "channels_last"

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        del network, seed, on_progress  # a few seconds; the same batches for every candidate
        supernet = _read(self.weights, self.space, data.task, self.memory_format)
        batches = Batches(
            data.validation,
            data.mean,
            data.std,
            min(BATCH, len(data.validation)),
            shuffle=True,
            drop_last=True,
            memory_format=MEMORY_FORMATS[self.memory_format],
        )
        return path_accuracy(supernet, architecture, batches, get_metric(self.metric), len(data.classes))


def path_accuracy(
    supernet: Supernet,
    architecture: Architecture,
    batches: Iterable[tuple[Tensor, Tensor]],
    metric: Metric,
    classes: int,
) -> float:
    """The metric of one path's answers to all batches together, in [0, 1]."""
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    device = next(supernet.parameters()).device
    supernet.eval()
    with torch.inference_mode():
        for images, labels in batches:
            predicted = supernet(images.to(device), architecture).argmax(dim=1).cpu()
            confusion += confusion_matrix(predicted, labels, classes)
    return metric(confusion)


def _read(path: Path, space: SharedSpace, task: Task, memory_format: str) -> Supernet:
    with torch.random.fork_rng(devices=()):
        supernet = space.supernet(task)
    supernet.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["supernet"])
    return supernet.to(memory_format=MEMORY_FORMATS[memory_format])
