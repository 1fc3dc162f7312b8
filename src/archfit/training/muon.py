"""Muon: momentum whose filters are made orthogonal, for short trainings from scratch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Each (a, b, c) of a x + b x^3 + c x^5, one after the other the closest to 1 for singular values that began in
# [0.01, 1] of the norm (minimax, as arXiv:2505.16932 does); what began there ends in 0.73 to 1.27.
POLYNOMIALS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Nearly `U V^T` of the singular value decomposition `U S V^T`: every direction counts alike.

    The polynomials are iterated on the small Gram matrix `(m, m)` and applied once to the matrix, which for a
    3x3 convolution costs half of iterating on the matrix itself. float32 throughout: bfloat16 is slow on most CPUs.

    Args:
        matrix: `(out, in)`, float32.

    Returns:
        `(out, in)`; singular values of 0.73 to 1.27, but less for those below a hundredth of the norm.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    product: Tensor | None = None
    for position, (a, b, c) in enumerate(POLYNOMIALS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if position < len(POLYNOMIALS) - 1:
            gram = factor @ gram @ factor
    assert product is not None
    result: Tensor = product @ wide
    return result if matrix.shape[0] <= matrix.shape[1] else result.T


class Muon(Optimizer):
    """Nesterov momentum, orthogonalised for the groups with `orthogonal` set, plain SGD for the others.

    Convolution filters are taken as matrices `(out, in * height * width)`. A rate means a step of that size along
    every direction of such a matrix, times sqrt(out / in) where that is above 1 (Keller Jordan, "Muon", 2024).
    torch.optim.Muon takes matrices alone and computes in bfloat16.

    Args:
        groups: Each with `params`, `lr`, `weight_decay` and `orthogonal`. Decay is added to plain gradients, and
            shrinks orthogonalised weights by lr * weight_decay a step.
        momentum: In [0, 1).
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float = 0.9) -> None:
        super().__init__(groups, {"momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            gradients: Any = [p.grad for p in weights]
            decay, rate = group["weight_decay"], group["lr"]
            if decay and not group["orthogonal"]:
                gradients = torch._foreach_add(gradients, weights, alpha=decay)
            buffers = [self._buffer(p) for p in weights]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, gradients)
            updates: Any = torch._foreach_add(gradients, buffers, alpha=group["momentum"])
            if not group["orthogonal"]:
                torch._foreach_add_(weights, updates, alpha=-rate)
                continue
            for weight, update in zip(weights, updates, strict=True):
                matrix = update.flatten(1)
                scale = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
                weight.mul_(1 - rate * decay).add_(orthogonalised(matrix).view(weight.shape), alpha=-rate * scale)
        return loss

    def _buffer(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonal_weights(network: nn.Module) -> Iterator[Tensor]:
    """What gains from it: filters of full and 1x1 convolutions, but for those that see the image itself.

    Left to SGD are depthwise and grouped filters, which are no matrices, the convolutions with a bias inside
    squeeze-and-excitation, and the classifier.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions[1:]:
        if module.groups == 1 and module.bias is None:
            yield module.weight
