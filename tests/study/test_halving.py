"""Successive halving: some candidates are trained on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import event
from study_toy import TASK, ToySpace, ToySteps, measure

from archfit.cost import Budget
from archfit.reward import absolute
from archfit.samplers import PROMOTES, make_sampler
from archfit.study.limits import Limits
from archfit.study.ranking import rank
from archfit.study.record import TrialRecord
from archfit.study.search import SearchStatus, TrialSearch
from archfit.study.setup import SearchSetup
from archfit.study.storage import close_study, open_study, records
from archfit.study.workers import WorkerPool

pytestmark = pytest.mark.slow


def _setup(folder: Path, **changes: Any) -> SearchSetup:
    setup = SearchSetup(
        space=ToySpace(),
        task=TASK,
        budget=Budget(params=1000),
        reward=absolute,
        chance=0.5,
        limits=Limits(trials=9),
        prune_above=2.0,
        seed=3,
        evaluator=ToySteps(1),
        promotions=(ToySteps(2, continued=True), ToySteps(6, continued=True)),
        factors=(3.0, 3.0),
        weights=folder,
    )
    return replace(setup, **changes)


def _study(path: Path, setup: SearchSetup) -> optuna.Study:
    return open_study(path / "study.db", make_sampler("predictor", choices=setup.space.choices, seed=setup.seed))


def _run(path: Path, setup: SearchSetup, pool: WorkerPool, **settings: Any) -> tuple[str, list[TrialRecord]]:
    study = _study(path, setup)
    try:
        search = TrialSearch(study, setup, pool, measure, **{"on_status": lambda _: None, **settings})
        return search.run(), records(study)
    finally:
        close_study(study)


def test_a_search_trains_its_best_on(tmp_path: Path, one_worker: WorkerPool) -> None:
    told: list[SearchStatus] = []
    setup = _setup(tmp_path)
    stopped, trials = _run(tmp_path, setup, one_worker, on_status=told.append)
    assert stopped == "9 trials"
    by_rung = {rung: [t for t in trials if t.rung == rung] for rung in range(3)}
    assert len(by_rung[0]) == 9
    assert by_rung[2]
    for trial in trials:
        assert trial.state == "complete"
        assert trial.architecture is not None
        assert trial.accuracy is not None
        width, depth = int(trial.architecture["width"]), int(trial.architecture["depth"])
        # 1, 3 or 9 epochs: each rung goes on from the weights of the one before.
        epochs = 1000 * (trial.accuracy - 0.5 - 0.05 * width + 0.02 * depth)
        assert epochs == pytest.approx(3**trial.rung, abs=1e-3)
        if trial.promotes is not None:
            source = trials[trial.promotes]
            assert (source.rung, source.architecture, source.cost) == (trial.rung - 1, trial.architecture, trial.cost)
            assert source.origin == trial.origin
    best = max(by_rung[0], key=lambda t: t.reward or 0.0)
    assert rank(trials, ToySpace(), setup.worth)[0].architecture == best.architecture
    assert told[-1].best is not None
    assert told[-1].best.rung == 2


def test_samplers_learn_from_first_trainings_alone(tmp_path: Path, one_worker: WorkerPool) -> None:
    _, halved = _run(tmp_path, _setup(tmp_path, limits=Limits(trials=14)), one_worker)
    plain = _setup(tmp_path, limits=Limits(trials=14), promotions=(), factors=())
    (tmp_path / "plain").mkdir()
    _, once = _run(tmp_path / "plain", plain, one_worker)
    # The number of a trial decides its stream: what is uniform is not the same, what was learnt from is.
    assert len([t for t in halved if t.rung == 0]) == len(once) == 14
    study = _study(tmp_path, plain)
    learnt = study.sampler._reader.history(study.get_trials())  # type: ignore[attr-defined]
    close_study(study)
    assert [seen.number for seen in learnt] == [t.number for t in halved if t.rung == 0]


def test_weights_that_are_gone_fail_the_trial_alone(tmp_path: Path, one_worker: WorkerPool) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()

    def lose(status: SearchStatus) -> None:
        if len(status.trials) == 3 and weights.is_dir():
            shutil.rmtree(weights)
            weights.mkdir()

    _, trials = _run(tmp_path, _setup(weights), one_worker, on_status=lose)
    failed = [t for t in trials if t.state == "failed"]
    assert failed
    assert all(t.rung == 1 and "No such file" in str(t.reason) for t in failed)
    assert len([t for t in trials if t.rung == 0 and t.state == "complete"]) == 9


class _Killed(BaseException):
    """The driver's death."""


@pytest.mark.parametrize("every", [13, 17, 29])
def test_dying_often_changes_nothing(tmp_path: Path, one_worker: WorkerPool, every: int) -> None:
    def plain(trials: list[TrialRecord]) -> list[TrialRecord]:
        return [replace(t, seconds_measure=0.0, seconds_train=0.0, finished_s=0.0) for t in trials]

    for name in ("straight", "dying"):
        (tmp_path / name).mkdir()
    _, straight = _run(tmp_path / "straight", _setup(tmp_path / "straight"), one_worker)
    path, setup, deaths = tmp_path / "dying", _setup(tmp_path / "dying"), 0
    while True:
        study = _study(path, setup)
        left = [every]

        def on_commit(_: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise _Killed

        event.listen(study._storage._backend.engine, "commit", on_commit)  # type: ignore[attr-defined]
        try:
            TrialSearch(study, setup, one_worker, measure, on_status=lambda _: None).run()
            dying = records(study)
            break
        except _Killed:
            deaths += 1
        finally:
            close_study(study)
    assert deaths >= 3
    assert plain(dying) == plain(straight)
    assert any(t.promotes is not None for t in straight)


def test_two_workers(tmp_path: Path, two_workers: WorkerPool) -> None:
    _, trials = _run(tmp_path, _setup(tmp_path, limits=Limits(trials=15)), two_workers)
    assert len([t for t in trials if t.rung == 0]) == 15
    promoted = [t.promotes for t in trials if t.promotes is not None]
    assert len(promoted) == len(set(promoted)) >= 5
    assert PROMOTES == "promotes"
