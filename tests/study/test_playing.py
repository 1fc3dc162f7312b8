from __future__ import annotations

import itertools

import pytest

from archfit.architecture import Choice
from archfit.cost import Budget, Cost
from archfit.evaluators import Table, TableRow
from archfit.reward import absolute
from archfit.study.playing import Game, cost_axis, hypervolume, play

CHOICES = tuple(Choice(f"c{position}", (0, 1, 2)) for position in range(4))


def _row(point: tuple[int, ...]) -> TableRow:
    accuracy = 0.5 + 0.05 * sum(point)
    return TableRow((accuracy - 0.01, accuracy + 0.01), Cost(params=1, madds=100 + 100 * sum(point)))


TABLE = Table("toy", CHOICES, ("madds",), {point: _row(point) for point in itertools.product(range(3), repeat=4)})


def test_a_search_of_the_whole_table_leaves_no_regret() -> None:
    played = play(Game(TABLE, Budget(), absolute, (5, 81)), "random", 0)
    assert played.regret[1] == played.regret_observed[1] == pytest.approx(0.0)
    assert played.regret[0] >= played.regret_seen[0] >= played.regret_seen[1] == pytest.approx(0.0)
    assert played.hypervolume is not None
    assert played.hypervolume[1] == pytest.approx(1.0)
    assert 0 < played.hypervolume[0] < 1
    assert played.ms_per_proposal > 0


def test_the_best_network_seen_may_not_be_the_one_that_is_recommended() -> None:
    # One of the two trainings of (1,) is above both of (0,), which is the better one in the mean.
    rows = {(0,): TableRow((0.7, 0.7), Cost(params=1, madds=1)), (1,): TableRow((0.9, 0.4), Cost(params=1, madds=1))}
    game = Game(Table("toy", (Choice("c", (0, 1)),), (), rows), Budget(), absolute, (2,))
    misled = [played for played in (play(game, "random", seed) for seed in range(8)) if played.regret_observed[0] > 0]
    assert 0 < len(misled) < 8
    assert all(played.regret_seen == (0.0,) for played in misled)
    assert all(played.regret_observed == pytest.approx((0.05,)) for played in misled)


def test_a_budget_moves_the_best() -> None:
    game = Game(TABLE, Budget(madds=500), absolute, (10, 60))
    # 4 steps hold 500 multiply-adds: 0.70. Each further one is worth 0.05 and costs 0.1 * 100 / 500 = 0.02, up to 8.
    assert game.best() == pytest.approx(0.9 - 0.1 * (900 / 500 - 1))
    tight = Game(TABLE, Budget(madds=100), absolute, (10, 60))
    # Each step is worth 0.05 and costs 0.1: none is best.
    assert tight.best() == pytest.approx(0.5)
    assert play(tight, "predictor", 1).regret[1] == pytest.approx(0.0)


def test_a_seed_repeats_and_the_sampler_matters() -> None:
    game = Game(TABLE, Budget(), absolute, (8, 20))
    first, again, other = play(game, "evolution", 3), play(game, "evolution", 3), play(game, "evolution", 4)
    assert (first.regret, first.regret_observed) == (again.regret, again.regret_observed)
    assert first.hypervolume != other.hypervolume


def test_hypervolume_by_hand() -> None:
    rows = {
        (0,): TableRow((0.5,), Cost(params=1, madds=1)),
        (1,): TableRow((0.7,), Cost(params=1, madds=2)),
        (2,): TableRow((0.6,), Cost(params=1, madds=3)),
        (3,): TableRow((0.9,), Cost(params=1, madds=4)),
    }
    table = Table("toy", (Choice("c", (0, 1, 2, 3)),), ("madds",), rows)
    # Up to 4 multiply-adds and down to 0.5: (4 - 2) * 0.2 of the second; the dearest adds no width.
    assert hypervolume(table, "madds", [rows[1,]]) == pytest.approx(1.0)
    # The third alone: (4 - 3) * 0.1 of 0.4.
    assert hypervolume(table, "madds", [rows[2,]]) == pytest.approx(0.25)
    assert hypervolume(table, "madds", [rows[0,]]) == 0.0
    assert cost_axis(table) == "madds"
    assert cost_axis(Table("toy", table.choices, (), rows)) is None
