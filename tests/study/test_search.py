from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event
from study_toy import TASK, ToyEvaluator, ToySpace, ToySteps, measure, toy_params

from archfit.architecture import Architecture, from_indices
from archfit.cost import Budget, Cost, Latency
from archfit.errors import RunError
from archfit.reward import absolute
from archfit.samplers import make_sampler
from archfit.study.limits import Limits, trials_since_best
from archfit.study.record import DERIVED, FIRST, PLAIN, TrialRecord
from archfit.study.search import SearchStatus, TrialSearch
from archfit.study.setup import SearchSetup, trial_seed
from archfit.study.storage import close_study, distributions, open_study, records
from archfit.study.workers import WorkerPool

pytestmark = pytest.mark.slow

BOUND = 40


class Killed(BaseException):
    """The driver's death: nothing in the search may catch it."""


def _setup(space: ToySpace | None = None, **changes: Any) -> SearchSetup:
    setup = SearchSetup(
        space=space or ToySpace(),
        task=TASK,
        budget=Budget(params=BOUND),
        reward=absolute,
        chance=0.5,
        limits=Limits(trials=6),
        prune_above=1.5,
        seed=3,
        evaluator=ToyEvaluator(),
    )
    return replace(setup, **changes)


@contextmanager
def _study(path: Path, setup: SearchSetup, sampler: str = "random") -> Iterator[optuna.Study]:
    made = make_sampler(sampler, choices=setup.space.choices, seed=setup.seed)
    study = open_study(path / "study.db", made)
    try:
        yield study
    finally:
        close_study(study)


def _run(
    path: Path,
    setup: SearchSetup,
    pool: WorkerPool,
    *,
    sampler: str = "random",
    measure: Callable[[Architecture], Cost] = measure,
    on_status: Callable[[SearchStatus], None] = lambda status: None,
    elapsed: float = 0.0,
    first: Sequence[Architecture] = (),
    driver: str | None = None,
) -> tuple[str, list[TrialRecord]]:
    with _study(path, setup, sampler) as study:
        search = TrialSearch(
            study,
            setup,
            pool,
            measure,
            on_status=on_status,
            elapsed=elapsed,
            first=[(one, FIRST) for one in first],
            driver=driver,
        )
        return search.run(), records(study)


def _plain(trials: list[TrialRecord]) -> list[TrialRecord]:
    """Without what a clock decided."""
    return [replace(trial, seconds_measure=0.0, seconds_train=0.0, finished_s=0.0) for trial in trials]


def test_a_search_of_so_many_trials(tmp_path: Path, one_worker: WorkerPool) -> None:
    told: list[SearchStatus] = []
    stopped, trials = _run(tmp_path, _setup(), one_worker, on_status=told.append)
    assert stopped == "6 trials"
    assert [trial.number for trial in trials] == list(range(6))
    for trial in trials:
        assert trial.architecture is not None
        assert trial.cost is not None
        params = toy_params(int(trial.architecture["width"]), int(trial.architecture["depth"]))
        assert trial.cost.params == params
        assert trial.origin == "random"
        assert trial.seed == trial_seed(3, trial.number)
        assert trial.within_budget == (params <= BOUND)
        excess = max(0.0, params / BOUND - 1)
        if params > 1.5 * BOUND:
            # Never trained: told as if it had guessed.
            assert (trial.state, trial.accuracy) == ("pruned", None)
            assert trial.reward == pytest.approx(0.5 - 0.1 * excess)
            assert trial.reason == f"params is {params / BOUND:.2f} times the budget (pruned above 1.5)"
        else:
            assert trial.state == "complete"
            assert trial.accuracy is not None
            assert trial.reward == pytest.approx(trial.accuracy - 0.1 * excess)
            assert trial.reason is None
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    assert [trial.number for trial in told[-1].trials] == list(range(6))
    assert any(status.running for status in told)
    assert any(status.measuring for status in told)
    assert not told[-1].running
    assert not told[-1].measuring
    best = told[-1].best
    assert best is not None
    within = [t.reward or 0.0 for t in trials if t.within_budget and t.state == "complete"]
    assert best.reward == max(within)


def test_a_pruned_trial_has_its_reward_in_the_study(tmp_path: Path, one_worker: WorkerPool) -> None:
    setup = _setup(ToySpace(widths=(6,), depths=(3,)))
    _run(tmp_path, setup, one_worker)
    with _study(tmp_path, setup) as study:
        trial = study.trials[0]
    # 30 + 2 * 42 + 14 = 128 parameters, 3.2 times 40: 0.5 - 0.1 * 2.2
    assert trial.state == TrialState.PRUNED
    assert trial.value == pytest.approx(0.28)


