from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from study_toy import TASK, ToySpace, toy_params
from study_toy import measure as measure_toy
from torch import nn

from archfit.architecture import Architecture, Choice, SearchSpace, Task
from archfit.cost import Budget, Cost, Latency
from archfit.errors import BudgetError
from archfit.study.fitting import ABOUT_HALF, Fitted, cheapest, fit_space, settled


@dataclass(frozen=True)
class Ladder:
    """Each of its 9 steps down costs 10 parameters less than the one before: 100, 90, ..., 20."""

    level: int = 0

    @property
    def name(self) -> str:
        return "ladder"

    @property
    def choices(self) -> tuple[Choice, ...]:
        return (Choice("coin", (0, 1)),)

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        return architecture

    def settings(self) -> dict[str, Any]:
        return {"level": self.level, "fixed": True}

    def smaller(self) -> Ladder | None:
        return Ladder(self.level + 1) if self.level < 8 else None


def _level_cost(space: SearchSpace, architecture: Architecture) -> Cost:
    assert isinstance(space, Ladder)
    return Cost(params=100 - 10 * space.level, madds=1)


def _fit(
    space: SearchSpace,
    budget: Budget,
    measure: Callable[[SearchSpace, Architecture], Cost] = lambda space, architecture: measure_toy(architecture),
    *,
    scale: bool = True,
    seed: int = 0,
    seconds: float = math.inf,
    trainable: Callable[[SearchSpace], bool] = lambda _: True,
) -> tuple[Fitted, list[tuple[str, int, int]]]:
    told: list[tuple[str, int, int]] = []
    fitted = fit_space(
        space,
        TASK,
        budget,
        measure,
        scale=scale,
        seed=seed,
        seconds=seconds,
        trainable=trainable,
        on_sample=lambda *sample: told.append(sample),
    )
    return fitted, told


@pytest.mark.parametrize(
    ("fits", "count", "expected"),
    [
        (0, 4, False),
        (4, 4, False),
        (0, 5, True),
        (5, 5, True),
        (1, 5, False),
        (4, 5, False),
        (10, 11, False),
        # From twelve on a quarter beside one half is enough: 3/12 and 9/12.
        (3, 12, True),
        (9, 12, True),
        (4, 12, False),
        (8, 12, False),
        (16, 32, False),
        (24, 32, True),
    ],
)
def test_settled(fits: int, count: int, expected: bool) -> None:
    assert settled(fits, count) is expected


@pytest.mark.parametrize("bound", range(20, 101, 10))
def test_the_first_step_that_fits_is_found(bound: int) -> None:
    fitted, told = _fit(Ladder(), Budget(params=bound), _level_cost)
    level = (100 - bound) // 10
    assert fitted.space == Ladder(level)
    assert fitted.share == 1.0
    assert [cost.params for cost in fitted.costs] == [bound] * 5
    assert fitted.note == (f"level 0 -> {level}" if level else None)
    # Step 0, then at most 3 of the other 8 decide, and one more is sampled where none of them was the answer.
    assert len({label for label, _, _ in told}) <= 5
    assert all(count <= 5 for _, count, _ in told)


@pytest.mark.parametrize(("level", "found"), [(0, 3), (3, 3), (4, 4), (7, 7), (8, 8), (9, 8)])
def test_and_the_first_that_can_be_trained(level: int, found: int) -> None:
    asked: list[int] = []

    def trainable(space: SearchSpace) -> bool:
        assert isinstance(space, Ladder)
        asked.append(space.level)
        return space.level >= level

    fitted, _ = _fit(Ladder(), Budget(params=70), _level_cost, trainable=trainable)
    assert fitted.space == Ladder(found)
    assert min(asked) >= 3  # what does not hold the budget need not be trained


def test_without_scaling_the_space_is_only_sampled() -> None:
    fitted, told = _fit(Ladder(), Budget(params=100), _level_cost, scale=False)
    assert (fitted.space, fitted.share, fitted.note) == (Ladder(), 1.0, None)
    assert told == [("", count, count) for count in range(1, 6)]


