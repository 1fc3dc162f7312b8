"""Jobs on a Ray cluster, each a task that may run on any of its nodes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from archfit.device import ClusterDevice
from archfit.errors import InputError
from archfit.study.executor import Event, Job

RETRIES = 2
"""Times that a job is begun anew, on another node perhaps, when its process or node has died."""

_LOOPBACK = ("127.0.0.1", "::1")
_TELL_S = 0.5
_SIZE_S = 2.0


@dataclass(frozen=True)
class Share:
    """What one trial gets of a cluster.

    Attributes:
        cpus: Cores, which are also its threads; a fraction shares a core.
        gpus: GPUs; a fraction shares one.
    """

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass
class _Running:
    key: int
    submitted: float
    begun: float | None = None


@dataclass(frozen=True)
class _Process:
    """One that works on a job: `started` tells it from a later one with its number."""

    host: str
    pid: int
    started: str


class RayCluster:
    """An `Executor` of the tasks of a Ray cluster.

    The context is put into Ray's object store once; each node fetches it once. A job whose process or node dies is
    begun anew `RETRIES` times, then lost. Nodes may join and leave at any time.

    Args:
        make_context: Called once in each process; its value goes to every job.
        address: Of the cluster, as "auto" or "10.0.0.1:6379"; None starts one on this machine that only it can reach.
        share: Of each job.
        local_cpus: Cores of the cluster that is started here.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address, or no node has that much.
    """

    def __init__(
        self,
        make_context: Callable[[], Any],
        *,
        address: str | None = None,
        share: Share = Share(),
        local_cpus: int = 1,
    ) -> None:
        self._ray = connect(address, local_cpus)
        self._share = share
        self._running: dict[Any, _Running] = {}
        self._size, self._counted = 0, -_SIZE_S
        try:
            self._check_share()
            self._context = self._ray.put(cloudpickle.dumps(make_context))
            node = self._ray.get_runtime_context().get_node_id()
            here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            self._desk = self._ray.remote(_Desk).options(num_cpus=0, scheduling_strategy=here).remote()
            options = {"num_cpus": share.cpus, "num_gpus": share.gpus, "max_retries": RETRIES}
            self._task = self._ray.remote(_work).options(**options, scheduling_strategy="SPREAD")
        except BaseException:
            self._ray.shutdown()
            raise

    @property
    def size(self) -> int:
        """Jobs that fit at a time, by the nodes that are there now."""
        if time.monotonic() - self._counted > _SIZE_S:
            self._size, self._counted = sum(self._fitting(node) for node in self._nodes()), time.monotonic()
        return self._size

    def device(self) -> ClusterDevice | None:
        """The nodes that are marked as the device, if there are any."""
        return ClusterDevice.found(self._ray)

    @property
    def free(self) -> int:
        return max(0, self.size - len(self._running))

    def submit(self, key: int, job: Job) -> None:
        """Queues a job; `key` comes back in its events."""
        threads = max(1, int(self._share.cpus))
        reference = self._task.remote(cloudpickle.dumps(job), [self._context], self._desk, key, threads)
        self._running[reference] = _Running(key, time.monotonic())

    def events(self, timeout: float) -> Iterator[Event]:
        """What was heard within `timeout` seconds; returns as soon as a job has ended."""
        if not self._running:
            time.sleep(timeout)
            return
        waiting = list(self._running)
        ended, _ = self._ray.wait(waiting, num_returns=1, timeout=timeout)
        if ended:
            ended, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        told, working = self._asked(self._desk.news.remote(), self._desk.working.remote())
        for running in self._running.values():
            if running.begun is None and running.key in working:
                running.begun = time.monotonic()
            if running.key in told:
                yield Event(running.key, "progress", told[running.key], time.monotonic() - running.submitted)
        for reference in ended:
            running = self._running.pop(reference)
            yield self._answer(reference, running)

    def seconds(self, key: int) -> float:
        """How long a job has been running, by when it was heard of; that of one begun anew is from its first begin."""
        now = time.monotonic()
        return max((now - each.begun for each in self._running.values() if each.key == key and each.begun), default=0.0)

    def cancel(self, key: int) -> None:
        """Ends a job and its process; it is answered by no event."""
        for reference in [reference for reference, running in self._running.items() if running.key == key]:
            del self._running[reference]
            self._ray.cancel(reference, force=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the tasks that run on this machine; those of other machines go on."""
        (processes,) = self._asked(self._desk.working.remote())
        stopped = [process for process in processes.values() if _signal(process, signal.SIGSTOP)]
        try:
            yield
        finally:
            for process in stopped:
                _signal(process, signal.SIGCONT)

    def close(self) -> None:
        """Ends what runs, without an event, and leaves the cluster; one that was started here ends with it."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, reference: Any, running: _Running) -> Event:
        try:
            kind, value, seconds = cloudpickle.loads(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            reason = (
                f"{str(error).strip().splitlines()[0]} ({type(error).__name__}), {RETRIES} times more after the first"
            )
            return Event(running.key, "lost", reason, time.monotonic() - running.submitted)
        return Event(running.key, kind, value, seconds)

    def _asked(self, *references: Any) -> list[dict[int, Any]]:
        """What the desk knows by key; nothing where it does not answer: a search goes on without its picture."""
        try:
            return list(self._ray.get(list(references), timeout=10))
        except self._ray.exceptions.RayError:
            return [{} for _ in references]

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _fitting(self, resources: Mapping[str, float]) -> int:
        counts = [
            resources.get(name, 0.0) / wanted
            for name, wanted in (("CPU", self._share.cpus), ("GPU", self._share.gpus))
            if wanted
        ]
        return int(min(counts, default=1.0) + 1e-9)

    def _check_share(self) -> None:
        nodes = self._nodes()
        if not any(self._fitting(node) for node in nodes):
            has = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise InputError(
                f"no node of the cluster has the {self._share.cpus:g} CPUs and {self._share.gpus:g} GPUs that a trial "
                f"is to have (there are: {has}); lower --trial-cpus or --trial-gpus, or add nodes"
            )


def connect(address: str | None, local_cpus: int) -> Any:
    """Ray, connected to the cluster at `address`, or to one started here that listens on the loopback alone."""
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("ray.util.scheduling_strategies")  # used as its attribute
    except ImportError:
        raise InputError(
            "executor 'ray' needs Ray, which is not installed; install it by: pip install 'archfit[ray]'"
        ) from None
    settings: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        settings |= {"num_cpus": local_cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    else:
        _check_answers(address)
    # Ray prints to the driver's stdout, which is for the result, what is an event here.
    with contextlib.suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        with _on_loopback() if address is None else contextlib.nullcontext():
            ray.init(address=address or "local", **settings)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address or "local", str(error).strip().splitlines()[0]) from None
    if address is None and any(node["NodeManagerAddress"] not in _LOOPBACK for node in ray.nodes()):
        ray.shutdown()
        raise InputError(
            f"Ray {ray.__version__} cannot be kept to the loopback by this version of archfit; start it yourself by "
            "`ray start --head` where others cannot reach it, and give --address auto"
        )
    return ray


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray takes 127.0.0.1 for a wish to be reached from outside, but where it has no clusters: Windows and macOS."""
    from ray._private import ray_constants

    enabled = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


