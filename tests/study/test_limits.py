from __future__ import annotations

from dataclasses import replace

import pytest
from study_toy import toy_trial

from archfit.errors import InputError
from archfit.study.limits import Limits, trials_since_best


@pytest.mark.parametrize("name", ["trials", "seconds", "patience"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_are_positive(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; it must be above zero"):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_thirty_minutes_where_nothing_is_limited() -> None:
    assert Limits().with_default() == Limits(seconds=30 * 60)
    for limits in (Limits(trials=5), Limits(seconds=9), Limits(patience=3)):
        assert limits.with_default() == limits


def test_the_time_is_shared_out_between_search_and_finalists() -> None:
    limits = Limits(seconds=100)
    assert (limits.search_seconds, limits.final_seconds) == (50, 50)
    limits = replace(limits, search_share=0.2)
    assert (limits.search_seconds, limits.final_seconds) == (20, 80)
    assert Limits(trials=5).search_seconds is None
    assert Limits(trials=5).final_seconds is None


def test_trials_since_the_best() -> None:
    assert trials_since_best([]) == 0
    assert trials_since_best([toy_trial(0, 0.5)]) == 0
    # The best is number 1; 2, 3 and 5 came after it. A failed and a repeated one do not count.
    trials = [
        toy_trial(0, 0.5),
        toy_trial(1, 0.7),
        toy_trial(2, 0.9, state="pruned"),
        toy_trial(3, 0.7),
        toy_trial(4, None, state="failed"),
        toy_trial(5, 0.6),
        toy_trial(6, 0.7, repeat_of=1),
    ]
    assert trials_since_best(trials) == 3
    assert trials_since_best([*trials, toy_trial(7, 0.71)]) == 0
