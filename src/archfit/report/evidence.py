"""What the trials of a search prove: its Pareto front, and whether it did better than drawing at random."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archfit.study.record import FIRST, GIVEN, PLAIN, TrialRecord

_GIVEN_NETWORKS = {
    FIRST: "The networks nearest to the trained one",
    PLAIN: "Networks of one operation throughout",
}
"""In words, by the origin of their trials; a search is given those of one alone."""
FEWEST = 5
"""Trials with a reward that either side needs before the two are compared."""


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Which (cost, accuracy) points no other point beats: cheaper at least as accurate, or as cheap and more accurate.

    Returns:
        Indices into `points`, from the cheapest to the most expensive; of equal points the first alone.
    """
    front: list[int] = []
    best = -math.inf
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if points[index][1] > best:
            best = points[index][1]
            front.append(index)
    return tuple(front)


def comparable(search: Mapping[str, Any], trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those whose accuracies are of one kind: where some were scored by shared weights, what was then trained alone.

    Pruned trials, which have none, stay.
    """
    alone = [trial for trial in trials if trial.promotes is not None]
    if search.get("method") != "shared" or not alone:
        return list(trials)
    return [trial for trial in trials if trial.promotes is not None or trial.state == "pruned"]


def superiority(first: Sequence[float], second: Sequence[float]) -> float:
    """Probability that a value of `first` exceeds one of `second`, ties counted half.

    The Mann-Whitney U statistic over the number of pairs.
    """
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    return wins / (len(first) * len(second))


def superiority_interval(theta: float, first: int, second: int, *, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of `superiority` (Newcombe 2006, Statistics in Medicine 25:559-573, method 5).

    It is the set of t with (theta - t)^2 <= z^2 V(t), V the variance of Hanley and McNeil (1982) with both group sizes
    replaced by their mean; unlike one centred on theta it keeps its width where theta is 0 or 1.

    Args:
        theta: As observed, in [0, 1].
        first: Values in the first group, at least 1.
        second: Values in the second group, at least 1.
        z: Normal quantile of the level wanted.
    """
    extra = (first + second) / 2 - 1

    def outside(t: float) -> bool:
        variance = t * (1 - t) * (1 + extra * (1 - t) / (2 - t) + extra * t / (1 + t)) / (first * second)
        return (theta - t) ** 2 > z * z * variance

    def edge(inner: float, outer: float) -> float:
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return inner

    return (edge(theta, 0.0) if theta > 0 else 0.0), (edge(theta, 1.0) if theta < 1 else 1.0)


@dataclass(frozen=True)
class Group:
    """Trials of one origin.

    Attributes:
        trials: Trained, with a reward; a repeated network counts once.
        pruned: Too far past the budget to be trained; no part of the mean and the best.
        mean: Of the rewards; None without trials.
        best: Of the rewards; None without trials.
    """

    trials: int
    pruned: int
    mean: float | None
    best: float | None


@dataclass(frozen=True)
class SearchEvidence:
    """The random start-up trials against what the sampler proposed later.

    Attributes:
        random: Uniformly drawn trials.
        later: What the sampler proposed.
        given: What was tried before either.
        probability: That the reward of a later trial exceeds that of a random one; None where there are too few.
        interval: 95 % of `probability`.
        sentence: What this says, with its limits.
    """

    random: Group
    later: Group
    given: Group
    probability: float | None
    interval: tuple[float, float] | None
    sentence: str


def search_against_random(trials: Sequence[TrialRecord]) -> SearchEvidence:
    """Compares random trials with later proposals by their rewards; both saw the same proxy and the same costs."""
    trials = [trial for trial in trials if trial.promotes is None]  # longer training has higher rewards
    drawn = [trial for trial in trials if trial.origin == "random"]
    proposed = [trial for trial in trials if trial.origin not in ("random", *GIVEN)]
    random, later = _group(drawn), _group(proposed)
    probability = interval = None
    if min(random.trials, later.trials) >= FEWEST:
        probability = superiority(_rewards(proposed), _rewards(drawn))
        interval = superiority_interval(probability, later.trials, random.trials)
    sentence = _sentence(random, later, probability, interval)
    first = [trial for trial in trials if trial.origin in GIVEN]
    given = _group(first)
    if given.best is not None and later.best is not None:
        sentence += (
            f" {_GIVEN_NETWORKS[first[0].origin]}, given at the start, came to a reward of {given.best:.3f}, what was "
            f"proposed after them to {later.best:.3f}."
        )
    return SearchEvidence(random, later, given, probability, interval, sentence)


def _rewards(trials: Sequence[TrialRecord]) -> list[float]:
    return [
        trial.reward
        for trial in trials
        if trial.state == "complete" and trial.reward is not None and trial.repeat_of is None
    ]


def _group(trials: Sequence[TrialRecord]) -> Group:
    rewards = _rewards(trials)
    return Group(
        len(rewards),
        sum(trial.state == "pruned" for trial in trials),
        math.fsum(rewards) / len(rewards) if rewards else None,
        max(rewards, default=None),
    )


def _sentence(random: Group, later: Group, probability: float | None, interval: tuple[float, float] | None) -> str:
    if later.trials == 0 and later.pruned == 0:
        return "Nothing was proposed after the first trials, so there is nothing to compare with drawing at random."
    if probability is None or interval is None:
        return (
            f"Too few trials to tell whether the search beats drawing at random: {random.trials} random and "
            f"{later.trials} later ones have a reward, {FEWEST} of each are needed."
        )
    low, high = interval
    if low > 0.5:
        verdict = "The search did better than drawing at random"
    elif high < 0.5:
        verdict = "The search did worse than drawing at random"
    else:
        verdict = "The search cannot be told from drawing at random"
    return (
        f"{verdict}: a later trial has a higher reward than a random one with probability {probability:.2f} "
        f"(95 % interval {low:.2f} to {high:.2f}; 0.50 is chance)."
    )
