from __future__ import annotations

from archfit.cost import Budget, Cost
from archfit.study.setup import over_limit, trial_seed


def test_each_trial_has_its_seed() -> None:
    # 3 * 1000003 + 2 * 7919 + 1
    assert trial_seed(3, 2) == 3_015_848
    assert len({trial_seed(seed, number) for seed in range(20) for number in range(200)}) == 4000
    assert 0 <= trial_seed(2**40, 10) < 2**31


def test_over_the_limit() -> None:
    budget = Budget(params=100, madds=1000)
    assert over_limit(budget, Cost(params=150, madds=10), 1.5) is None
    assert over_limit(budget, Cost(params=151, madds=10), 1.5) == "params is 1.51 times the budget (pruned above 1.5)"
    assert over_limit(budget, Cost(params=10, madds=2000), 1.5) == "madds is 2.00 times the budget (pruned above 1.5)"
