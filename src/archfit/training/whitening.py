"""A first convolution that begins with what the training images vary in."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from archfit.data import Batches

_PATCHES = 100_000
_DAMPING = 1e-2


@torch.no_grad()
def whiten_first_convolution(network: nn.Module, batches: Batches) -> None:
    """Sets the first filters of the first convolution to the whitened principal components of image patches.

    Each component is scaled to unit variance over the patches and comes with both signs, the strongest first
    (Jordan, arXiv:2404.00498, section 3.2); filters beyond them keep their random weights. Without effect where the
    first convolution is grouped.

    Args:
        network: Its first `Conv2d` sees the images.
        batches: Of training images; the first of its epoch are looked at, without changing it.
    """
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.groups != 1:
        return
    patches: list[torch.Tensor] = []
    for images, _ in batches:
        rows = functional.unfold(images, tuple(first.kernel_size), stride=2).transpose(1, 2).flatten(0, 1)
        patches.append(rows[:: len(rows) // _PATCHES + 1])
        if sum(map(len, patches)) >= _PATCHES:
            break
    rows = torch.cat(patches)
    variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
    components = (directions / torch.sqrt(variances.clamp(min=0) + _DAMPING)).T.flip(0)
    filters = torch.stack([components, -components], dim=1).flatten(0, 1)[: first.out_channels]
    first.weight[: len(filters)] = filters.view(-1, *first.weight.shape[1:])
