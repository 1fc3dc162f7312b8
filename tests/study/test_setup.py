from __future__ import annotations

from study_toy import TASK, ToySpace

from archfit.cost import Budget, Cost
from archfit.evaluators import ProxyTraining
from archfit.reward import absolute
from archfit.study.limits import Limits
from archfit.study.setup import SearchSetup, over_limit, trial_seed


def test_each_trial_has_its_seed() -> None:
    # 3 * 1000003 + 2 * 7919 + 1
    assert trial_seed(3, 2) == 3_015_848
    assert len({trial_seed(seed, number) for seed in range(20) for number in range(200)}) == 4000
    assert 0 <= trial_seed(2**40, 10) < 2**31


def test_what_a_rung_adds() -> None:
    # Rungs of 1, 3 and 12 epochs: each network is trained for 1, then 2, then 9 more.
    setup = SearchSetup(
        space=ToySpace(),
        task=TASK,
        budget=Budget(),
        reward=absolute,
        chance=0.1,
        limits=Limits(trials=1),
        prune_above=2.0,
        seed=0,
        evaluator=ProxyTraining(1.0),
        factors=(3.0, 4.0),
    )
    assert [setup.added(rung) for rung in range(3)] == [1, 2, 9]


def test_over_the_limit() -> None:
    budget = Budget(params=100, madds=1000)
    assert over_limit(budget, Cost(params=150, madds=10), 1.5) is None
    assert over_limit(budget, Cost(params=151, madds=10), 1.5) == "params is 1.51 times the budget (pruned above 1.5)"
    assert over_limit(budget, Cost(params=10, madds=2000), 1.5) == "madds is 2.00 times the budget (pruned above 1.5)"