def test_a_network_that_comes_again_is_not_trained_again(tmp_path: Path, one_worker: WorkerPool) -> None:
    measured: list[Architecture] = []

    def once(architecture: Architecture) -> Cost:
        measured.append(architecture)
        return measure(architecture)

    space = ToySpace(widths=(2, 6), spares=("no", "yes"), depths=(1, 3))
    stopped, trials = _run(tmp_path, _setup(space, limits=Limits(trials=8)), one_worker, measure=once)
    assert stopped == "8 trials"
    assert len(measured) == len(set(measured)) == 4
    repeats = [trial for trial in trials if trial.repeat_of is not None]
    assert len(repeats) == 4
    for trial in repeats:
        first = trials[trial.repeat_of or 0]
        assert first.repeat_of is None
        assert first.number < trial.number
        for name in ("state", "architecture", "cost", "accuracy", "reward", "within_budget", "reason"):
            assert getattr(trial, name) == getattr(first, name)
        assert trial.seconds_train == 0.0
    assert {trial.state for trial in repeats} == {"complete", "pruned"}


@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_a_space_that_is_exhausted(tmp_path: Path, workers: str, request: pytest.FixtureRequest) -> None:
    space = ToySpace(widths=(1, 2), depths=(1, 2))
    pool = request.getfixturevalue(workers)
    stopped, trials = _run(tmp_path, _setup(space, limits=Limits(trials=100)), pool)
    assert stopped == "every architecture of the space was tried"
    assert len(trials) == len({trial.architecture for trial in trials}) == 4
    assert {trial.state for trial in trials} == {"complete"}


def test_repeats_in_a_row_stop_even_across_a_resume(tmp_path: Path, one_worker: WorkerPool) -> None:
    # 2 networks under 4 names: never all points of the space are known.
    space = ToySpace(widths=(1, 2), spares=("no", "yes"), depths=(1,))
    assert _run(tmp_path, _setup(space, limits=Limits(trials=30)), one_worker)[0] == "30 trials"
    stopped, trials = _run(tmp_path, _setup(space, limits=Limits(trials=200)), one_worker)
    assert stopped == "50 proposals in a row were known already"
    assert [trial.repeat_of is None for trial in trials[-51:]] == [True] + [False] * 50


def test_patience(tmp_path: Path, one_worker: WorkerPool) -> None:
    stopped, trials = _run(tmp_path, _setup(limits=Limits(patience=2), prune_above=100.0), one_worker)
    assert stopped == "2 trials without a better one"
    assert trials_since_best(trials) == 2
    assert all(trials_since_best(trials[:count]) < 2 for count in range(len(trials)))


def test_time(tmp_path: Path, one_worker: WorkerPool) -> None:
    stopped, trials = _run(tmp_path, _setup(limits=Limits(seconds=10)), one_worker, elapsed=5.01)
    # The time is up from the start; the one worker gets its one candidate all the same.
    assert (stopped, len(trials)) == ("the search's half of 10 s", 1)
    stopped, trials = _run(tmp_path, _setup(limits=Limits(seconds=10, trials=1)), one_worker)
    assert (stopped, len(trials)) == ("1 trials", 1)


def test_trials_that_fail_are_recorded_and_the_search_goes_on(tmp_path: Path, two_workers: WorkerPool) -> None:
    broken = ((2, "raise"), (3, "kill"), (4, "range"), (5, "none"))

    def refuse(architecture: Architecture) -> Cost:
        if architecture["width"] == 6:
            raise ValueError("it cannot be exported")
        return measure(architecture)

    setup = _setup(
        ToySpace(depths=(1,)),
        limits=Limits(trials=6),
        evaluator=ToyEvaluator(broken),
        prune_above=100.0,
        # Width 1 must come among the first five, or the search would give up.
        seed=next(seed for seed in range(99) if _first_width(seed) == 1),
    )
    _, trials = _run(tmp_path, setup, two_workers, measure=refuse)
    ends = {int(t.architecture["width"]): (t.state, t.reason) for t in trials if t.architecture}
    assert ends == {
        1: ("complete", None),
        2: ("failed", "ValueError: this width does not train"),
        3: ("failed", "its worker process died (killed by SIGKILL), perhaps out of memory"),
        4: ("failed", "the evaluator gave the accuracy 1.5; it must be in [0, 1]"),
        5: ("failed", ends[5][1]),
        6: ("failed", "ValueError: it cannot be exported"),
    }
    assert str(ends[5][1]).startswith("TypeError: ")
    assert all((t.reward is None, t.accuracy is None) == (True, True) for t in trials if t.state == "failed")


