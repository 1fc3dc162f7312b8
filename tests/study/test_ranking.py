from __future__ import annotations

from dataclasses import replace

import pytest
from study_toy import ToySpace, toy_trial

from archfit.cost import Cost
from archfit.study.limits import trials_since_best
from archfit.study.ranking import ALONE, contenders, next_alone, next_promotion, rank
from archfit.study.record import PLAIN

SPACE = ToySpace()


def _worth(accuracy: float, cost: Cost) -> float:
    return accuracy - 0.01 * cost.madds


SIX = [toy_trial(number, 0.5 + 0.05 * number, width=number + 1) for number in range(6)]


def test_the_best_third_goes_on() -> None:
    assert next_promotion(SIX[:2], (3.0,), SPACE, _worth) is None
    assert next_promotion(SIX[:3], (3.0,), SPACE, _worth) == SIX[2]
    assert next_promotion(SIX, (3.0,), SPACE, _worth) == SIX[5]
    asked = [*SIX, toy_trial(6, None, width=6, rung=1, promotes=5, state="running")]
    assert next_promotion(asked, (3.0,), SPACE, _worth) == SIX[4]
    both = [*asked, toy_trial(7, None, width=5, rung=1, promotes=4, state="failed")]
    assert next_promotion(both, (3.0,), SPACE, _worth) is None  # what failed is not tried again
    assert next_promotion([replace(trial, within_budget=False) for trial in SIX], (3.0,), SPACE, _worth) is None


def test_what_is_not_surely_within_the_budget_is_not_counted() -> None:
    trials = [replace(trial, cost=Cost(params=trial.number, madds=0)) for trial in SIX]
    assert next_promotion(trials, (3.0,), SPACE, _worth, lambda cost: cost.params < 3) == trials[2]
    assert next_promotion(trials, (3.0,), SPACE, _worth, lambda cost: cost.params < 2) is None


def test_higher_rungs_go_first() -> None:
    further = [toy_trial(6 + n, 0.7 + 0.01 * n, width=6 - n, rung=1, promotes=5 - n) for n in range(2)]
    assert next_promotion([*SIX, *further], (3.0, 2.0), SPACE, _worth) == further[1]
    assert next_promotion([*SIX, *further], (3.0,), SPACE, _worth) is None


def test_a_rung_that_does_not_fit_gives_way_to_a_lower_one() -> None:
    further = [toy_trial(6 + n, 0.7 + 0.01 * n, width=6 - n, rung=1, promotes=5 - n) for n in range(2)]
    trials = [*SIX, toy_trial(9, 0.9, width=6, depth=3), *further]
    assert next_promotion(trials, (3.0, 2.0), SPACE, _worth, fits=lambda rung: rung < 2) == trials[6]
    assert next_promotion(trials, (3.0, 2.0), SPACE, _worth, fits=lambda rung: False) is None


def test_the_cost_is_no_matter_of_luck() -> None:
    cheap = replace(SIX[0], cost=Cost(params=1, madds=100))
    dear = replace(SIX[1], cost=Cost(params=1, madds=101))

    def madds_alone(accuracy: float, cost: Cost) -> float:
        return -float(cost.madds)

    assert rank([dear, cheap], SPACE, madds_alone) == [cheap, dear]


def test_what_was_trained_longest_is_ranked_first_and_once() -> None:
    further = [toy_trial(6, 0.6, width=6, rung=1, promotes=5), toy_trial(7, 0.7, width=4, rung=1, promotes=3)]
    assert [t.number for t in rank([*SIX, *further], SPACE, _worth)] == [7, 6, 4, 2, 1, 0]
    gone = [*SIX, replace(further[0], state="failed", reward=None)]
    assert rank(gone, SPACE, _worth)[0].number == 5  # what failed later is what it was


def test_patience_does_not_count_them() -> None:
    assert trials_since_best([*SIX, toy_trial(6, 0.9, width=6, rung=1, promotes=5)]) == 0
    assert trials_since_best([SIX[5], SIX[0], toy_trial(6, 0.1, width=6, rung=1, promotes=5)]) == 1


