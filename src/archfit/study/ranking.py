"""Which trials are best: for the finalists, and for successive halving."""

from __future__ import annotations

from collections.abc import Sequence

from archfit.architecture import SearchSpace, to_indices
from archfit.samplers import Observation, denoised
from archfit.study.record import TrialRecord


def rank(trials: Sequence[TrialRecord], space: SearchSpace) -> list[TrialRecord]:
    """Trained trials within the budget, each network once, best first.

    What was trained longer goes before what was not. Equally long trained ones are in the order of what their networks
    may be expected to get again: the best of many rewards is a lucky one, and what similar networks of the space got
    puts it right (`denoised`). The earlier trial goes first where two are equal.
    """
    went_on = {t.promotes for t in trials if t.state == "complete"}
    rungs = sorted({t.rung for t in trials}, reverse=True)
    return [t for rung in rungs for t in _ranked(trials, rung, space) if t.number not in went_on]


def next_promotion(trials: Sequence[TrialRecord], factors: Sequence[float], space: SearchSpace) -> TrialRecord | None:
    """The candidate that is due to be trained on, or None (asynchronous successive halving, arXiv:1810.05934).

    Of those within the budget that were trained to a rung, the best 1 in `factors[rung]` go on; higher rungs first.

    Args:
        trials: All of the study, those that wait or run too.
        factors: Of each rung but the last.
        space: Of the trials.
    """
    asked = {t.promotes for t in trials}
    for rung in reversed(range(len(factors))):
        ranked = _ranked(trials, rung, space)
        for trial in ranked[: int(len(ranked) / factors[rung])]:
            if trial.number not in asked:
                return trial
    return None


def _ranked(trials: Sequence[TrialRecord], rung: int, space: SearchSpace) -> list[TrialRecord]:
    trained = [t for t in trials if t.rung == rung and t.state == "complete" and t.repeat_of is None]
    history = [
        Observation(t.number, to_indices(space, t.architecture), t.reward)
        for t in trained
        if t.architecture is not None and t.reward is not None
    ]
    expected = dict(zip((seen.number for seen in history), denoised(history), strict=True))
    within = [t for t in trained if t.within_budget and t.number in expected]
    return sorted(within, key=lambda t: (-expected[t.number], t.number))