def test_without_a_budget_everything_fits() -> None:
    fitted, _ = _fit(Ladder(), Budget(), _level_cost)
    assert (fitted.space, fitted.share, len(fitted.costs)) == (Ladder(), 1.0, 5)


def test_where_time_is_short_three_samples_settle_a_step() -> None:
    # Half of the members hold it, so without the hurry all 32 would be drawn.
    at_leisure, _ = _fit(ToySpace(), Budget(params=toy_params(2, 2)), scale=False, seed=1)
    hurried, told = _fit(ToySpace(), Budget(params=toy_params(2, 2)), scale=False, seed=1, seconds=0.0)
    assert hurried.costs == at_leisure.costs[:3]
    assert len(at_leisure.costs) > 3
    assert [count for _, count, _ in told] == [1, 2, 3]


def test_half_of_the_scaled_space_fits() -> None:
    fitted, _ = _fit(ToySpace(), Budget(params=toy_params(2, 2)), seed=1)
    again, _ = _fit(ToySpace(), Budget(params=toy_params(2, 2)), seed=1)
    assert fitted == again  # a function of the seed
    assert (
        ABOUT_HALF <= fitted.share == sum(cost.params <= toy_params(2, 2) for cost in fitted.costs) / len(fitted.costs)
    )
    space = fitted.space
    assert isinstance(space, ToySpace)
    assert 2 <= len(space.widths) < 6
    assert fitted.note == f"widths [1, 2, 3, 4, 5, 6] -> {list(space.widths)}"


def test_an_unknown_cost_does_not_fit() -> None:
    def far(space: SearchSpace, architecture: Architecture) -> Cost:
        assert isinstance(space, Ladder)
        known = Latency(0.5, 0.5, 0.5, 0.0, 1, "local", "onnxruntime") if space.level >= 3 else None
        return Cost(params=10, madds=1, latency=known)

    fitted, _ = _fit(Ladder(), Budget(latency_ms=1.0, params=20), far)
    assert fitted.space == Ladder(3)


def test_the_cheapest_architecture() -> None:
    found = cheapest(ToySpace(widths=(5, 2, 3), depths=(3, 1)), TASK)
    assert dict(found.choices) == {"width": 2, "spare": "no", "depth": 1}


def test_a_space_with_one_fitting_member_may_be_searched() -> None:
    # 1 of 18 members has 9 parameters; the first three samples of this seed miss it by half.
    fitted, told = _fit(ToySpace(), Budget(params=9), scale=False, seed=0)
    assert (fitted.share, len(told)) == (0.0, 3)
    assert fitted.space == ToySpace()


@pytest.mark.parametrize("scale", [True, False])
def test_no_network_fits(scale: bool) -> None:
    # The smallest has 5 * 1 + 2 * 1 + 2 = 9 parameters.
    with pytest.raises(BudgetError) as caught:
        _fit(ToySpace(), Budget(params=8), scale=scale)
    assert str(caught.value) == (
        "no network of space 'toy' meets the budget (8 params) at 2x2 pixels; the smallest cost found is "
        "params 9 parameters; raise the budget or lower --image-size"
    )


def test_each_missed_bound_is_named() -> None:
    def fixed(space: SearchSpace, architecture: Architecture) -> Cost:
        latency = Latency(0.5, 0.4, 0.6, 0.0, 1, "local", "onnxruntime")
        return Cost(params=10, madds=2000, memory_bytes=3_000_000, latency=latency)

    budget = Budget(latency_ms=0.25, memory_bytes=1_000_000, params=20, madds=1000)
    with pytest.raises(BudgetError, match=r"found is latency 0\.5 ms and memory 3 MB and madds 2000 MAdds; raise"):
        _fit(Ladder(), budget, fixed)


def test_bounds_that_exclude_each_other() -> None:
    def either(space: SearchSpace, architecture: Architecture) -> Cost:
        return Cost(params=10, madds=200) if architecture["coin"] else Cost(params=20, madds=100)

    with pytest.raises(BudgetError, match="each bound was met alone, but no network met all of them"):
        _fit(Ladder(), Budget(params=10, madds=100), either)
