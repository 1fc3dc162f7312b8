from __future__ import annotations

import math

import pytest

from archfit.cost import Budget, Cost
from archfit.errors import InputError
from archfit.reward import REWARDS, absolute, get_reward, hard, soft


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({}, 0.9),
        ({"latency": 1.0}, 0.9),
        ({"latency": 1.5}, 0.85),  # 0.9 - 0.1 * 0.5
        ({"latency": 0.5}, 0.85),  # too fast costs as much
        ({"latency": 0.0}, 0.8),
        ({"memory": 0.5}, 0.9),  # beside latency, being within is free
        ({"memory": 3.0}, 0.7),  # 0.9 - 0.1 * 2
        ({"latency": 0.8, "params": 1.5, "madds": 0.2}, 0.83),  # 0.9 - 0.02 - 0.05 - 0
        ({"latency": 2.0, "memory": 2.0, "params": 2.0, "madds": 2.0}, 0.5),  # 0.9 - 4 * 0.1
        ({"latency": 12.0}, -0.2),  # 0.9 - 0.1 * 11
    ],
)
def test_absolute(ratios: dict[str, float], expected: float) -> None:
    assert absolute(0.9, ratios) == pytest.approx(expected)


def test_absolute_takes_another_slope() -> None:
    # 0.9 - 0.4 * 0.25
    assert absolute(0.9, {"latency": 1.25}, b=-0.4) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({}, 0.9),
        ({"latency": 1.0}, 0.9),
        ({"latency": 2.0}, 0.857375),  # 2^-0.07 = e^(-0.07 * 0.693147) = e^-0.0485203 = 0.952638, times 0.9
        ({"latency": 0.5}, 0.944745),  # e^0.0485203 = 1.049717, times 0.9
        ({"latency": 2.0, "memory": 0.5}, 0.9),  # they cancel
        ({"latency": 2.0, "params": 2.0}, 0.816767),  # 0.952638^2 = 0.907520, times 0.9
    ],
)
def test_soft(ratios: dict[str, float], expected: float) -> None:
    assert soft(0.9, ratios) == pytest.approx(expected, abs=2e-6)


def test_softs_exponent_trades_five_percent_for_twice_the_latency() -> None:
    # MnasNet section 3: accuracy a at latency l and 1.05 a at 2 l shall have about the same reward.
    assert soft(1.05 * 0.7, {"latency": 2.0}) == pytest.approx(soft(0.7, {"latency": 1.0}), rel=1e-3)


def test_soft_takes_another_exponent() -> None:
    # 0.8 * 4^-0.5
    assert soft(0.8, {"latency": 4.0}, w=-0.5) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({}, 0.9),
        ({"latency": 0.1}, 0.9),
        ({"latency": 1.0}, 0.9),
        ({"latency": 2.0}, 0.45),
        ({"latency": 0.5, "memory": 3.0}, 0.3),  # 0.9 / 3
        ({"latency": 2.0, "memory": 1.5, "params": 0.1, "madds": 1.0}, 0.3),  # 0.9 / 2 / 1.5
    ],
)
def test_hard(ratios: dict[str, float], expected: float) -> None:
    assert hard(0.9, ratios) == pytest.approx(expected)


def test_why_absolute_is_the_default() -> None:
    # 90 % at 0.10 ms against 93.5 % at the budget of 0.30 ms.
    fast, full = {"latency": 0.10 / 0.30}, {"latency": 1.0}
    # 0.9 - 0.1 * 2/3 = 0.8333 < 0.935
    assert absolute(0.9, fast) == pytest.approx(0.83333, abs=1e-5)
    assert absolute(0.9, fast) < absolute(0.935, full) == 0.935
    # 0.9 * 3^0.07 = 0.9 * e^0.0769 = 0.97194 > 0.935
    assert soft(0.9, fast) == pytest.approx(0.97194, abs=1e-5)
    assert soft(0.9, fast) > soft(0.935, full)


@pytest.mark.parametrize(("name", "expected"), [("absolute", 0.8), ("soft", 0.9 * 2**-0.07), ("hard", 0.45)])
def test_rewards_of_a_budget(name: str, expected: float) -> None:
    cost = Cost(params=200, madds=10)
    ratios = Budget(params=100).ratios(cost)
    # params is twice its bound: 0.9 - 0.1 * 1; 0.9 * 2^-0.07; 0.9 / 2
    assert math.isclose(get_reward(name)(0.9, ratios), expected)
    assert get_reward(name) is REWARDS[name]


def test_unknown_reward() -> None:
    with pytest.raises(InputError, match=r"unknown reward 'absolut'; did you mean 'absolute'\?"):
        get_reward("absolut")
