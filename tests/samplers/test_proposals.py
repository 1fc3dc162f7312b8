from __future__ import annotations

import numpy as np

from archfit.samplers import Evolution, Observation, RandomSearch
from archfit.samplers.evolution import tournament
from archfit.samplers.proposals import mutated, nearby, stream, uniform


def never(indices):
    return False


def test_random_search_visits_a_small_space_once_and_then_repeats():
    search, seen = RandomSearch((3, 1, 4, 2), seed=5), set()
    for number in range(24):
        proposal = search.propose([], number, seen.__contains__)
        assert proposal.indices not in seen
        seen.add(proposal.indices)
    assert len(seen) == 3 * 1 * 4 * 2
    assert search.propose([], 24, seen.__contains__).indices in seen


def test_random_search_is_uniform():
    search = RandomSearch((2, 4), seed=0)
    drawn = np.array([search.propose([], number, never).indices for number in range(4000)])
    # standard error of a share of 1/4: sqrt(0.25 * 0.75 / 4000) = 0.0068; four of them
    assert np.abs(np.bincount(drawn[:, 1]) / 4000 - 0.25).max() < 0.028


def test_streams_differ_by_seed_and_number():
    drawn = {int(stream(*path).integers(2**60)) for path in ((0,), (0, 1), (1, 0), (1,), (0, 1, 1))}
    assert len(drawn) == 5


def test_mutation_changes_one_open_choice():
    rng = stream(0)
    for _ in range(50):
        child = mutated((0, 0, 2), (3, 1, 3), rng)
        assert sum(a != b for a, b in zip(child, (0, 0, 2), strict=True)) == 1
        assert child[1] == 0
        assert max(child) <= 2
    assert mutated((0, 0), (1, 1), rng) == (0, 0)


def test_nearby_stays_if_it_can_and_ends_if_it_must():
    assert nearby((1, 1), (3, 3), stream(0), never) == (1, 1)
    taken = {(1, 1)}
    assert nearby((1, 1), (3, 3), stream(0), taken.__contains__) not in taken
    assert len(nearby((1, 1), (3, 3), stream(0), lambda _: True)) == 2


def test_uniform_finds_the_last_free_point():
    assert uniform((10, 10, 10), stream(0), lambda indices: indices != (7, 0, 9)) == (7, 0, 9)


def history(rewards: list[float]) -> list[Observation]:
    return [Observation(number, (number,) * 6, reward) for number, reward in enumerate(rewards)]


def test_tournament_takes_the_best_of_all_when_it_holds_all():
    assert tournament(history([0.1, 0.9, 0.3]), 5, stream(0)).number == 1


def test_a_child_is_one_mutation_from_a_living_parent():
    evolution = Evolution((40,) * 6, seed=0, population=20)
    trials = history([1.0, *[0.1] * 29])  # the best is older than the last 20: dead
    for number in range(30, 60):
        child = evolution.propose(trials, number, never).indices
        inherited = max(set(child), key=child.count)
        assert child.count(inherited) == 5
        assert 10 <= inherited <= 29


def test_parents_are_good_ones():
    evolution = Evolution((40,) * 6, seed=0, population=20, tournament_size=5)
    trials = history([number / 20 for number in range(20)])
    parents = []
    for number in range(20, 220):
        child = evolution.propose(trials, number, never).indices
        parents.append(max(set(child), key=child.count))
    # the expected largest of 5 out of 0..19 without replacement: 5 * 21 / 6 - 1 = 16.5; standard deviation about 3
    assert abs(np.mean(parents) - 16.5) < 4 * 3 / 200**0.5


def test_evolution_avoids_what_was_proposed():
    evolution, seen = Evolution((3, 3, 3), seed=0, population=4), set()
    trials = [Observation(0, (0, 0, 0), 0.5)]
    for number in range(27):
        seen.add(evolution.propose(trials, number, seen.__contains__).indices)
    assert len(seen) == 27
