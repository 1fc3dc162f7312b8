"""Worker processes: jobs that run beside the driver, one thread each, and may die without taking it along."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO

import cloudpickle

from archfit.errors import RunError
from archfit.study.executor import Event, Job
from archfit.study.fork_server import ForkedProcess, ForkServer, fork_server
from archfit.study.forking import Settings

# -P: a file in the current folder that is named like a library must not be taken for it.
_PYTHON = (sys.executable, "-P")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass
class _Worker:
    process: subprocess.Popen[bytes] | ForkedProcess
    connection: Connection
    lifeline: int
    key: int | None = None
    started: float = 0.0
    paused: float = 0.0
    ready: bool = False


class WorkerPool:
    """Runs jobs in processes of one thread each.

    A process is started when a job needs it and kept for the next one. It dies with the driver, however that ends. On
    Linux it is forked from a process that has imported what is needed, and that stays for the next pool.

    Args:
        make_context: Called once in each process; its value goes to every job. Sent by cloudpickle, so that objects
            defined in a script or notebook travel too.
        size: Processes at most.
        log: File that takes what the processes print.
        preload: Modules that `make_context` or the jobs import, and that take long.
    """

    def __init__(
        self, make_context: Callable[[], Any], size: int, log: Path | None = None, preload: Sequence[str] = ()
    ) -> None:
        self.size = size
        self._preload = tuple(preload)
        self._context = cloudpickle.dumps(make_context)
        self._log = log
        self._server: ForkServer | None = None
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> int:
        return sum(worker.key is not None for worker in self._workers)

    @property
    def free(self) -> int:
        return self.size - self.busy

    def warm_up(self) -> None:
        """Has imports run while the driver still does something else."""
        with self._open_log() as log:
            if self._fork_server(log) is not None:
                return
        while len(self._workers) < self.size:
            self._start()

    def submit(self, key: int, job: Job) -> None:
        """Starts `job` in a free process; `key` comes back in its events."""
        worker = next((worker for worker in self._workers if worker.key is None), None) or self._start()
        worker.key, worker.started, worker.paused = key, time.monotonic(), 0.0
        try:
            worker.connection.send_bytes(cloudpickle.dumps(job))
        except OSError:
            # It died while idle: a fresh one takes the job; one that fails at once is reported as lost.
            self._drop(worker)
            worker = self._start()
            worker.key, worker.started = key, time.monotonic()
            with contextlib.suppress(OSError):
                worker.connection.send_bytes(cloudpickle.dumps(job))

    def events(self, timeout: float) -> Iterator[Event]:
        """What the workers said within `timeout` seconds; returns as soon as there is something."""
        connections = {worker.connection: worker for worker in self._workers}
        if not connections:
            time.sleep(timeout)
            return
        for connection in wait(list(connections), timeout):
            worker = connections[connection]  # type: ignore[index]
            if worker not in self._workers:  # cancelled by who was told of an event before
                continue
            try:
                kind, value = cloudpickle.loads(worker.connection.recv_bytes())
            except (EOFError, OSError):
                key, seconds = worker.key, self._seconds(worker)
                # Its pipe closes seconds before a process that has imported torch has ended.
                code = self._drop(worker, patience=10.0)
                if not worker.ready and code >= 0:
                    # Not the job's fault: the next process would end in the same way.
                    raise self._no_start(_reason(code)) from None
                if key is not None:
                    yield Event(key, "lost", _reason(code), seconds)
                continue
            if kind == "unusable":
                raise self._no_start(value)
            if kind == "ready":
                worker.ready = True
                # Start-up is not training time.
                worker.started, worker.paused = time.monotonic(), 0.0
                continue
            assert worker.key is not None
            event = Event(worker.key, kind, value, self._seconds(worker))
            if kind != "progress":
                worker.key = None
            yield event

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Runs them all, as processes come free; keys are their places. Ends when the last one has."""
        waiting = deque(enumerate(jobs))
        while waiting or self.busy:
            while waiting and self.free:
                self.submit(*waiting.popleft())
            yield from self.events(0.5)

    def seconds(self, key: int) -> float:
        """How long a job has been running, without the start of its process and without pauses."""
        return max(
            (self._seconds(worker) for worker in self._workers if worker.key == key and worker.ready), default=0.0
        )

    def cancel(self, key: int) -> None:
        """Kills the process of a job, which is answered by no event; the next job gets a new one."""
        for worker in [worker for worker in self._workers if worker.key == key]:
            self._drop(worker)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops every process while the block runs, so that what is timed in it has the cores to itself."""
        start = time.monotonic()
        if self._server is not None:
            self._server.signal(signal.SIGSTOP)  # before the others: it may be about to fork one
        stopped = [worker for worker in self._workers if self._signal(worker, signal.SIGSTOP)]
        try:
            yield
        finally:
            for worker in stopped:
                self._signal(worker, signal.SIGCONT)
                worker.paused += time.monotonic() - start
            if self._server is not None:
                self._server.signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends all processes at once; jobs that run are lost without an event."""
        while self._workers:
            self._drop(self._workers[0])

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seconds(self, worker: _Worker) -> float:
        return time.monotonic() - worker.started - worker.paused

    def _signal(self, worker: _Worker, number: int) -> bool:
        pid = worker.process.pid
        if worker.process.poll() is not None or pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):  # it has ended just now
            os.killpg(pid, number)  # with it what it started: decoders of image files
        return True

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        lifeline_read, lifeline_write = os.pipe()
        process: subprocess.Popen[bytes] | ForkedProcess
        opening = [self._context]
        with self._open_log() as log:
            if (server := self._fork_server(log)) is not None:
                process = server.fork(theirs.fileno(), lifeline_read, log.fileno())
                opening.insert(0, Settings(_environment(), str(Path.cwd()), _import_path()).to_bytes())
            else:
                process = subprocess.Popen(
                    [*_PYTHON, "-m", "archfit.study.worker", str(theirs.fileno()), str(lifeline_read)],
                    pass_fds=(theirs.fileno(), lifeline_read),
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    process_group=0,  # Ctrl-C is the driver's alone
                )
        theirs.close()
        os.close(lifeline_read)
        worker = _Worker(process, ours, lifeline_write)
        self._workers.append(worker)
        with contextlib.suppress(OSError):  # it is gone already, which `events` finds out
            for content in opening:
                ours.send_bytes(content)
        return worker

    def _fork_server(self, log: BinaryIO) -> ForkServer | None:
        """It imports what this pool needs as soon as the pool first asks for it."""
        server = fork_server(_PYTHON, _environment(), log)
        if server is not None and server is not self._server:
            server.preload(self._preload)
            self._server = server
        return server

    def _open_log(self) -> BinaryIO:
        return (self._log or Path(os.devnull)).open("ab")

    def _no_start(self, reason: str) -> RunError:
        where = f"; see {self._log}" if self._log else ""
        return RunError(f"a worker process could not start ({reason}){where}")

    def _drop(self, worker: _Worker, *, patience: float = 0.0) -> int:
        """Gives a process `patience` seconds to end by itself, kills it if it has not, and gives its exit code."""
        self._workers.remove(worker)
        try:
            code = worker.process.wait(patience)
        except subprocess.TimeoutExpired:
            self._signal(worker, signal.SIGKILL)
            # One that is not there yet ends by itself as soon as it is.
            code = -signal.SIGKILL if worker.process.pid is None else worker.process.wait()
        worker.connection.close()
        os.close(worker.lifeline)
        return code


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    """Of a worker: the driver's but for the threads."""
    return {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONPATH": os.pathsep.join(_import_path())}


def _import_path() -> list[str]:
    """The driver's, so that a module beside a script is found by its workers too."""
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - "" is the current folder
