"""Studies in a real PostgreSQL, and several drivers on one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest
from study_postgresql import reason_without, server
from study_toy import DATA, TASK, ToyEvaluator, ToySpace, measure

from archfit.cost import Budget
from archfit.errors import InputError, RunError
from archfit.reward import absolute
from archfit.samplers import make_sampler
from archfit.study import search
from archfit.study.candidates import training_pool
from archfit.study.limits import Limits
from archfit.study.record import TrialRecord
from archfit.study.search import TrialSearch
from archfit.study.setup import SearchSetup
from archfit.study.storage import Database, check_storage, close_study, holds_trials, open_study, records
from archfit.study.workers import WorkerPool

pytest.importorskip("psycopg", reason="needs the extra postgresql")
# The engine of an attempt that another driver was ahead of is left to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
needs_server = pytest.mark.skipif(reason_without() is not None, reason=str(reason_without()))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as url:
        yield url


def _setup(**changes: Any) -> SearchSetup:
    settings: dict[str, Any] = {
        "space": ToySpace(),
        "task": TASK,
        "budget": Budget(params=10**6),
        "reward": absolute,
        "chance": 0.5,
        "limits": Limits(trials=14),
        "prune_above": 1.5,
        "seed": 3,
        "evaluator": ToyEvaluator(),
    }
    return SearchSetup(**{**settings, **changes})


def _drive(place: Database, name: str, setup: SearchSetup, pool: WorkerPool, seed: int = 3) -> None:
    study = open_study(place, make_sampler("random", choices=setup.space.choices, seed=seed))
    TrialSearch(study, setup, pool, measure, on_status=lambda status: None, driver=name).run()
    close_study(study)


def _trials(place: Database) -> list[TrialRecord]:
    study = open_study(place)
    trials = records(study)
    close_study(study)
    return trials


def _trained(trials: list[TrialRecord]) -> Counter[Any]:
    return Counter(t.architecture for t in trials if t.state == "complete" and t.repeat_of is None)


@needs_server
def test_a_search_in_a_database(url: str, one_worker: WorkerPool) -> None:
    place = Database(url, "alone")
    assert not holds_trials(place)
    _drive(place, "a", _setup(), one_worker)
    assert holds_trials(place)
    trials = _trials(place)
    assert [trial.number for trial in trials] == list(range(14))
    assert {trial.state for trial in trials} == {"complete"}
    assert not holds_trials(Database(url, "another"))


@needs_server
@pytest.mark.slow
def test_two_drivers_do_not_train_a_network_twice(url: str) -> None:
    """With the same seed both propose the same ones, at nearly the same time."""
    place = Database(url, "two")
    setup = _setup(limits=Limits(trials=30))
    errors: list[BaseException] = []

    def drive(name: str) -> None:
        try:
            with training_pool(DATA, 1) as pool:
                _drive(place, name, setup, pool)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=drive, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    trials = _trials(place)
    assert len(_trained(trials)) == 18  # the whole space, and no more trials than there were proposals at once
    assert 18 <= len(trials) <= 30
    assert {trial.state for trial in trials} <= {"complete", "failed"}
    assert max(_trained(trials).values()) == 1
    refused = [trial.reason for trial in trials if trial.state == "failed"]
    assert all(reason is not None and reason.endswith("of another driver has this network") for reason in refused)
    study = open_study(place)
    assert {trial.user_attrs["driver"] for trial in study.trials} == {"a", "b"}
    close_study(study)


DRIVER = """
import sys
import cloudpickle
place, setup, measure, make_pool, name = cloudpickle.loads(sys.stdin.buffer.read())
from archfit.samplers import make_sampler
from archfit.study.search import TrialSearch
from archfit.study.storage import open_study
study = open_study(place, make_sampler("random", choices=setup.space.choices, seed=5))
with make_pool() as pool:
    TrialSearch(study, setup, pool, measure, on_status=lambda status: None, driver=name).run()
"""


@needs_server
@pytest.mark.slow
def test_a_driver_that_dies_leaves_its_trials_to_itself(
    url: str, one_worker: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_PATIENCE_S", 0.5)
    place = Database(url, "dies")
    setup = _setup(limits=Limits(trials=16))
    content = cloudpickle.dumps((place, setup, measure, lambda: training_pool(DATA, 1), "b"))
    process = subprocess.Popen([sys.executable, "-c", DRIVER], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(content)
    process.stdin.close()
    deadline = time.monotonic() + 60
    while sum(trial.state == "complete" for trial in _trials(place)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = _trials(place)
    _drive(place, "a", setup, one_worker)
    middle = _trials(place)
    ended = {trial.number: trial for trial in before if trial.state == "complete"}
    assert all(middle[number] == trial for number, trial in ended.items())
    time.sleep(0.6)
    _drive(place, "b", setup, one_worker)  # as a resume of its run does
    trials = _trials(place)
    # One that it asked for and had no time to name its own is nobody's.
    abandoned = [trial for trial in trials if trial.reason == "its driver died as it asked for it"]
    assert len(trials) == 16 + len(abandoned)
    assert len(abandoned) <= 1
    assert not [trial for trial in trials if trial.state == "running"]
    assert max(_trained(trials).values()) == 1
    assert all(trials[number] == trial for number, trial in ended.items())


@needs_server
def test_a_server_that_does_not_answer(url: str) -> None:
    closed = url.rpartition(":")[0] + ":1/postgres"
    with pytest.raises(RunError, match=r"cannot be opened as a study .*see that the database runs"):
        open_study(Database(closed, "x"))
    with pytest.raises(RunError, match=r"database \"none\" does not exist"):
        open_study(Database(url.replace("/postgres", "/none"), "x"))


def test_a_password_is_not_taken() -> None:
    with pytest.raises(InputError, match=r"storage has a password.*~/\.pgpass"):
        check_storage("postgresql://me:secret@host/db")
    check_storage("postgresql://me@host/db")


def test_unknown_storage() -> None:
    with pytest.raises(InputError, match="journal"):
        check_storage("jornal")
    with pytest.raises(InputError, match="postgresql://user@host/database"):
        check_storage("mysql://me@host/db")
