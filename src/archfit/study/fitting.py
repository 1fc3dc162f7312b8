"""Scaling a space to a budget before it is searched."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archfit.architecture import Architecture, SearchSpace, Task, from_indices, random_architecture, to_indices
from archfit.cost import Budget, Cost, count_madds
from archfit.errors import BudgetError

SAMPLES = 32
ABOUT_HALF = 0.4
"""Share within budget that is enough: of 32 samples one half has a standard error of 0.09."""
_FEWEST = 3


@dataclass(frozen=True)
class Fitted:
    """A space and how its random members stand to the budget.

    Attributes:
        space: As it will be searched.
        share: Of the sampled architectures that hold the budget, in [0, 1].
        costs: Of the sampled architectures; latency is None where another cost was far past its bound.
        note: What was scaled down, or None.
    """

    space: SearchSpace
    share: float
    costs: tuple[Cost, ...]
    note: str | None


def fit_space(
    space: SearchSpace,
    task: Task,
    budget: Budget,
    measure: Callable[[SearchSpace, Architecture], Cost],
    *,
    scale: bool,
    seed: int,
    seconds: float = math.inf,
    trainable: Callable[[SearchSpace], bool] = lambda _: True,
    on_sample: Callable[[str, int, int], None] = lambda *_: None,
) -> Fitted:
    """Makes the space smaller, by its own `smaller()`, until about half of its random members hold the budget.

    And until it can be trained, which is asked where the budget is held.

    The steps are bisected; a step is settled by fewer samples where the first ones leave no doubt, or time is short.

    Args:
        space: At its full size.
        task: Of the networks.
        budget: To hold; without any bound the space stays as it is.
        measure: Cost of an architecture of a space.
        scale: False keeps the space and only samples it.
        seed: Of the samples.
        seconds: After which a step is settled by three samples.
        trainable: Whether there is time to train a space's networks.
        on_sample: Called with the step's settings, samples so far, and samples that hold the budget.

    Raises:
        BudgetError: No sampled member, nor the cheapest found, holds the budget.
    """
    ladder = [space]
    while scale and budget.names() and (smaller := getattr(ladder[-1], "smaller", lambda: None)()) is not None:
        ladder.append(smaller)
    tried: dict[int, Fitted] = {}
    end = time.monotonic() + seconds

    def sampled(step: int) -> Fitted:
        if step not in tried:
            tried[step] = _sample(ladder, step, task, budget, measure, seed, end, on_sample)
        return tried[step]

    def fits(step: int) -> bool:
        nonlocal end
        if sampled(step).share < ABOUT_HALF:
            return False
        start = time.monotonic()
        enough = trainable(ladder[step])
        end += time.monotonic() - start  # which is no sampling
        return enough

    low, high = 0, len(ladder) - 1
    if len(ladder) > 1 and not fits(0):
        low = 1
        while low < high:
            middle = (low + high) // 2
            if fits(middle):
                high = middle
            else:
                low = middle + 1
    else:
        low = 0
    fitted = sampled(low)
    if fitted.share == 0 and budget.names():
        _require_a_member(fitted, task, budget, measure)
    return fitted


def _sample(
    ladder: list[SearchSpace],
    step: int,
    task: Task,
    budget: Budget,
    measure: Callable[[SearchSpace, Architecture], Cost],
    seed: int,
    end: float,
    on_sample: Callable[[str, int, int], None],
) -> Fitted:
    space = ladder[step]
    rng = random.Random(seed)
    label = _difference(ladder[0], space)
    costs: list[Cost] = []
    fits = 0
    worst: list[float] = []
    for count in range(1, SAMPLES + 1):
        cost = measure(space, space.canonical(random_architecture(space, rng), task))
        costs.append(cost)
        fits += fits_within(budget, cost)
        worst.append(budget.worst_ratio(cost))
        on_sample(label, count, fits)
        hurried = count >= _FEWEST and time.monotonic() > end
        if hurried or settled(fits, count) or (budget.names() and far_off(worst)):
            break
    return Fitted(space, fits / len(costs), tuple(costs), label if step else None)


def fits_within(budget: Budget, cost: Cost) -> bool:
    """Whether a cost holds the budget; one whose latency was not measured, as another bound was far off, does not."""
    return all(name in budget.ratios(cost) for name in budget.names()) and budget.holds(cost)


def settled(fits: int, count: int) -> bool:
    """Whether `fits` of `count` samples leave little doubt on which side of one half the share lies.

    Five of five would happen by chance once in 2^5 = 32 times at a share of one half; after twelve, three quarters
    (9 of 12) about once in 14 times.
    """
    if count >= 12:
        return abs(fits / count - 0.5) >= 0.25
    return count >= 5 and fits in (0, count)


def far_off(worst: Sequence[float]) -> bool:
    """Whether the first three samples are all far past the budget, or all far within it.

    Args:
        worst: Of each sample, the largest ratio of a cost to its bound.
    """
    return len(worst) >= _FEWEST and (min(worst) > 1.5 or max(worst) < 0.6)


def _difference(full: SearchSpace, scaled: SearchSpace) -> str:
    return ", ".join(
        f"{name} {before} -> {after}" for name, before, after in _changes(full.settings(), scaled.settings())
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            yield from _changes(old, value)
        elif old != value:
            yield name, old, value


def cheapest(space: SearchSpace, task: Task) -> Architecture:
    """An architecture with few multiply-adds: the best option of each choice in turn, the others held."""
    indices = [0] * len(space.choices)

    def madds(candidate: list[int]) -> int:
        architecture = space.canonical(from_indices(space, candidate), task)
        return count_madds(space.build(architecture, task), task)

    for position, choice in enumerate(space.choices):
        indices = min(
            ([*indices[:position], option, *indices[position + 1 :]] for option in range(len(choice.options))),
            key=madds,
        )
    architecture = space.canonical(from_indices(space, indices), task)
    to_indices(space, architecture)
    return architecture


def _require_a_member(
    fitted: Fitted, task: Task, budget: Budget, measure: Callable[[SearchSpace, Architecture], Cost]
) -> None:
    cost = measure(fitted.space, cheapest(fitted.space, task))
    ratios = budget.ratios(cost)
    if all(ratio <= 1 for ratio in ratios.values()) and set(ratios) == set(budget.names()):
        return
    smallest = []
    for name in budget.names():
        known = [r[name] for r in (budget.ratios(c) for c in (*fitted.costs, cost)) if name in r]
        if known and min(known) > 1:
            smallest.append(f"{name} {_amount(name, min(known), budget)}")
    found = " and ".join(smallest) or "each bound was met alone, but no network met all of them"
    raise BudgetError(
        f"no network of space {fitted.space.name!r} meets the budget ({budget}) at {task.image_size}x{task.image_size} "
        f"pixels; the smallest cost found is {found}; raise the budget or lower --image-size"
    )


def _amount(name: str, ratio: float, budget: Budget) -> str:
    bounds = {
        "latency": lambda: f"{ratio * (budget.latency_ms or 0):.3g} ms",
        "memory": lambda: f"{ratio * (budget.memory_bytes or 0) / 1e6:.3g} MB",
        "params": lambda: f"{ratio * (budget.params or 0):.0f} parameters",
        "madds": lambda: f"{ratio * (budget.madds or 0):.0f} MAdds",
    }
    return bounds[name]()
