"""What a worker that is forked shares with no other process, and what happens to it when its server ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from archfit.errors import RunError
from archfit.study import workers
from archfit.study.fork_server import ForkServer
from archfit.study.workers import Event, WorkerPool

# The processes cannot import this module: what they need of it travels with the job.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")

Report = Callable[[Any], None]


def _answers(pool: WorkerPool, *jobs: Callable[[Any, Report], Any]) -> list[Any]:
    """What each job returned, or why it did not."""
    return [event.value for event in sorted(_ends(pool, *jobs), key=lambda event: event.key)]


def _ends(pool: WorkerPool, *jobs: Callable[[Any, Report], Any]) -> list[Event]:
    return [event for event in pool.run(jobs) if event.kind != "progress"]


def _parents(context: object, report: Report) -> tuple[int, int]:
    return os.getpid(), os.getppid()


def _surroundings(context: object, report: Report) -> tuple[str, str | None, list[str], int]:
    return str(Path.cwd()), os.environ.get("COLOUR"), sys.path, _sockets()


def _sockets() -> int:
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the folder itself
            found += "socket" in str(descriptor.readlink())
    return found


def _drawn(context: object, report: Report) -> tuple[float, float]:
    import random

    import numpy as np

    time.sleep(0.2)  # so that the other process gets the other job
    return random.random(), float(np.random.random())  # noqa: NPY002 - the global one is what is asked about


def _loaded(names: tuple[str, ...], context: object, report: Report) -> dict[str, bool]:
    return {name: name in sys.modules for name in names}


def test_workers_are_forks_of_one_process_that_pools_share() -> None:
    seen = set()
    for _ in range(2):
        with WorkerPool(lambda: None, 2) as pool:
            found = _answers(pool, _parents, _parents)
        seen |= {parent for _, parent in found}
    assert len(seen) == 1
    assert os.getpid() not in seen


def test_a_fork_has_the_drivers_surroundings_of_when_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WorkerPool(lambda: None, 1) as pool:
        assert _answers(pool, _surroundings)[0][:2] == (str(Path.cwd()), None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLOUR", "green")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    with WorkerPool(lambda: None, 1) as pool:
        folder, colour, path, sockets = _answers(pool, _surroundings)[0]
    assert (folder, colour) == (str(tmp_path), "green")
    assert str(tmp_path / "modules") in path
    assert sockets == 1  # to the driver; none of the server's


def test_forks_draw_different_numbers() -> None:
    with WorkerPool(lambda: None, 2) as pool:
        (first, first_of_numpy), (second, second_of_numpy) = _answers(pool, _drawn, _drawn)
    assert first != second
    assert first_of_numpy != second_of_numpy


def test_what_is_to_be_preloaded_is_there() -> None:
    names = ("torch", "wave", "no_such_module")
    with WorkerPool(lambda: None, 1) as pool:
        assert _answers(pool, partial(_loaded, names)) == [{"torch": True, "wave": False, "no_such_module": False}]
    with WorkerPool(lambda: None, 1, preload=("wave", "no_such_module")) as pool:
        pool.warm_up()
        assert _answers(pool, partial(_loaded, names)) == [{"torch": True, "wave": True, "no_such_module": False}]


def test_its_forks_end_with_a_server_and_the_next_job_gets_another() -> None:
    with WorkerPool(lambda: None, 2) as pool:
        parent = _answers(pool, _parents)[0][1]
        pool.submit(0, lambda context, report: time.sleep(60))
        pool.submit(1, lambda context, report: time.sleep(60))
        time.sleep(0.2)
        os.kill(parent, signal.SIGKILL)
        lost = []
        while len(lost) < 2:
            lost += [(event.kind, event.value) for event in pool.events(1.0)]
        assert lost == [("lost", "killed by SIGKILL")] * 2
        assert _answers(pool, _parents)[0][1] != parent


def test_a_pool_that_is_closed_before_its_process_is_there_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[ForkServer] = []

    def slow(*arguments: Any) -> ForkServer:
        servers.append(ForkServer(*arguments))
        return servers[0]

    monkeypatch.setattr(workers, "fork_server", slow)
    with WorkerPool(lambda: None, 1) as pool:
        pool.submit(0, _parents)  # while the server still imports torch
        start = time.monotonic()
    assert time.monotonic() - start < 1.0
    children = Path(f"/proc/{servers[0].process.pid}/task/{servers[0].process.pid}/children")
    deadline = time.monotonic() + 30
    while children.read_text() or time.monotonic() < start + 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    servers[0].close()


def test_a_server_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "fork_server", ForkServer)
    monkeypatch.setattr(workers, "_PYTHON", (sys.executable, "--no-such-option"))
    with (
        WorkerPool(lambda: None, 1, log=tmp_path / "workers.log") as pool,
        pytest.raises(RunError, match=r"could not start \(exit code 2\); see .*workers\.log"),
    ):
        _answers(pool, _parents)
    assert "no-such-option" in (tmp_path / "workers.log").read_text()


def test_each_thread_has_a_server_of_its_own() -> None:
    def answer(found: list[int]) -> None:
        with WorkerPool(lambda: None, 1) as pool:
            found.append(_answers(pool, _parents)[0][1])

    found: list[int] = []
    answer(found)
    thread = threading.Thread(target=answer, args=(found,))
    thread.start()
    thread.join()
    answer(found)
    assert found[0] == found[2] != found[1]


def test_without_a_server_a_process_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "fork_server", lambda *_: None)
    with WorkerPool(lambda: None, 1) as pool:
        pool.warm_up()
        assert _answers(pool, _parents)[0][1] == os.getpid()
        lost = _ends(pool, lambda context, report: os._exit(3))
    assert [(event.kind, event.value) for event in lost] == [("lost", "exit code 3")]
