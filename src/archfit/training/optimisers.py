"""What updates the weights, and how fast at which step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archfit.training.depth import rate_factors
from archfit.training.muon import Muon, orthogonal_weights
from archfit.training.recipes import Recipe


def make_optimiser(network: nn.Module, recipe: Recipe, *, beside: nn.Module | None = None) -> torch.optim.Optimizer:
    """The recipe's optimiser over all weights of `network`; biases and batch norms do not decay.

    Args:
        network: Its earlier layers have lower rates where the recipe says so.
        recipe: Names the optimiser and its rates.
        beside: Trained with it, at the full rate.
    """
    rate, decay = recipe.learning_rate, recipe.weight_decay
    modules = [network] if beside is None else [network, beside]
    filters = [weight for one in modules for weight in orthogonal_weights(one)] if recipe.optimiser == "muon" else []
    orthogonal = {id(weight) for weight in filters}
    factors = dict.fromkeys((id(p) for one in modules for p in one.parameters()), 1.0)
    factors |= rate_factors(network, recipe.layer_decay)
    groups: list[dict[str, Any]] = []
    for factor in sorted(set(factors.values()), reverse=True):
        others = [
            p for one in modules for p in one.parameters() if id(p) not in orthogonal and factors[id(p)] == factor
        ]
        groups += [
            {"params": [p for p in others if p.ndim > 1], "lr": rate * factor, "weight_decay": decay},
            {"params": [p for p in others if p.ndim <= 1], "lr": rate * factor, "weight_decay": 0.0},
        ]
    if recipe.optimiser == "muon":
        shrink = recipe.filter_weight_decay
        groups.append(
            {"params": filters, "lr": recipe.filter_learning_rate, "weight_decay": shrink, "orthogonal": True}
        )
        return Muon(groups)
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True, foreach=True)


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """Factor of the peak learning rate at `step` of `steps`, by the recipe's schedule.

    With restarts it follows the schedule once per period, each twice as long as the one before, the first with the
    warm-up.
    """
    first = steps / (2 ** (recipe.restarts + 1) - 1)
    starts = [round(first * (2**period - 1)) for period in range(recipe.restarts + 2)]
    period = min(bisect_right(starts, step) - 1, recipe.restarts)
    start, end = starts[period : period + 2]
    return SCHEDULES[recipe.schedule](step - start, end - start, 0.0 if period else recipe.warmup)


def cosine_with_warmup(step: int, steps: int, warmup: float) -> float:
    """Factor of the peak learning rate at `step` of `steps`: linear from near 0 to 1, then a cosine to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """The same: half a cosine from 1/25 to 1, then half a cosine to 1/10,000 (arXiv:1708.07120, as torch has it)."""
    rising = max(1.0, warmup * steps)
    if step < rising:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / rising))
    return 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {"cosine": cosine_with_warmup, "one-cycle": one_cycle}