def _first_width(seed: int) -> int:
    """Of the first architecture that the random sampler proposes."""
    space = ToySpace(depths=(1,))
    sampler = make_sampler("random", choices=space.choices, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    return int(study.ask(distributions(space)).params["width"])


def test_five_failures_at_the_start_end_the_search(tmp_path: Path, one_worker: WorkerPool) -> None:
    broken = tuple((width, "raise") for width in range(1, 7))
    setup = _setup(evaluator=ToyEvaluator(broken), prune_above=100.0, limits=Limits(trials=50))
    with pytest.raises(RunError, match="the first 5 trials all failed; the last one with: ValueError: this width"):
        _run(tmp_path, setup, one_worker)
    with _study(tmp_path, setup) as study:
        assert [trial.state for trial in records(study)] == ["failed"] * 5


def test_a_candidate_that_hangs_is_ended_and_the_search_goes_on(tmp_path: Path, two_workers: WorkerPool) -> None:
    broken = ((2, "hang"), (3, "hang"))
    setup = _setup(
        evaluator=ToyEvaluator(broken), prune_above=100.0, limits=Limits(trials=12), trial_seconds=1.0, seed=1
    )
    _, trials = _run(tmp_path, setup, two_workers)
    hung = [trial for trial in trials if trial.architecture and trial.architecture["width"] in (2, 3)]
    assert hung
    for trial in trials:
        if trial in hung:
            assert trial.state == "failed"
            assert trial.reason == "its training took over 1 s and was ended; see --trial-time"
            assert 1 <= trial.seconds_train < 3
        else:
            assert trial.state == "complete"


def test_a_reward_that_is_not_finite_fails_its_trial(tmp_path: Path, one_worker: WorkerPool) -> None:
    def nowhere(accuracy: float, ratios: Mapping[str, float]) -> float:
        return math.nan if accuracy > 0.7 else accuracy

    setup = _setup(ToySpace(widths=(1, 6), depths=(1,)), reward=nowhere, limits=Limits(trials=2))
    _, trials = _run(tmp_path, setup, one_worker)
    ends = {int(t.architecture["width"]): (t.state, t.reason) for t in trials if t.architecture}
    # 0.5 + 0.05 - 0.02 = 0.53 and 0.5 + 0.3 - 0.02 = 0.78
    assert ends == {1: ("complete", None), 6: ("failed", "the reward is nan; it must be finite")}


def test_a_bounded_cost_that_was_not_measured_fails_its_trial(tmp_path: Path, one_worker: WorkerPool) -> None:
    setup = _setup(ToySpace(widths=(1, 2), depths=(1,)), budget=Budget(latency_ms=1.0), limits=Limits(trials=2))

    def half(architecture: Architecture) -> Cost:
        latency = Latency(0.5, 0.5, 0.5, 0.0, 1, "local", "onnxruntime") if architecture["width"] == 1 else None
        return replace(measure(architecture), latency=latency)

    _, trials = _run(tmp_path, setup, one_worker, measure=half)
    ends = {int(t.architecture["width"]): (t.state, t.reason) for t in trials if t.architecture}
    assert ends[1] == ("complete", None)
    assert ends[2][0] == "failed"
    assert "latency was not measured" in str(ends[2][1])


def test_a_disk_that_is_full_is_not_the_candidates_fault(tmp_path: Path, one_worker: WorkerPool) -> None:
    def full(architecture: Architecture) -> Cost:
        raise RunError("the cache cannot be written")

    with pytest.raises(RunError, match="the cache cannot be written"):
        _run(tmp_path, _setup(), one_worker, measure=full)
    _, trials = _run(tmp_path, _setup(), one_worker)
    assert len(trials) == 6
    assert {trial.state for trial in trials} <= {"complete", "pruned"}


def test_a_stored_cost_is_not_measured_again(tmp_path: Path, one_worker: WorkerPool) -> None:
    setup = _setup(ToySpace(widths=(1, 2, 3), depths=(1,)), limits=Limits(trials=3))
    measured: list[Architecture] = []

    def counted(architecture: Architecture) -> Cost:
        measured.append(architecture)
        return measure(architecture)

    def die(status: SearchStatus) -> None:
        if 1 in status.running:
            raise Killed

    with pytest.raises(Killed):
        _run(tmp_path, setup, one_worker, measure=counted, on_status=die)
    with _study(tmp_path, setup) as study:
        before = records(study)
    assert [trial.state for trial in before] == ["complete", "running"]
    _, trials = _run(tmp_path, setup, one_worker, measure=counted)
    assert [trial.state for trial in trials] == ["complete"] * 3
    assert len(measured) == 3
    assert trials[1].seconds_measure == before[1].seconds_measure > 0


class _Deaths:
    """Raises `Killed` just before every n-th commit: whatever was to be written then is lost."""

    def __init__(self, study: optuna.Study, every: int) -> None:
        self.left = every
        event.listen(study._storage._backend.engine, "commit", self)  # type: ignore[attr-defined]

    def __call__(self, connection: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def _run_with_deaths(
    path: Path,
    setup: SearchSetup,
    pool: WorkerPool,
    sampler: str,
    every: int,
    first: Sequence[tuple[Architecture, str]] = (),
) -> int:
    """Starts again after each death until the search ends; how often it died."""
    for deaths in range(1000):
        with _study(path, setup, sampler) as study:
            search = TrialSearch(study, setup, pool, measure, on_status=lambda status: None, first=first)
            _Deaths(study, every)
            try:
                search.run()
            except Killed:
                continue
            return deaths
    raise AssertionError("it never ends")


@pytest.mark.parametrize(("sampler", "every"), [("random", 15), ("evolution", 22)])
def test_a_search_that_dies_often_ends_like_one_that_does_not(
    tmp_path: Path, one_worker: WorkerPool, sampler: str, every: int
) -> None:
    space = ToySpace(widths=(1, 2, 3, 6), spares=("no", "yes"), depths=(1, 3))
    setup = _setup(space, limits=Limits(trials=14), evaluator=ToyEvaluator(((3, "raise"),)))
    first = [from_indices(space, indices) for indices in ((2, 1, 0), (1, 0, 1))]
    for name in ("straight", "dying"):
        (tmp_path / name).mkdir()
    _, straight = _run(tmp_path / "straight", setup, one_worker, sampler=sampler, first=first)
    given = [(one, FIRST) for one in first]
    deaths = _run_with_deaths(tmp_path / "dying", setup, one_worker, sampler, every, given)
    with _study(tmp_path / "dying", setup, sampler) as study:
        dying = records(study)
    assert deaths >= 5
    assert _plain(dying) == _plain(straight)
    assert {trial.state for trial in straight} == {"complete", "pruned", "failed"}
    assert any(trial.repeat_of is not None for trial in straight)
    assert [trial.origin for trial in straight[:3]] == [FIRST, FIRST, "random"]
    assert [trial.architecture for trial in straight[:2]] == [space.canonical(point, TASK) for point in first]


@pytest.mark.parametrize("driver", [None, "a driver among others"])
def test_what_is_given_but_not_asked_for_is_no_trial(
    tmp_path: Path, one_worker: WorkerPool, driver: str | None
) -> None:
    space = ToySpace()
    first = [from_indices(space, indices) for indices in ((2, 0, 0), (1, 0, 1), (0, 0, 1))]
    _, trials = _run(tmp_path, _setup(space, limits=Limits(trials=2)), one_worker, first=first, driver=driver)
    assert [trial.architecture for trial in trials] == [space.canonical(point, TASK) for point in first[:2]]
    assert {trial.state for trial in trials} == {"complete"}


@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_the_best_by_shared_weights_and_all_plain_ones_are_trained_alone(
    tmp_path: Path, workers: str, request: pytest.FixtureRequest
) -> None:
    pool: WorkerPool = request.getfixturevalue(workers)
    space = ToySpace()
    # Wider is better, deeper worse: of the derived, widths 6, 5, 4 and 3 are the best four.
    derived = [(from_indices(space, (width, 0, 0)), DERIVED) for width in range(6)]
    plain = [(from_indices(space, (width, 0, 2)), PLAIN) for width in (0, 1)]
    given = [*derived, *plain]
    setup = _setup(
        space,
        budget=Budget(),
        limits=Limits(trials=len(given)),
        evaluator=ToyEvaluator(),
        promotions=(ToySteps(3.0),),
        alone=True,
    )
    deaths = _run_with_deaths(tmp_path, setup, pool, "random", 23, given)
    assert _run_with_deaths(tmp_path, setup, pool, "random", 23, given) == 0  # ended already
    with _study(tmp_path, setup) as study:
        trials = records(study)
    assert deaths >= 2
    assert [trial.origin for trial in trials[:8]] == [DERIVED] * 6 + [PLAIN] * 2
    assert [trial.promotes for trial in trials] == [None] * 8 + [5, 4, 3, 2, 7, 6]
    assert [trial.origin for trial in trials[8:]] == [DERIVED] * 4 + [PLAIN] * 2
    # Three epochs from new weights, whatever the first rung's network was.
    assert trials[8].accuracy == pytest.approx(0.5 + 0.05 * 6 - 0.02 + 3e-3)
    assert all(trial.rung == (trial.promotes is not None) for trial in trials)


def test_two_workers_lose_and_double_nothing(tmp_path: Path, two_workers: WorkerPool) -> None:
    setup = _setup(ToySpace(depths=(1, 2)), limits=Limits(trials=12), prune_above=100.0)
    deaths = _run_with_deaths(tmp_path, setup, two_workers, "random", 29)
    with _study(tmp_path, setup) as study:
        trials = records(study)
    assert deaths >= 2
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} == {"complete"}
    assert len({trial.architecture for trial in trials}) == 12
    assert all(trial.seed == trial_seed(3, trial.number) for trial in trials)
