"""What a trained network answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archfit.data import Batches, ImageData, Split, evaluation_batches
from archfit.nn.folding import folded
from archfit.training.accelerators import check_accelerator
from archfit.training.metrics import Metric, confusion_matrix

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def predict_logits(
    network: nn.Module, split: Split, data: ImageData, *, memory_format: str = "channels_last", accelerator: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Logits `(N, classes)` and labels `(N,)` of a whole split, in its order, on the CPU."""
    device = torch.device(check_accelerator(accelerator))
    network = network.to(device).eval()
    logits, labels = [], []
    with torch.inference_mode():
        for images, truth in in_order(split, data, memory_format):
            logits.append(network(images.to(device)).cpu())
            labels.append(truth)
    network.to("cpu")
    return torch.cat(logits), torch.cat(labels)


def score(
    network: nn.Module,
    split: Split,
    data: ImageData,
    metric: Metric,
    *,
    memory_format: str = "channels_last",
    accelerator: str = "cpu",
) -> float:
    """The metric of a network's answers on a split; batch norms are folded into convolutions, which is faster."""
    network = folded(network)
    logits, labels = predict_logits(network, split, data, memory_format=memory_format, accelerator=accelerator)
    return metric(confusion_matrix(logits.argmax(dim=1), labels, len(data.classes)))


def in_order(split: Split, data: ImageData, memory_format: str) -> Batches:
    """All images of a split in its order, as they are."""
    return evaluation_batches(split, data.mean, data.std, memory_format=MEMORY_FORMATS[memory_format])