def _check_answers(address: str) -> None:
    """Ray itself waits for minutes for an address that nothing listens at."""
    if address == "auto":
        file = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
        address = os.environ.get("RAY_ADDRESS") or (file.read_text().strip() if file.is_file() else "")
        if not address:
            raise _no_cluster("auto", "none was started on this machine")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"address is {address!r}; give HOST:PORT as `ray start` shows it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, reason: str) -> InputError:
    return InputError(
        f"there is no Ray cluster at {address} ({reason}); start one by `ray start --head`, give its --address as "
        "HOST:PORT, or leave it out for one on this machine alone"
    )


class _Desk:
    """An actor beside the driver that jobs tell how far they are."""

    def __init__(self) -> None:
        self._told: dict[int, Any] = {}
        self._working: dict[int, _Process] = {}

    def tell(self, key: int, value: Any) -> None:
        self._told[key] = value

    def begin(self, key: int, process: _Process) -> None:
        self._working[key] = process

    def end(self, key: int) -> None:
        self._working.pop(key, None)

    def news(self) -> dict[int, Any]:
        """What was told last of each job, since the last call."""
        told, self._told = self._told, {}
        return told

    def working(self) -> dict[int, _Process]:
        return self._working


_contexts: dict[str, Any] = {}


def _work(job: bytes, context: list[Any], desk: Any, key: int, threads: int) -> bytes:
    """Runs in a process of the cluster, which goes on to the next job."""
    import ray
    import torch

    from archfit._process import keep_memory

    keep_memory()
    torch.set_num_threads(threads)
    desk.begin.remote(key, _this_process())
    start, last = time.monotonic(), 0.0

    def report(value: Any) -> None:
        nonlocal last
        if time.monotonic() - last > _TELL_S:
            last = time.monotonic()
            desk.tell.remote(key, value)

    try:
        name = context[0].hex()
        if name not in _contexts:
            _contexts.clear()
            _contexts[name] = cloudpickle.loads(ray.get(context[0]))()
        start = time.monotonic()
        answer = ("done", cloudpickle.loads(job)(_contexts[name], report))
    except Exception as error:  # noqa: BLE001 - whatever a candidate does is told to the driver
        answer = ("failed", f"{type(error).__name__}: {error}")
    desk.end.remote(key)
    return cloudpickle.dumps((*answer, time.monotonic() - start))  # type: ignore[no-any-return]


def _this_process() -> _Process:
    return _Process(socket.gethostname(), os.getpid(), _started(os.getpid()))


def _started(pid: int) -> str:
    """When a process of this machine began, as the system counts; empty where it does not say."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - no file of ours
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _signal(process: _Process, number: int) -> bool:
    """Whether it went to the process, which is one of this machine and still the same."""
    if process.host != socket.gethostname() or not process.started or _started(process.pid) != process.started:
        return False
    try:
        os.kill(process.pid, number)
    except OSError:
        return False
    return True
