"""Searches played on a table: what a sampler finds, evaluation by evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from archfit.architecture import Choice
from archfit.cost import Budget
from archfit.evaluators import Table, TableRow
from archfit.reward import Reward, worth
from archfit.samplers import ACCURACY, RATIOS, Observation, denoised, distributions, make_sampler

REWARD = "reward"


@dataclass(frozen=True)
class Game:
    """What all searches on one table have in common.

    Attributes:
        table: Of trained networks.
        budget: For the reward; without one the reward is the accuracy.
        reward: Of accuracy and cost ratios.
        evaluations: After which the searches are looked at, ascending.
    """

    table: Table
    budget: Budget
    reward: Reward
    evaluations: tuple[int, ...]

    def worth(self, row: TableRow, accuracy: float) -> float:
        """The reward of a network that was trained to this accuracy."""
        return worth(self.reward, self.budget, accuracy, row.cost)

    def best(self) -> float:
        """The most that the mean accuracy of a network of the table is worth."""
        return max(self.worth(row, row.mean) for row in self.table.rows.values())


@dataclass(frozen=True)
class Played:
    """One search after each of the game's `evaluations`.

    Attributes:
        seed: Of sampler and noise.
        regret: Best mean reward of the table less that of the recommended network: the best by the accuracies of all
            similar ones and its own cost.
        regret_observed: The same of the network with the best single reward.
        regret_seen: The same of the best network that was trained, whether or not it can be told from the others.
        hypervolume: Of the networks seen, by mean accuracy and cost, as a share of the table's; None where the table
            knows no cost.
        ms_per_proposal: Milliseconds that the sampler took.
    """

    seed: int
    regret: tuple[float, ...]
    regret_observed: tuple[float, ...]
    regret_seen: tuple[float, ...]
    hypervolume: tuple[float, ...] | None
    ms_per_proposal: float


MakeSampler = Callable[[Sequence[Choice], int], BaseSampler]
"""From the choices of a space and a seed."""


def play(game: Game, sampler: str | MakeSampler, seed: int) -> Played:
    """One search of as many evaluations as the game looks at; a reward is one of a network's trainings, drawn anew."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table, noise = game.table, np.random.default_rng([seed, 1])
    if isinstance(sampler, str):
        made = make_sampler(sampler, choices=table.choices, seed=seed, reward=game.reward)
    else:
        made = sampler(table.choices, seed)
    study = optuna.create_study(sampler=made, direction="maximize")
    asked = distributions(table.choices)
    history: list[Observation] = []
    rewards: list[float] = []
    seconds = 0.0
    for number in range(game.evaluations[-1]):
        start = time.perf_counter()
        trial = study.ask(fixed_distributions=asked)
        seconds += time.perf_counter() - start
        indices = tuple(choice.index(trial.params[choice.name]) for choice in table.choices)
        row = table.rows[indices]
        accuracy = row.accuracies[int(noise.integers(len(row.accuracies)))]
        reward = game.worth(row, accuracy)
        attrs = {REWARD: reward, ACCURACY: accuracy, RATIOS: game.budget.ratios(row.cost)}
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        study.tell(trial, reward)
        history.append(Observation(number, indices, accuracy))
        rewards.append(reward)
    return _looked_at(game, history, rewards, seed, 1e3 * seconds / len(history))


def _looked_at(game: Game, accuracies: Sequence[Observation], rewards: Sequence[float], seed: int, ms: float) -> Played:
    """What the first so many trials recommend, by their accuracies as a search ranks its finalists."""
    best = game.best()
    seen = [game.table.rows[one.indices] for one in accuracies]
    worth = [game.worth(row, row.mean) for row in seen]
    recommended, observed, reached, volumes = [], [], [], []
    axis = cost_axis(game.table)
    extent = _extent(game.table, axis) if axis is not None else None
    for count in game.evaluations:
        expected = [
            game.worth(row, accuracy) for row, accuracy in zip(seen, denoised(accuracies[:count]), strict=False)
        ]
        recommended.append(best - worth[max(range(count), key=lambda number: expected[number])])
        observed.append(best - worth[max(range(count), key=lambda number: rewards[number])])
        reached.append(best - max(worth[:count]))
        if extent is not None:
            volumes.append(extent.share(seen[:count]))
    return Played(
        seed,
        tuple(recommended),
        tuple(observed),
        tuple(reached),
        tuple(volumes) if axis is not None else None,
        ms,
    )


def cost_axis(table: Table) -> str | None:
    """The cost that accuracy is weighed against: the first known of latency, multiply-adds, parameters, memory."""
    return next((name for name in ("latency_ms", "madds", "params", "memory_bytes") if name in table.costs), None)


def hypervolume(table: Table, axis: str, seen: Sequence[TableRow]) -> float:
    """Area of cost and mean accuracy that networks dominate, up to the table's dearest and worst; a share of all's."""
    return _extent(table, axis).share(seen)


@dataclass(frozen=True)
class _Extent:
    """Of a table: its dearest cost, its worst mean accuracy, and the area that all of it dominates."""

    axis: str
    dearest: float
    worst: float
    area: float

    def share(self, seen: Sequence[TableRow]) -> float:
        area = _area([(_cost(row, self.axis), row.mean) for row in seen], self.dearest, self.worst)
        return area / self.area if self.area > 0 else 1.0


def _extent(table: Table, axis: str) -> _Extent:
    points = [(_cost(row, axis), row.mean) for row in table.rows.values()]
    dearest, worst = max(cost for cost, _ in points), min(accuracy for _, accuracy in points)
    return _Extent(axis, dearest, worst, _area(points, dearest, worst))


def _area(points: Sequence[tuple[float, float]], dearest: float, worst: float) -> float:
    area, top = 0.0, worst
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if accuracy > top:
            area += (dearest - cost) * (accuracy - top)
            top = accuracy
    return area


def _cost(row: TableRow, axis: str) -> float:
    if axis == "latency_ms":
        assert row.cost.latency is not None
        return row.cost.latency.p50_ms
    return float(getattr(row.cost, axis))
