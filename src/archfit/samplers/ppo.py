"""Proximal policy optimisation of the controller, as MnasNet does (arXiv:1807.11626; arXiv:1707.06347)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archfit.samplers.policy import Policy
from archfit.samplers.reinforce import advantages, descend, moving_baseline


def clipped_surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, *, clip: float = 0.2) -> Tensor:
    """PPO's clipped objective as a loss, to be minimised (arXiv:1707.06347, eq. 7).

    Args:
        log_prob: Of each sampled architecture under the current policy, `(batch,)`.
        old_log_prob: The same under the policy that sampled them, no gradient.
        advantage: Reward minus baseline, `(batch,)`.
        clip: Half-width of the trust interval around a ratio of 1.

    Returns:
        Scalar mean over the batch.
    """
    ratio = (log_prob - old_log_prob).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()


@dataclass(frozen=True)
class PpoSettings:
    """How `Ppo` learns; the defaults are what did best on NAS-Bench-Macro (benchmarks/samplers_macro.py).

    Attributes:
        lr: Of Adam.
        epochs: Passes over a batch.
        clip: Half-width of the trust interval.
        baseline_decay: Of the moving baseline; 0 is the mean of the batch itself.
        entropy_weight: Reward of one nat.
        normalise: Divide the advantages of a batch by their root mean square.
        max_norm: Gradients are clipped to this global norm; None leaves them.
    """

    lr: float = 8e-3
    epochs: int = 3
    clip: float = 0.2
    baseline_decay: float = 0.0
    entropy_weight: float = 1e-4
    normalise: bool = True
    max_norm: float | None = None


class Ppo:
    """Trains a policy, a few optimiser steps per batch.

    Attributes:
        policy: Changed in place.
        baseline: What rewards are compared with; None before the first batch.
    """

    def __init__(self, policy: Policy, settings: PpoSettings | None = None) -> None:
        self.policy = policy
        self.settings = settings or PpoSettings()
        self.baseline: float | None = None
        self.optimiser = torch.optim.Adam(policy.parameters(), lr=self.settings.lr)

    def update(self, indices: Tensor, rewards: Tensor, old_log_prob: Tensor | None = None) -> float:
        """Learns from one batch.

        Args:
            indices: `(batch, choices)`.
            rewards: `(batch,)`.
            old_log_prob: `(batch,)` when they were sampled; NaN, or None for all, where that is not known: the
                current policy's own is then used.

        Returns:
            The loss before the last step.
        """
        settings = self.settings
        self.baseline = moving_baseline(self.baseline, rewards, decay=settings.baseline_decay)
        advantage = advantages(rewards, self.baseline, normalise=settings.normalise)
        old = old_log_prob
        for _ in range(settings.epochs):
            log_prob, entropy = self.policy.evaluate(indices)
            if old is None or old.isnan().any():  # in the first pass alone
                own = log_prob.detach()
                old = own if old is None else torch.where(old.isnan(), own, old)
            loss = clipped_surrogate(log_prob, old, advantage, clip=settings.clip)
            loss = loss - settings.entropy_weight * entropy.mean()
            descend(self.optimiser, loss, self.policy, settings.max_norm)
        return loss.item()
