"""What the terminal says of how long a search has yet."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from study_toy import toy_trial

from archfit.cli.live import LiveWatch
from archfit.cost import Budget
from archfit.study.limits import Limits
from archfit.study.record import DERIVED, PLAIN, TrialRecord
from archfit.study.search import SearchStatus


def _told(trials: list[TrialRecord], running: dict[int, float]) -> str:
    console = Console(record=True, width=200, file=None, stderr=True, force_terminal=False)
    watch = LiveWatch()
    watch.console = console
    watch.searching(SearchStatus(tuple(trials), running, False, 60.0, Limits(trials=8), alone=True), Budget())
    return console.export_text()


def test_with_shared_weights_what_is_left_is_the_training_alone() -> None:
    scored = [replace(toy_trial(number, 0.3), origin=DERIVED) for number in range(6)]
    scored += [replace(toy_trial(number, 0.2), origin=PLAIN) for number in (6, 7)]
    before = _told(scored, {})
    assert "time left unknown yet" in before
    assert "accuracy by shared weights 30.0 %" in before
    # Two of four derived and two plain ones took 10 s each; of the other four two are trained at a time.
    alone = [replace(toy_trial(8 + n, 0.8, rung=1, promotes=n), origin=DERIVED, seconds_train=10.0) for n in (0, 1)]
    said = _told([*scored, *alone], {10: 0.5, 11: 0.1})
    assert "candidate 8 of 8 (0 pruned, 2 trained alone), 1 min 0 s, about 20 s left" in said
    assert "best so far  trial 8, proxy accuracy 80.0 %" in said