def test_only_trained_trials_within_the_budget_are_ranked() -> None:
    trials = [
        toy_trial(0, 0.5, width=1),
        toy_trial(1, 0.9, width=2, within=False),
        toy_trial(2, 0.7, width=4),
        toy_trial(3, 0.8, width=5, state="pruned", within=False),
        toy_trial(4, 0.7, width=4, repeat_of=2),
        toy_trial(6, None, width=6, state="failed", within=None),
        toy_trial(7, 0.6, width=3),
        toy_trial(8, 0.95, width=6, within=None),
    ]
    assert {trial.number for trial in rank(trials, ToySpace(), _worth)} == {0, 2, 7}
    assert rank([], ToySpace(), _worth) == []


def test_a_lucky_reward_does_not_come_first() -> None:
    places = [(width, depth) for width in range(1, 7) for depth in (1, 2, 3)]
    luck = (0.0, 0.04, -0.04, 0.02, -0.03, 0.03, -0.02)
    trials = [
        toy_trial(number, 0.5 + 0.02 * width + luck[number % 7], width=width, depth=depth)
        for number, (width, depth) in enumerate(places)
    ]
    best = max((trial.reward or 0.0, trial.number) for trial in trials)
    trials[0] = toy_trial(0, best[0] + 0.001)  # its likes have half a tenth to a tenth less
    assert rank(trials, ToySpace(), _worth)[0].number == best[1]


def test_the_most_accurate_is_among_the_first_two_contenders() -> None:
    # By 0.01 less a multiply-add: 0.5, 0.54, 0.58, 0.62, 0.66, 0.20.
    trials = [replace(trial, cost=Cost(params=1, madds=trial.number)) for trial in SIX]
    trials[5] = replace(trials[5], cost=Cost(params=1, madds=55))
    assert [t.number for t in rank(trials, SPACE, _worth)] == [4, 3, 2, 1, 0, 5]
    assert [t.number for t in contenders(trials, SPACE, _worth, 100)] == [4, 5, 3, 2, 1, 0]
    assert contenders([], SPACE, _worth, 100) == []


def test_the_best_plain_network_goes_on_with_the_first_third() -> None:
    trials = [replace(trial, origin=PLAIN) if trial.number < 2 else trial for trial in SIX]
    assert next_promotion(trials[:2], (3.0,), SPACE, _worth) is None
    asked = [*trials, *(toy_trial(6 + n, None, width=6 - n, rung=1, promotes=5 - n, state="running") for n in (0, 1))]
    assert next_promotion(asked, (3.0,), SPACE, _worth) == trials[1]
    gone = [*asked, toy_trial(8, None, width=2, rung=1, promotes=1, state="failed")]
    assert next_promotion(gone, (3.0,), SPACE, _worth) is None  # the worse plain one does not take its place


@pytest.mark.parametrize(("images", "order"), [(10, [5, 0, 4, 3, 2, 1]), (10_000, [5, 4, 3, 2, 1, 0])])
def test_the_best_plain_network_is_a_contender_unless_it_is_surely_behind(images: int, order: list[int]) -> None:
    # 0.50 against 0.75: two standard errors of the best are 0.27 of ten images, 0.009 of ten thousand.
    trials = [replace(SIX[0], origin=PLAIN), *SIX[1:]]
    assert [t.number for t in contenders(trials, SPACE, _worth, images)] == order


def test_of_shared_weights_the_best_derived_and_every_plain_network_are_trained_alone() -> None:
    trials = [replace(trial, origin=PLAIN) if trial.number in (0, 1) else trial for trial in SIX]
    trials += [toy_trial(6, 0.95, width=6, depth=2), toy_trial(7, 0.99, width=6, depth=3, within=False)]
    order = []
    while (due := next_alone(trials, SPACE, _worth, lambda cost: True)) is not None:
        order.append(due.number)
        trials.append(toy_trial(len(trials), None, rung=1, promotes=due.number, state="failed"))
    assert ALONE == 4
    assert order == [6, 5, 4, 3, 1, 0]
    assert next_alone(SIX, SPACE, _worth, lambda cost: False) is None


def test_a_plain_network_that_was_trained_less_long_is_behind() -> None:
    further = toy_trial(6, 0.75, width=6, rung=1, promotes=5)
    trials = [replace(SIX[0], origin=PLAIN), *SIX[1:], further]
    assert [t.number for t in contenders(trials, SPACE, _worth, 10)] == [6, 4, 3, 2, 1, 0]
