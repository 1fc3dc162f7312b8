from __future__ import annotations

import pytest
from torch import nn

from archfit.training import Recipe
from archfit.training.optimisers import cosine_with_warmup, make_optimiser, one_cycle, rate_at


def test_cosine_without_warmup_by_hand() -> None:
    # 0.5 * (1 + cos(pi * step / 4)): cos 0, 45, 90, 135, 180 degrees.
    expected = [1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0]
    assert [cosine_with_warmup(step, 4, 0.0) for step in range(5)] == pytest.approx(expected)


def test_warmup_by_hand() -> None:
    # A quarter of 12 steps rises: 1/4, 2/4, 3/4, then 1 at step 3; half of the cosine's 9 steps later it is at 1/2.
    rates = [cosine_with_warmup(step, 12, 0.25) for step in range(13)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[3 + 3] == pytest.approx(0.5 * (1 + 0.5))  # cos 60 degrees
    assert rates[3 + 6] == pytest.approx(0.5 * (1 - 0.5))  # cos 120 degrees
    assert rates[12] == pytest.approx(0.0)
    assert max(rates) == 1.0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_schedules_stay_in_range(steps: int) -> None:
    assert all(0 <= cosine_with_warmup(step, steps, 0.1) <= 1 for step in range(steps + 2))
    assert cosine_with_warmup(0, steps, 0.1) > 0  # the only step must learn


def test_one_cycle_by_hand() -> None:
    # Up over a quarter of 8 steps from 1/25: half a cosine, so half way at step 1; down over 6 to 1/10,000.
    rates = [one_cycle(step, 8, 0.25) for step in range(9)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[1] == pytest.approx((0.04 + 1) / 2)
    assert rates[2] == pytest.approx(1.0)
    assert rates[5] == pytest.approx((1 + 1e-4) / 2)
    assert rates[8] == pytest.approx(1e-4)


def test_a_cosine_that_restarts_by_hand() -> None:
    # 14 steps in periods of 2, 4 and 8; half of the first is the warm-up.
    recipe = Recipe(1, warmup=0.5, restarts=2)
    rates = [rate_at(recipe, step, 14) for step in range(15)]
    assert rates[:2] == pytest.approx([0.5, 1.0])
    assert rates[2:6] == pytest.approx([1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    assert rates[6] == 1.0
    assert rates[6 + 4] == pytest.approx(0.5)
    assert rates[14] == pytest.approx(0.0)


def test_without_restarts_the_schedule_is_the_plain_one() -> None:
    recipe = Recipe(1, warmup=0.25)
    assert [rate_at(recipe, step, 12) for step in range(13)] == [cosine_with_warmup(s, 12, 0.25) for s in range(13)]


def test_lower_rates_for_earlier_layers() -> None:
    network = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(4)), nn.Flatten(), nn.Linear(4, 2))
    optimiser = make_optimiser(network, Recipe(1, optimiser="adamw", learning_rate=0.8, layer_decay=0.5))
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    found = [rates[id(p)] for p in network.parameters()]
    assert found == pytest.approx([0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
