from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from archfit.errors import RunError
from archfit.study.workers import Event, WorkerPool

# The processes cannot import this module: what they need of it travels with the job.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

Report = Callable[[Any], None]


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(lambda: {"answer": 42}, size=2) as pool:
        pool.warm_up()
        yield pool


def _events(pool: WorkerPool, *keys: int, seconds: float = 60.0) -> list[Event]:
    """All events until each of these jobs has ended."""
    events: list[Event] = []
    waiting = set(keys)
    deadline = time.monotonic() + seconds
    while waiting:
        assert time.monotonic() < deadline, f"jobs {waiting} did not end; seen: {events}"
        for event in pool.events(0.1):
            events.append(event)
            if event.kind != "progress":
                waiting.discard(event.key)
    return events


def _echo(value: Any, context: dict[str, int], report: Report) -> tuple[Any, int]:
    report("half way")
    return value, context["answer"]


def _fail(context: object, report: Report) -> None:
    raise ValueError("no such thing")


def _exit(context: object, report: Report) -> None:
    os._exit(3)


def _kill(context: object, report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _unsendable(context: object, report: Report) -> Any:
    return threading.Lock()


def _count(file: Path, ticks: int, context: object, report: Report) -> int:
    """Counts in a file, a tick every 10 ms."""
    for tick in range(ticks):
        file.write_text(str(tick))
        if tick == 0:
            report(os.getpid())
        time.sleep(0.01)
    return ticks


def _environment(context: object, report: Report) -> tuple[int, str | None, list[str]]:
    import torch

    return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), sys.path


def test_a_job_gets_the_context_and_answers(pool: WorkerPool) -> None:
    pool.submit(7, partial(_echo, "value"))
    assert (pool.busy, pool.free) == (1, 1)
    progress, done = _events(pool, 7)
    assert (progress.key, progress.kind, progress.value) == (7, "progress", "half way")
    assert (done.key, done.kind, done.value) == (7, "done", ("value", 42))
    assert 0 <= done.seconds < 60
    assert (pool.busy, pool.free) == (0, 2)


def test_each_process_has_one_thread_and_the_path_of_the_driver(pool: WorkerPool) -> None:
    pool.submit(1, _environment)
    threads, variable, path = _events(pool, 1)[-1].value
    assert (threads, variable) == (1, "1")
    assert {str(Path(entry).absolute()) for entry in sys.path} <= set(path)


def test_a_job_that_raises_has_failed(pool: WorkerPool) -> None:
    pool.submit(1, _fail)
    event = _events(pool, 1)[-1]
    assert (event.kind, event.value) == ("failed", "ValueError: no such thing")
    pool.submit(2, partial(_echo, "after"))
    assert _events(pool, 2)[-1].value == ("after", 42)


def test_a_result_that_cannot_be_sent_has_failed(pool: WorkerPool) -> None:
    pool.submit(1, _unsendable)
    event = _events(pool, 1)[-1]
    assert event.kind == "failed"
    assert event.value.startswith("TypeError: ")


@pytest.mark.parametrize(("job", "reason"), [(_exit, "exit code 3"), (_kill, "killed by SIGKILL")])
def test_a_job_that_kills_its_process_is_lost_alone(pool: WorkerPool, job: Any, reason: str) -> None:
    pool.submit(1, job)
    pool.submit(2, partial(_echo, "beside"))
    ends = {event.key: event for event in _events(pool, 1, 2) if event.kind != "progress"}
    assert (ends[1].kind, ends[1].value) == ("lost", reason)
    assert (ends[2].kind, ends[2].value) == ("done", ("beside", 42))
    assert pool.free == 2
    pool.submit(3, partial(_echo, "a"))
    pool.submit(4, partial(_echo, "b"))
    after = {event.key: event.value for event in _events(pool, 3, 4) if event.kind == "done"}
    assert after == {3: ("a", 42), 4: ("b", 42)}


