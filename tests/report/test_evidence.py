from __future__ import annotations

import pytest

from archfit.report.evidence import pareto_front, search_against_random, superiority, superiority_interval
from archfit.study.record import FIRST, PLAIN


def test_pareto_front_keeps_points_that_no_cheaper_one_reaches():
    # 1 costs least; 3 costs more and is better; 0 costs more than 3 and is worse; 2 equals 3; 4 is best of all.
    points = [(3.0, 0.6), (1.0, 0.5), (2.0, 0.7), (2.0, 0.7), (5.0, 0.8)]
    assert pareto_front(points) == (1, 2, 4)


def test_pareto_front_takes_the_more_accurate_of_equal_cost():
    assert pareto_front([(1.0, 0.5), (1.0, 0.6)]) == (1,)
    assert pareto_front([]) == ()


def test_superiority_counts_ties_half():
    # Pairs: 3>1, 3>2, 3>3 tie, 2>1, 2>2 tie, 2<3: 3 wins + 2 ties / 2 = 4 of 6.
    assert superiority([3, 2], [1, 2, 3]) == pytest.approx(4 / 6)


def test_superiority_interval_solves_its_equation():
    # At the lower edge t: (theta - t)^2 = 1.96^2 V(t), V with N* = (10 + 6)/2 - 1 = 7.
    theta = 0.75
    for edge in superiority_interval(theta, 10, 6):
        variance = edge * (1 - edge) * (1 + 7 * (1 - edge) / (2 - edge) + 7 * edge / (1 + edge)) / 60
        assert (theta - edge) ** 2 == pytest.approx(1.96**2 * variance, rel=1e-6)
    low, high = superiority_interval(theta, 10, 6)
    assert low < theta < high


def test_superiority_interval_keeps_its_width_at_the_ends():
    low, high = superiority_interval(1.0, 10, 10)
    assert high == 1.0
    assert 0.5 < low < 0.95
    # Swapping the groups mirrors the interval.
    assert superiority_interval(0.0, 10, 10) == pytest.approx((0.0, 1 - low))


def test_search_that_beats_chance(trial_of):
    # Random 0.1 ... 0.5, later 0.6 ... 1.0: every later one wins.
    random = [trial_of(i, 0.1 * (i + 1), origin="random") for i in range(5)]
    later = [trial_of(5 + i, 0.6 + 0.1 * i) for i in range(5)]
    evidence = search_against_random(random + later)
    assert evidence.random.mean == pytest.approx(0.3)
    assert evidence.random.best == pytest.approx(0.5)
    assert evidence.later.mean == pytest.approx(0.8)
    assert evidence.probability == 1.0
    assert evidence.sentence.startswith("The search did better than drawing at random")


def test_search_that_equals_chance_is_not_praised(trial_of):
    random = [trial_of(i, 0.1 * i, origin="random") for i in range(6)]
    later = [trial_of(6 + i, 0.1 * i) for i in range(6)]
    evidence = search_against_random(random + later)
    assert evidence.probability == 0.5
    assert evidence.sentence.startswith("The search cannot be told from drawing at random")


def test_search_worse_than_chance_is_said(trial_of):
    trials = [trial_of(i, 0.9 + 0.01 * i, origin="random") for i in range(8)]
    trials += [trial_of(8 + i, 0.1) for i in range(8)]
    assert search_against_random(trials).sentence.startswith("The search did worse")


def test_too_few_trials_are_no_evidence(trial_of):
    trials = [trial_of(i, 0.1, origin="random") for i in range(4)] + [trial_of(4 + i, 0.9) for i in range(9)]
    evidence = search_against_random(trials)
    assert evidence.probability is None
    assert "Too few trials" in evidence.sentence
    assert "4 random and 9 later" in evidence.sentence


def test_all_random_leaves_nothing_to_compare(trial_of):
    trials = [trial_of(i, 0.1, origin="random") for i in range(9)]
    assert search_against_random(trials).sentence.startswith("Nothing was proposed after the first trials")


@pytest.mark.parametrize(("origin", "name"), [(FIRST, "nearest to the trained one"), (PLAIN, "one operation")])
def test_networks_that_were_given_are_no_merit_of_the_search(trial_of, origin, name):
    drawn = [trial_of(i, 0.1, origin="random") for i in range(6)]
    given = [trial_of(6 + i, 0.9, origin=origin) for i in range(6)]
    proposed = [trial_of(12 + i, 0.95, origin="evolution") for i in range(6)]
    assert search_against_random(drawn + given).later.trials == 0
    sentence = search_against_random(drawn + given + proposed).sentence
    assert name in sentence
    assert "given at the start, came to a reward of" in sentence


def test_pruned_and_repeated_trials_are_no_rewards(trials):
    # 12 random of which 2 (3 and 8) are pruned; 28 later of which 1 pruned (20), 1 failed (25), 1 repeat (36).
    evidence = search_against_random(trials)
    assert (evidence.random.trials, evidence.random.pruned) == (10, 2)
    assert (evidence.later.trials, evidence.later.pruned) == (25, 1)
