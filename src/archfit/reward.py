"""Rewards: one number from accuracy and cost.

All take the accuracy in [0, 1] and the ratios of `Budget.ratios` (cost over bound; 1 is exactly at the budget), and
give a float, more is better. Any function of that form can be passed to a search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from archfit.errors import unknown_name

if TYPE_CHECKING:
    from archfit.cost import Budget, Cost

Reward = Callable[[float, Mapping[str, float]], float]


def worth(reward: Reward, budget: Budget, accuracy: float, cost: Cost) -> float:
    """The reward of an accuracy at a cost."""
    return float(reward(accuracy, budget.ratios(cost)))


def absolute(accuracy: float, ratios: Mapping[str, float], *, b: float = -0.10) -> float:
    """accuracy + b * |latency / target - 1| (TuNAS, arXiv:2008.06120, eq. 3).

    Bounds beside latency cost only when passed: b * max(0, ratio - 1) each.
    """
    reward = accuracy
    for name, ratio in ratios.items():
        reward += b * (abs(ratio - 1) if name == "latency" else max(0.0, ratio - 1))
    return reward


def soft(accuracy: float, ratios: Mapping[str, float], *, w: float = -0.07) -> float:
    """accuracy * (latency / target)^w on both sides of the target (MnasNet, arXiv:1807.11626, eq. 2-3).

    Bounds beside latency multiply by ratio^w as well.
    """
    reward = accuracy
    for ratio in ratios.values():
        reward *= ratio**w
    return reward


def hard(accuracy: float, ratios: Mapping[str, float]) -> float:
    """accuracy within the target, accuracy * target / latency beyond it (MnasNet, eq. 2-3 with w = 0 and -1)."""
    reward = accuracy
    for ratio in ratios.values():
        reward *= 1.0 if ratio <= 1 else 1 / ratio
    return reward


REWARDS: dict[str, Reward] = {"absolute": absolute, "soft": soft, "hard": hard}


def get_reward(name: str) -> Reward:
    """The reward of that name. Raises `InputError` with the nearest name."""
    if name not in REWARDS:
        raise unknown_name("reward", name, REWARDS)
    return REWARDS[name]