def test_one_that_is_cancelled_between_two_events_is_heard_of_no_more(pool: WorkerPool) -> None:
    for key in (1, 2):
        pool.submit(key, partial(_echo, "up"))
    _events(pool, 1, 2)
    for key in (3, 4):
        pool.submit(key, partial(_echo, "there"))
    time.sleep(0.5)  # both have answered
    events = pool.events(1.0)
    first = next(events)
    pool.cancel(7 - first.key)
    assert {event.key for event in events} <= {first.key}
    pool.submit(5, partial(_echo, "after"))
    assert _events(pool, 5)[-1].value == ("after", 42)


def test_pauses_stop_the_work_and_are_not_counted(pool: WorkerPool, tmp_path: Path) -> None:
    # Both processes are up, so that neither start-up is in the times.
    pool.submit(1, partial(_echo, ""))
    pool.submit(2, partial(_echo, ""))
    _events(pool, 1, 2)
    files = [tmp_path / "0", tmp_path / "1"]
    start = time.monotonic()
    for key, file in enumerate(files):
        pool.submit(key, partial(_count, file, 30))
    begun: set[int] = set()
    while len(begun) < 2:
        begun |= {event.key for event in pool.events(0.1)}
    with pool.paused():
        time.sleep(0.05)  # a signal needs a moment to arrive
        before = [file.read_text() for file in files]
        time.sleep(0.7)
        assert [file.read_text() for file in files] == before
    ends = _events(pool, 0, 1)
    wall = time.monotonic() - start
    assert [event.value for event in ends] == [30, 30]
    assert all(int(text) < 29 for text in before)
    for event in ends:
        # 30 ticks of 10 ms at least; the 0.75 s of the pause are left out.
        assert 0.29 <= event.seconds <= wall - 0.7


def test_a_process_that_died_idle_is_replaced() -> None:
    with WorkerPool(lambda: {"answer": 1}, size=1) as pool:
        pool.submit(1, partial(_echo, "first"))
        _events(pool, 1)
        process = pool._workers[0].process
        process.kill()
        process.wait()
        pool.submit(2, partial(_echo, "second"))
        assert _events(pool, 2)[-1].value == ("second", 1)


def _no_context() -> None:
    raise OSError("the dataset is gone")


def test_a_context_that_fails_ends_the_search(tmp_path: Path) -> None:
    with WorkerPool(_no_context, size=1, log=tmp_path / "workers.log") as pool:
        pool.submit(1, partial(_echo, ""))
        with pytest.raises(RunError, match=r"could not start \(OSError: the dataset is gone\); see .*workers\.log"):
            _events(pool, 1)
    assert "the dataset is gone" in (tmp_path / "workers.log").read_text()


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # One whose parent died may wait to be reaped.
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


_DRIVER = """
import os, sys, time
from pathlib import Path
from archfit.study.workers import WorkerPool

def job(context, report):
    report(os.getpid())
    time.sleep(60)

if __name__ == "__main__":
    pool = WorkerPool(lambda: None, size=1)
    pool.submit(0, job)
    pids = []
    while not pids:
        pids = [event.value for event in pool.events(1.0)]
    if sys.argv[1] == "paused":
        with pool.paused():
            print(pids[0], flush=True)
            time.sleep(60)
    print(pids[0], flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("state", ["running", "paused"])
def test_processes_die_with_a_driver_that_is_killed(tmp_path: Path, state: str) -> None:
    script = tmp_path / "driver.py"
    script.write_text(_DRIVER)
    driver = subprocess.Popen([sys.executable, str(script), state], stdout=subprocess.PIPE)
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    assert not _ended(pid)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 10
    while not _ended(pid):
        assert time.monotonic() < deadline, f"process {pid} outlived its driver"
        time.sleep(0.05)


def test_close_ends_what_runs(tmp_path: Path) -> None:
    pool = WorkerPool(lambda: None, size=1)
    pool.submit(0, partial(_count, tmp_path / "count", 6000))
    pids: list[int] = []
    while not pids:
        pids = [event.value for event in pool.events(1.0)]
    pool.close()
    assert _ended(pids[0])
    assert pool.free == 1
