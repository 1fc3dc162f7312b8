"""REINFORCE with a moving baseline, as ENAS trains its controller (arXiv:1802.03268, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archfit.samplers.policy import Policy


def moving_baseline(baseline: float | None, rewards: Tensor, *, decay: float = 0.99) -> float:
    """decay * baseline + (1 - decay) * mean reward; the mean itself while there is no baseline yet.

    Args:
        baseline: After the batches before, or None.
        rewards: Of this batch, `(batch,)`.
        decay: 1 never moves, 0 forgets everything.
    """
    mean = rewards.double().mean().item()
    return mean if baseline is None else decay * baseline + (1 - decay) * mean


def reinforce_loss(log_prob: Tensor, advantage: Tensor, entropy: Tensor, *, entropy_weight: float = 1e-4) -> Tensor:
    """Minus the policy-gradient objective, to be minimised (Williams 1992; entropy bonus as in ENAS).

    Args:
        log_prob: Of each sampled architecture, `(batch,)`, with gradient.
        advantage: Reward minus baseline, `(batch,)`, no gradient.
        entropy: Of the policy along each architecture, `(batch,)`, with gradient.
        entropy_weight: Reward of one nat of entropy.

    Returns:
        Scalar mean over the batch.
    """
    return -(log_prob * advantage + entropy_weight * entropy).mean()


@dataclass(frozen=True)
class ReinforceSettings:
    """How `Reinforce` learns; the defaults are ENAS's for cells.

    Attributes:
        lr: Of Adam.
        baseline_decay: Of the moving baseline.
        entropy_weight: Reward of one nat.
        normalise: Divide the advantages of a batch by their root mean square, so that the scale of the rewards does
            not matter beside the entropy weight.
        max_norm: Gradients are clipped to this global norm; None leaves them.
    """

    lr: float = 3.5e-3
    baseline_decay: float = 0.99
    entropy_weight: float = 1e-4
    normalise: bool = False
    max_norm: float | None = None


class Reinforce:
    """Trains a policy, one optimiser step per batch.

    Attributes:
        policy: Changed in place.
        baseline: What rewards are compared with; None before the first batch.
    """

    def __init__(self, policy: Policy, settings: ReinforceSettings | None = None) -> None:
        self.policy = policy
        self.settings = settings or ReinforceSettings()
        self.baseline: float | None = None
        self.optimiser = torch.optim.Adam(policy.parameters(), lr=self.settings.lr)

    def update(
        self,
        indices: Tensor,
        rewards: Tensor,
        old_log_prob: Tensor | None = None,
        *,
        penalty: Callable[[Tensor], Tensor] | None = None,
    ) -> float:
        """Learns from one batch.

        Args:
            indices: `(batch, choices)`.
            rewards: `(batch,)`.
            old_log_prob: Not used: the gradient is taken at the current policy. Here so that the rules can be swapped.
            penalty: Gets `Policy.log_probs` of the batch, gives a scalar added to the loss (a skip-rate penalty).

        Returns:
            The loss before the step.
        """
        settings = self.settings
        self.baseline = moving_baseline(self.baseline, rewards, decay=settings.baseline_decay)
        advantage = advantages(rewards, self.baseline, normalise=settings.normalise)
        log_probs = self.policy.log_probs(indices)
        log_prob, entropy = self.policy.summed(log_probs, indices)
        loss = reinforce_loss(log_prob, advantage, entropy, entropy_weight=settings.entropy_weight)
        if penalty is not None:
            loss = loss + penalty(log_probs)
        descend(self.optimiser, loss, self.policy, settings.max_norm)
        return loss.item()


def advantages(rewards: Tensor, baseline: float, *, normalise: bool) -> Tensor:
    """Reward minus baseline, `(batch,)` float32.

    Args:
        rewards: `(batch,)`.
        baseline: What they are compared with.
        normalise: Divide by the root mean square of the batch; differences of less than 1e-4 are not blown up.
    """
    # In double precision: where all rewards are equal, Adam would turn float32's rounding into a full step.
    advantage = rewards.double() - baseline
    if normalise:
        advantage = advantage / advantage.square().mean().sqrt().clamp(min=1e-4)
    return advantage.float()


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, policy: Policy, max_norm: float | None) -> None:
    """One optimiser step. The norm is that of the gradients of this loss alone."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
    optimiser.step()
