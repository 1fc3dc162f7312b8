"""Which trials are best: for the finalists, and for successive halving."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from archfit.architecture import SearchSpace, to_indices
from archfit.cost import Cost
from archfit.samplers import Observation, denoised
from archfit.study.record import PLAIN, TrialRecord

ALONE = 4
"""Derived networks that are trained alone before finalists are chosen among them."""
Worth = Callable[[float, Cost], float]
"""The reward of an accuracy in [0, 1] at a cost."""


def rank(trials: Sequence[TrialRecord], space: SearchSpace, worth: Worth) -> list[TrialRecord]:
    """Trained trials within the budget, each network once, best first.

    What was trained longer goes before what was not. Equally long trained ones are in the order of what their networks
    may be expected to be worth: the best of many accuracies is a lucky one, and what similar networks of the space got
    puts it right (`denoised`); the cost is known. The earlier trial goes first where two are equal.

    Args:
        trials: Of a study.
        space: Of the trials.
        worth: The reward.
    """
    went_on = {t.promotes for t in trials if t.state == "complete"}
    rungs = sorted({t.rung for t in trials}, reverse=True)
    return [t for rung in rungs for t in _ranked(trials, rung, space, worth) if t.number not in went_on]


def contenders(
    trials: Sequence[TrialRecord], space: SearchSpace, worth: Worth, validation_images: int
) -> list[TrialRecord]:
    """In which order trials are to become finalists: the best by the reward, the best plain one, the most accurate.

    The plain network is left out where it is surely behind. It is no merit of the search, but the few minutes by which
    candidates are ranked favour small networks, which learn fast and then no more, and of many of them the luckiest.
    Then follow the next by the reward and by accuracy in turns: of finalists the most accurate wins, whatever a reward
    thinks of the latency that it leaves unused.

    Args:
        trials: Of a study.
        space: Of the trials.
        worth: The reward.
        validation_images: That gave the accuracies.
    """
    by_reward = rank(trials, space, worth)
    by_accuracy = rank(trials, space, lambda accuracy, _: accuracy)
    ordered = [trial for pair in zip(by_reward, by_accuracy, strict=True) for trial in pair]
    plain = next((trial for trial in by_reward if trial.origin == PLAIN), None)
    if plain is not None and not surely_behind(plain, by_accuracy[0], validation_images):
        ordered.insert(1, plain)
    return list({trial.number: trial for trial in ordered}.values())


def surely_behind(trial: TrialRecord, best: TrialRecord, images: int, errors: float = 2.0) -> bool:
    """Whether a trial is behind the best by standard errors of its accuracy, or was trained less long.

    Args:
        trial: Trained.
        best: The most accurate of those that were trained longest.
        images: That gave the accuracies.
        errors: How many standard errors.
    """
    if trial.rung < best.rung:
        return True
    assert trial.accuracy is not None
    assert best.accuracy is not None
    return best.accuracy - trial.accuracy > errors * math.sqrt(best.accuracy * (1 - best.accuracy) / images)


def next_promotion(
    trials: Sequence[TrialRecord],
    factors: Sequence[float],
    space: SearchSpace,
    worth: Worth,
    holds: Callable[[Cost], bool] = lambda _: True,
    fits: Callable[[int], bool] = lambda _: True,
) -> TrialRecord | None:
    """The candidate that is due to be trained on, or None (asynchronous successive halving, arXiv:1810.05934).

    Of those surely within the budget that were trained to a rung, the best 1 in `factors[rung]` go on; higher rungs
    first. With the first of them the best of the plain networks goes on, whatever its place: what the search finds is
    to be compared with what one would have built by hand, and small networks learn fastest at first.

    Args:
        trials: All of the study, those that wait or run too.
        factors: Of each rung but the last.
        space: Of the trials.
        worth: The reward.
        holds: Whether a cost is sure enough to be within the budget.
        fits: Whether there is time for a training to a rung.
    """
    asked = {t.promotes for t in trials}
    for rung in filter(lambda rung: fits(rung + 1), reversed(range(len(factors)))):
        ranked = [t for t in _ranked(trials, rung, space, worth) if t.cost is not None and holds(t.cost)]
        due = ranked[: int(len(ranked) / factors[rung])]
        if due:
            due += [trial for trial in ranked if trial.origin == PLAIN][:1]
        for trial in due:
            if trial.number not in asked:
                return trial
    return None


def trained_alone(origins: Sequence[str]) -> tuple[int, int]:
    """How many derived and how many plain networks of these `next_alone` gives in the end, if all hold the budget."""
    plain = sum(origin == PLAIN for origin in origins)
    return min(ALONE, len(origins) - plain), plain


def next_alone(
    trials: Sequence[TrialRecord], space: SearchSpace, worth: Worth, holds: Callable[[Cost], bool]
) -> TrialRecord | None:
    """What is to be trained alone next of the networks that shared weights have scored, or None.

    The best of the derived ones and all plain ones: a path that the controller does not take has hardly been trained,
    so its accuracy says nothing of a plain network.

    Args:
        trials: All of the study; every one of rung 0 has ended.
        space: Of the trials.
        worth: The reward.
        holds: Whether a cost is sure enough to be within the budget.
    """
    asked = {t.promotes for t in trials}
    ranked = [t for t in _ranked(trials, 0, space, worth) if t.cost is not None and holds(t.cost)]
    plain = [t for t in ranked if t.origin == PLAIN]
    derived = [t for t in ranked if t.origin != PLAIN]
    return next((t for t in [*derived[:ALONE], *plain] if t.number not in asked), None)


def _ranked(trials: Sequence[TrialRecord], rung: int, space: SearchSpace, worth: Worth) -> list[TrialRecord]:
    trained = [t for t in trials if t.rung == rung and t.state == "complete" and t.repeat_of is None]
    history = [
        Observation(t.number, to_indices(space, t.architecture), t.accuracy)
        for t in trained
        if t.architecture is not None and t.accuracy is not None
    ]
    expected = dict(zip((seen.number for seen in history), denoised(history), strict=True))
    worths = {
        t.number: worth(expected[t.number], t.cost)
        for t in trained
        if t.within_budget and t.number in expected and t.cost is not None
    }
    return sorted((t for t in trained if t.number in worths), key=lambda t: (-worths[t.number], t.number))
