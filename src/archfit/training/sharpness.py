"""Sharpness-aware minimisation: gradients from where the loss near by is worst."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class SharpnessAware:
    """Moves the weights up the gradient for the one pass that the optimiser's gradients are taken from.

    A step costs two passes and ends in flatter minima (SAM, arXiv:2010.01412, eq. 2). Of several processes each moves
    by the gradient of its own part of the batch, which is as good and asks nothing of the others (section 4.1 there).
    Batch norms keep no statistics of the second pass: they are to describe the weights, not where these moved.

    Args:
        radius: Length of the move, over all weights together.
    """

    def __init__(self, radius: float) -> None:
        self._radius = radius
        self._weights: list[Tensor] = []
        self._origin: list[Tensor] = []
        self._norms: list[Any] = []

    def climb(self, loss: Tensor, module: nn.Module) -> None:
        """Away from where `loss` was computed, until `back` is called; weights that are closed stay as they are."""
        present = [weight for weight in module.parameters() if weight.requires_grad]
        found = zip(present, torch.autograd.grad(loss, present, allow_unused=True), strict=True)
        pairs = [(weight, gradient) for weight, gradient in found if gradient is not None]
        self._weights = [weight for weight, _ in pairs]
        self._origin = [weight.detach().clone() for weight in self._weights]
        gradients: Any = [gradient for _, gradient in pairs]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        with torch.no_grad():
            torch._foreach_add_(self._weights, torch._foreach_mul(gradients, self._radius / (norm + 1e-12)))
        self._norms = [part for part in module.modules() if isinstance(part, _BATCH_NORMS) and part.track_running_stats]
        for part in self._norms:
            part.track_running_stats = False

    @torch.no_grad()
    def back(self) -> None:
        """To the bit where `climb` began."""
        torch._foreach_copy_(self._weights, self._origin)
        for part in self._norms:
            part.track_running_stats = True
        self._weights, self._origin, self._norms = [], [], []
