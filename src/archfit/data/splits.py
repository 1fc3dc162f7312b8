"""Cutting a set of labelled images, class by class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archfit.errors import InputError


def stratified(labels: Tensor, shares: Sequence[float], seed: int) -> tuple[Tensor, ...]:
    """Indices of the rest and of one part per share; every class is cut in the same shares.

    Args:
        labels: int64 `(N,)`; each class needs at least one more image than there are shares.
        shares: Of each part, in (0, 1), below 1 together. A class gives each part `round(share * images)` of its
            images, at least one, and keeps at least one in the rest.
        seed: Decides which images.

    Returns:
        `(rest, part, ...)`, each int64 and ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in range(len(shares) + 1)]
    for label in torch.bincount(labels).nonzero().flatten().tolist():
        indices = (labels == label).nonzero().flatten()
        indices = indices[torch.randperm(len(indices), generator=generator)]
        if len(indices) <= len(shares):
            raise InputError(f"class {label} has {len(indices)} images; {len(shares) + 1} parts need one each")
        start = 0
        for position, share in enumerate(shares):
            still_due = len(shares) - position
            size = min(max(1, round(share * len(indices))), len(indices) - start - still_due)
            parts[position + 1].append(indices[start : start + size])
            start += size
        parts[0].append(indices[start:])
    return tuple(torch.cat(part).sort().values for part in parts)


def balanced(labels: Tensor, count: int, seed: int) -> Tensor:
    """Ascending indices of `count` images, as many of each class as there can be.

    A class that has fewer than its part gives all it has and the others make up for it; what does not divide goes to
    the first classes.

    Raises:
        InputError: `count` is below the number of classes or above the number of images.
    """
    counts = torch.bincount(labels)
    classes = counts.nonzero().flatten().tolist()
    if not len(classes) <= count <= len(labels):
        raise InputError(
            f"{count} training images asked for; give from {len(classes)} (one per class) to {len(labels)} (all)"
        )
    quota = dict.fromkeys(classes, 0)
    left = count
    while left:
        open_classes = [label for label in classes if quota[label] < counts[label]]
        part, extra = divmod(left, len(open_classes))
        for position, label in enumerate(open_classes):
            given = min(part + (position < extra), int(counts[label]) - quota[label])
            quota[label] += given
            left -= given
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in classes:
        indices = (labels == label).nonzero().flatten()
        chosen.append(indices[torch.randperm(len(indices), generator=generator)[: quota[label]]])
    return torch.cat(chosen).sort().values
