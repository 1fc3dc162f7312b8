from __future__ import annotations

import pytest

from archfit.errors import InputError
from archfit.study.limits import Limits, trials_since_best
from archfit.study.record import State, TrialRecord


def _trial(number: int, reward: float | None, state: State = "complete", repeat_of: int | None = None) -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,
        architecture=None,
        origin="random",
        cost=None,
        accuracy=None,
        reward=reward,
        within_budget=None,
        seconds_measure=0.0,
        seconds_train=0.0,
        reason=None,
        repeat_of=repeat_of,
        seed=0,
        finished_s=float(number),
    )


@pytest.mark.parametrize("name", ["trials", "seconds", "patience"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_are_positive(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; it must be above zero"):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_thirty_minutes_where_nothing_is_limited() -> None:
    assert Limits().with_default() == Limits(seconds=30 * 60)
    for limits in (Limits(trials=5), Limits(seconds=9), Limits(patience=3)):
        assert limits.with_default() == limits


def test_the_search_has_half_of_the_time() -> None:
    assert Limits(seconds=100).search_seconds == 50
    assert Limits(trials=5).search_seconds is None


def test_trials_since_the_best() -> None:
    assert trials_since_best([]) == 0
    assert trials_since_best([_trial(0, 0.5)]) == 0
    # The best is number 1; 2, 3 and 5 came after it. A failed and a repeated one do not count.
    trials = [
        _trial(0, 0.5),
        _trial(1, 0.7),
        _trial(2, 0.9, "pruned"),
        _trial(3, 0.7),
        _trial(4, None, "failed"),
        _trial(5, 0.6),
        _trial(6, 0.7, repeat_of=1),
    ]
    assert trials_since_best(trials) == 3
    assert trials_since_best([*trials, _trial(7, 0.71)]) == 0
