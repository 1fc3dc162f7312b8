from __future__ import annotations

import pytest

from archfit.pipeline.watch import TrainingClock


def test_time_left_is_by_what_was_done_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("archfit.pipeline.watch.time.monotonic", lambda: now[0])
    clock = TrainingClock("finalists", 2)
    # One goes on at a quarter, the other one begins: an eighth of all steps were done before.
    begun = clock.status({"a": {"step": 25, "steps": 100}, "b": {"step": 0, "steps": 50}})
    assert (begun.share, begun.seconds_left) == (0.125, None)
    now[0] += 60
    status = clock.status({"a": {"step": 50, "steps": 100}, "b": {"step": 25, "steps": 50}})
    # 3/8 of all in a minute; 1/2 is left.
    assert status.share == 0.5
    assert status.elapsed == 60
    assert status.seconds_left == pytest.approx(80)
