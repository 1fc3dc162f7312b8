from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from torch import nn

from archfit.cost import Cost, Latency
from archfit.pipeline import SearchRequest, SearchResult
from archfit.pipeline.outcome import _recommendation, sampler_name, time_spent
from archfit.report.record import RunResult, TrainedNetwork
from archfit.study.record import State, TrialRecord


def _cost(madds: int, p50_ms: float | None) -> Cost:
    latency = (
        Latency(p50_ms, p50_ms, p50_ms, spread=0.0, runs=1, device="test", runtime="test", threads=1)
        if p50_ms is not None
        else None
    )
    return Cost(params=1, madds=madds, latency=latency)


def _trial(
    number: int,
    accuracy: float | None = 0.5,
    *,
    cost: Cost | None = None,
    state: State = "complete",
    origin: str = "random",
    measure: float = 0.0,
    train: float = 0.0,
) -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,
        architecture=None,
        origin=origin,
        cost=cost,
        accuracy=accuracy,
        reward=accuracy,
        within_budget=True,
        seconds_measure=measure,
        seconds_train=train,
        reason=None,
        repeat_of=None,
        seed=0,
        finished_s=None,
    )


def test_time_spent() -> None:
    trials = [_trial(0, measure=2.0, train=30.0), _trial(1, measure=1.0, train=10.0)]
    # Measuring stops all workers: 2 + 1 s. Training is shared by two: (30 + 10) / 2 s. Of 25 s, 2 s are left.
    assert time_spent(trials, 25.0, 2) == {"measuring": 3.0, "training": 20.0, "overhead": 2.0}
    # 1.5 s of these are for networks of which the space was sampled.
    assert time_spent(trials, 25.0, 2, sampling=1.5) == {"measuring": 4.5, "training": 20.0, "overhead": 0.5}
    # Sums of times that were taken apart can be past the whole by a rounding; overhead is never negative.
    assert time_spent(trials, 22.9, 2)["overhead"] == 0.0


def test_sampler_name() -> None:
    trials = [_trial(0, origin="random"), _trial(1, origin="tpe"), _trial(2, origin="unknown")]
    assert sampler_name(SearchRequest("digits", sampler="ppo"), trials) == "ppo"
    assert sampler_name(SearchRequest("digits"), trials) == "auto (tpe)"
    assert sampler_name(SearchRequest("digits"), trials[:1]) == "auto (random so far)"


CHOSEN = "chosen among 1 candidate by the absolute reward and by accuracy"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], f"It was trained in full as the only finalist, {CHOSEN}. "),
        (["finalist"], f"among 2 finalists trained in full, {CHOSEN}. "),
        (["stopped"], f"Of 2 finalists, {CHOSEN}, it was ahead on the validation split"),
    ],
)
def test_how_the_winner_was_picked(others: list[str], said: str) -> None:
    winner, *rest = (
        TrainedNetwork(role, role, None, _cost(1, 0.1), True, 0.5, None, 3, 1.0, ()) for role in ["winner", *others]
    )
    assert said in _recommendation(winner, rest, [_trial(0)], SearchRequest("digits"), "")


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ([7], "Of the best trial 7 was left out: it did not hold the budget"),
        ([7, 9], "Of the best trials 7, 9 were left out: they did not hold the budget"),
    ],
)
def test_better_trials_that_were_no_finalists_are_named(left_out: list[int], said: str) -> None:
    winner = TrainedNetwork("trial 0", "winner", None, _cost(1, 0.1), True, 0.5, None, 3, 1.0, ())
    assert said in _recommendation(winner, [], [_trial(0)], SearchRequest("digits"), "", left_out=left_out)


def _front(*trials: TrialRecord) -> list[int]:
    record = cast(RunResult, SimpleNamespace(search={"method": "trials"}))
    result = SearchResult(Path("nowhere"), record, trials, nn.Identity())
    return [trial.number for trial in result.front]


def test_front_is_what_no_other_beats() -> None:
    assert _front(
        _trial(0, 0.90, cost=_cost(1, 0.30)),
        _trial(1, 0.80, cost=_cost(1, 0.10)),
        _trial(2, 0.79, cost=_cost(1, 0.20)),  # slower than 1 and worse
        _trial(3, 0.99, cost=_cost(1, 0.05), state="pruned"),
        _trial(4, None, state="failed"),
        _trial(5, 0.85, cost=_cost(1, 0.20)),
    ) == [1, 5, 0]


def test_front_by_multiply_adds_where_no_latency_was_measured() -> None:
    assert _front(_trial(0, 0.9, cost=_cost(300, None)), _trial(1, 0.8, cost=_cost(100, None))) == [1, 0]
    assert _front() == []


def test_best_is_the_recorded_winner(finished: object) -> None:
    import archfit

    result = archfit.load(finished.folder)  # type: ignore[attr-defined]
    best = result.best
    assert best.onnx.is_file()
    assert best.test_accuracy == result.record.test.accuracy
    assert best.within_budget == (best.cost.latency is not None and best.cost.latency.p50_ms <= 5.0)
    assert {trial.number for trial in result.front} <= {trial.number for trial in result.trials}
    first, second = best.model(), best.model()
    assert first is not second
    assert not first.training
    assert sum(p.numel() for p in first.parameters()) == pytest.approx(best.cost.params)
