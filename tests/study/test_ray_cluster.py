"""Jobs on a real Ray cluster of several raylets, whose processes and nodes are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from study_toy import DATA, TASK, ToyEvaluator, ToySpace, measure

from archfit.cost import Budget
from archfit.reward import absolute
from archfit.samplers import make_sampler
from archfit.study.candidates import WorkerContext
from archfit.study.executor import Event
from archfit.study.limits import Limits
from archfit.study.ray_cluster import RETRIES, RayCluster
from archfit.study.search import TrialSearch
from archfit.study.setup import SearchSetup
from archfit.study.storage import close_study, open_study, records

# The cluster's processes cannot import this module: its jobs travel whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head without cores, and two nodes of one core."""
    from ray.cluster_utils import Cluster

    # A silent node is called dead after seconds, not half a minute.
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": health}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes: Any) -> Iterator[RayCluster]:
    with RayCluster(lambda: WorkerContext(DATA), address=nodes.address) as cluster:
        yield cluster


def _events(cluster: RayCluster, keys: Sequence[int], seconds: float = 90.0) -> list[Event]:
    """All up to the last answer."""
    events: list[Event] = []
    left, deadline = set(keys), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        for event in cluster.events(0.2):
            events.append(event)
            if event.kind != "progress":
                left.discard(event.key)
    assert not left, "not answered in time"
    return events


def _answers(cluster: RayCluster, jobs: Sequence[Callable[..., Any]]) -> dict[int, Event]:
    for key, job in enumerate(jobs):
        cluster.submit(key, job)
    return {event.key: event for event in _events(cluster, range(len(jobs))) if event.kind != "progress"}


def _where(context: WorkerContext, report: Callable[[Any], None]) -> tuple[str, int, int]:
    import ray

    time.sleep(1.0)
    return ray.get_runtime_context().get_node_id(), id(context), len(context.data.train)


def _raises(context: WorkerContext, report: Callable[[Any], None]) -> None:
    raise ValueError("no such thing")


def _dies(times: int, diary: Path, context: WorkerContext, report: Callable[[Any], None]) -> str:
    with diary.open("a") as file:
        file.write("x")
    if len(diary.read_text()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def _counts(diary: Path, seconds: float, context: WorkerContext, report: Callable[[Any], None]) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with diary.open("a") as file:
            file.write("x")
        report(0.5)
        time.sleep(0.02)
    return "counted"


def test_jobs_are_spread_over_the_nodes(cluster: RayCluster) -> None:
    assert (cluster.size, cluster.free) == (2, 2)
    answers = _answers(cluster, [_where] * 4)
    assert {event.kind for event in answers.values()} == {"done"}
    assert len({event.value[0] for event in answers.values()}) == 2
    assert {event.value[2] for event in answers.values()} == {len(DATA.train)}
    # A process keeps the context that it has made.
    assert len({event.value[:2] for event in answers.values()}) == 2
    assert cluster.free == 2


def test_progress_is_told(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.submit(7, partial(_counts, tmp_path / "diary", 2.0))
    events = _events(cluster, [7])
    assert (events[-1].kind, events[-1].value) == ("done", "counted")
    assert events[-1].seconds == pytest.approx(2.0, abs=0.5)
    assert {(event.key, event.value) for event in events[:-1]} == {(7, 0.5)}


def test_a_job_that_raises_has_failed(cluster: RayCluster) -> None:
    event = _answers(cluster, [_raises])[0]
    assert (event.kind, event.value) == ("failed", "ValueError: no such thing")


def test_a_job_whose_process_dies_is_begun_anew(cluster: RayCluster, tmp_path: Path) -> None:
    event = _answers(cluster, [partial(_dies, RETRIES, tmp_path / "diary")])[0]
    assert (event.kind, event.value) == ("done", "alive")
    assert len((tmp_path / "diary").read_text()) == RETRIES + 1


def test_a_job_that_kills_its_process_each_time_is_lost(cluster: RayCluster, tmp_path: Path) -> None:
    event = _answers(cluster, [partial(_dies, 99, tmp_path / "diary")])[0]
    assert event.kind == "lost"
    assert "2 times more after the first" in event.value
    assert len((tmp_path / "diary").read_text()) == RETRIES + 1


def test_a_job_whose_node_dies_is_begun_anew_on_another(nodes: Any, cluster: RayCluster, tmp_path: Path) -> None:
    extra = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    _until(lambda: cluster.size == 3)
    for key in range(3):
        cluster.submit(key, partial(_counts, tmp_path / str(key), 4.0))
    _until(lambda: all((tmp_path / str(key)).exists() for key in range(3)))
    nodes.remove_node(extra, allow_graceful=False)
    events = [event for event in _events(cluster, range(3)) if event.kind != "progress"]
    assert {(event.key, event.kind) for event in events} == {(key, "done") for key in range(3)}
    _until(lambda: cluster.size == 2)  # the head takes a while to call a silent node dead


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_runs_on_this_machine_can_be_paused(cluster: RayCluster, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    cluster.submit(0, partial(_counts, diary, 4.0))
    while not diary.exists():
        time.sleep(0.05)
    time.sleep(0.3)
    with cluster.paused():
        time.sleep(0.1)
        before = diary.stat().st_size
        time.sleep(0.8)
        assert diary.stat().st_size == before
    time.sleep(0.4)
    assert diary.stat().st_size > before
    assert _events(cluster, [0])[-1].kind == "done"


def test_a_job_can_be_ended(cluster: RayCluster, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    cluster.submit(5, partial(_counts, diary, 60.0))
    _until(diary.exists)
    cluster.cancel(5)
    assert cluster.free == 2
    time.sleep(1.0)
    before = diary.stat().st_size
    time.sleep(0.5)
    assert diary.stat().st_size == before
    assert _answers(cluster, [_where])[0].kind == "done"


def test_a_search_on_a_cluster_whose_processes_are_killed(cluster: RayCluster, tmp_path: Path) -> None:
    setup = SearchSetup(
        space=ToySpace(),
        task=TASK,
        budget=Budget(params=40),
        reward=absolute,
        chance=0.5,
        limits=Limits(trials=12),
        prune_above=1.5,
        seed=3,
        evaluator=ToyEvaluator(),
    )
    path = tmp_path / "study.journal"
    study = open_study(path, make_sampler("random", choices=setup.space.choices, seed=3))
    killed = []

    def kill(status: Any) -> None:
        """A process that trains, after every third trial."""
        if status.running and len(status.trials) // 3 > len(killed):
            import ray

            desk = cluster._desk
            for process in ray.get(desk.working.remote()).values():
                killed.append(process.pid)
                with contextlib.suppress(ProcessLookupError):  # of a job that has ended meanwhile
                    os.kill(process.pid, signal.SIGKILL)
                break

    stopped = TrialSearch(study, setup, cluster, measure, on_status=kill).run()
    trials = records(study)
    close_study(study)
    assert stopped == "12 trials"
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} <= {"complete", "pruned"}
