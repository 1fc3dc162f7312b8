"""What keeps a controller from connecting everything with everything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archfit.errors import InputError


def skip_penalty(
    log_probs: Tensor, positions: Sequence[Sequence[int]], *, rate: float = 0.4, weight: float = 0.8
) -> Tensor:
    """Divergence of the policy's skip probabilities from a prior rate (ENAS, arXiv:1802.03268, section 3.2).

    weight * mean over layers of the sum over the layer's bits of KL(p || rate), where p is the probability of a bit:
    KL = p log(p / rate) + (1 - p) log((1 - p) / (1 - rate)). Sum and mean are those of the authors' code; that takes
    sigmoid(q) for p where it samples by sigmoid(2 q), here p is what is sampled.

    Args:
        log_probs: As of `Policy.log_probs`, `(n, choices, widest choice)`.
        positions: Of the choices that are skip bits, one row per layer; option 0 is no skip, option 1 a skip.
        rate: Prior probability of a skip, between 0 and 1.
        weight: In the controller's loss.

    Returns:
        Scalar mean over the batch, at least 0.

    Raises:
        InputError: There is no skip bit, or the rate is not between 0 and 1.
    """
    bits = [position for row in positions for position in row]
    if not bits:
        raise InputError(f"positions is {positions}; a skip penalty needs the position of at least one skip bit")
    if not 0 < rate < 1:
        raise InputError(f"rate is {rate}; it must be between 0 and 1, as 0.4")
    chosen = log_probs[:, bits, :2]
    prior = torch.tensor([1 - rate, rate], dtype=chosen.dtype, device=chosen.device).log()
    divergence = (chosen.exp() * (chosen - prior)).sum((1, 2)).mean()
    return weight * divergence / len(positions)
