"""Claims: 4 nodes do at least 3.8 times the trials of one; a driver has under 80 ms of work a trial (20 on a journal).

Trials sleep instead of training. The nodes are raylets of this machine with one CPU each, to which a driver is
connected as to a cluster; the driver's cost is that of proposing, recording and telling a trial whose training takes
no time, over the last tenth of 10, 100, 1,000, ... trials.

    python benchmarks/cluster.py [--trials 40] [--sleep 3] [--long 1000]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task
from archfit.cost import Budget, Cost
from archfit.data import ImageData, MemorySplit
from archfit.reward import absolute
from archfit.samplers import make_sampler
from archfit.spaces import MnasSpace
from archfit.study.candidates import Evaluated, WorkerContext
from archfit.study.executor import Event, Executor, Job
from archfit.study.limits import Limits
from archfit.study.ray_cluster import RayCluster
from archfit.study.search import SearchStatus, TrialSearch
from archfit.study.setup import SearchSetup
from archfit.study.storage import STORAGES, close_study, open_study
from machine import describe_machine

TASK = Task(channels=1, image_size=28, classes=10)
SPLIT = MemorySplit(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
DATA = ImageData("none", tuple("0123456789"), 1, 28, SPLIT, SPLIT, None, (0.5,), (0.25,))


@dataclass(frozen=True)
class Sleep:
    """Takes so long; a made-up accuracy."""

    seconds: float

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        time.sleep(self.seconds)
        return (seed % 1000) / 1000


@dataclass
class Nowhere:
    """An executor without any cost: each job is answered at once, with a made-up accuracy."""

    size: int = 2
    _waiting: list[int] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.size - len(self._waiting)

    def submit(self, key: int, job: Job) -> None:
        cloudpickle.dumps(job)  # a driver has to
        self._waiting.append(key)

    def events(self, timeout: float) -> Iterator[Event]:
        waiting, self._waiting = self._waiting, []
        for key in waiting:
            yield Event(key, "done", Evaluated((key * 7919 % 1000) / 1000, None), 0.0)

    def seconds(self, key: int) -> float:
        return 0.0

    def cancel(self, key: int) -> None:
        self._waiting.remove(key)

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield


def measure(architecture: Architecture) -> Cost:
    """Made up too: networks are neither built nor timed."""
    return Cost(params=1 + hash(architecture.choices) % 1000, madds=1)


def search(
    executor: Executor, space: SearchSpace, *, trials: int, seconds: float, storage: str, sampler: str
) -> tuple[list[float], int]:
    """Seconds at which each trial ended, and the bytes of the study."""
    setup = SearchSetup(
        space=space,
        task=TASK,
        budget=Budget(params=500),
        reward=absolute,
        chance=0.1,
        limits=Limits(trials=trials),
        prune_above=1e9,
        seed=0,
        evaluator=Sleep(seconds),
    )
    ended: list[float] = []
    start = time.monotonic()

    def on_status(status: SearchStatus) -> None:
        done = sum(trial.state != "running" for trial in status.trials)
        ended.extend([time.monotonic() - start] * (done - len(ended)))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / STORAGES[storage]
        made = make_sampler(sampler, choices=space.choices, seed=0)
        study = open_study(path, made)
        TrialSearch(study, setup, executor, measure, on_status=on_status).run()
        close_study(study)
        return ended, path.stat().st_size


def throughput(nodes: int, args: argparse.Namespace, space: SearchSpace) -> float:
    """Trials per second on so many nodes of one CPU, once their processes have started."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    settings: dict[str, Any] = {"storage": "journal", "sampler": "random"}
    try:
        with RayCluster(lambda: WorkerContext(DATA), address=cluster.address) as executor:
            search(executor, space, trials=2 * nodes, seconds=1.0, **settings)
            ended, _ = search(executor, space, trials=args.trials, seconds=args.sleep, **settings)
    finally:
        cluster.shutdown()
    return len(ended) / ended[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="on four nodes, a quarter of them on one; 0: none")
    parser.add_argument("--sleep", type=float, default=3.0, help="seconds of a trial")
    parser.add_argument("--long", type=int, default=1000, help="trials of the study that is timed")
    parser.add_argument("--samplers", default="random,auto")
    parser.add_argument("--storages", default=",".join(STORAGES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cluster.json")
    args = parser.parse_args()
    space = MnasSpace(0.42)
    overheads: dict[str, dict[str, dict[int, float]]] = {}
    sizes: dict[str, float] = {}
    for sampler in args.samplers.split(","):
        overheads[sampler] = {}
        for storage in args.storages.split(","):
            ended, size = search(Nowhere(), space, trials=args.long, seconds=0.0, storage=storage, sampler=sampler)
            sizes[storage] = size / len(ended)
            lengths = [10**power for power in range(1, 7) if 10**power <= len(ended)]
            found = {n: 1000 * (ended[n - 1] - ended[n - 1 - n // 10]) / (n // 10) for n in lengths}
            overheads[sampler][storage] = found
            shown = ", ".join(f"{ms:.1f} ms after {n:,}" for n, ms in found.items())
            print(f"{sampler} on {storage}: {shown} trials", flush=True)
    if not args.trials:  # of the driver alone
        args.out.write_text(json.dumps({"driver_ms_a_trial": overheads, "bytes_a_trial": sizes}, indent=2) + "\n")
        return
    few = argparse.Namespace(**{**vars(args), "trials": args.trials // 4})
    rates: dict[int, list[float]] = {1: [], 4: []}
    for _ in range(2):
        for nodes, share in ((1, few), (4, args)):
            rates[nodes].append(throughput(nodes, share, space))
            print(f"{nodes} nodes: {rates[nodes][-1]:.3f} trials per second", flush=True)
    ratio = statistics.mean(rates[4]) / statistics.mean(rates[1])
    print(f"ratio {ratio:.2f}")
    result = {
        "claim": "4 nodes of one CPU at least 3.8 times one; under 80 ms a trial on SQLite, 20 ms on a journal",
        "ratio": ratio,
        "trials_per_second": {str(nodes): found for nodes, found in rates.items()},
        "seconds_a_trial": args.sleep,
        "driver_ms_a_trial": overheads,
        "bytes_a_trial": sizes,
        "driver_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "trials": args.long,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
