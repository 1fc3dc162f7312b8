"""Claim: a forked worker that dies is replaced in a tenth of a second, and two cost half the processor time.

Both kinds of pool by turns, of two processes: how long until both have answered their first job, what that costs in
processor time, and how long it takes to replace a process that was killed. A forked pool is counted with its server,
which imports, and once more with one that is there already.

    python benchmarks/worker_start.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archfit.data import load_data
from archfit.study import fork_server, workers
from archfit.study.candidates import WorkerContext, training_pool
from archfit.study.workers import WorkerPool
from machine import describe_machine


def processor_seconds(context: WorkerContext, report: Callable[[Any], None]) -> tuple[float, float, int]:
    """Of this process and of its parent, since each began."""
    return own_seconds(os.getpid()), own_seconds(os.getppid()), os.getppid()


def own_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill(context: WorkerContext, report: Callable[[Any], None]) -> None:
    os._exit(1)


def first_answers(pool: WorkerPool) -> tuple[float, float]:
    """Seconds until two processes have answered, and of the processor that they and their server took."""
    start = time.monotonic()
    answers = [event.value for event in pool.run([processor_seconds] * 2) if event.kind == "done"]
    seconds = time.monotonic() - start
    servers = {parent: used for _, used, parent in answers if parent != os.getpid()}
    return seconds, sum(used for used, _, _ in answers) + sum(servers.values())


def replacement(pool: WorkerPool) -> float:
    list(pool.run([kill]))
    start = time.monotonic()
    list(pool.run([processor_seconds] * 2))
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "worker_start.json")
    args = parser.parse_args()
    data = load_data("digits")
    forked = fork_server.fork_server
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)
        print(f"{name}: {value:.2f} s", flush=True)

    for _ in range(args.rounds):
        for kind in ("anew", "forked", "forked again"):
            workers.fork_server = (lambda *_: None) if kind == "anew" else forked  # type: ignore[assignment]
            if kind == "forked" and (server := getattr(fork_server._of_thread, "server", None)) is not None:
                server.close()
            with training_pool(data, 2) as pool:
                seconds, used = first_answers(pool)
                note(f"{kind}: both have answered", seconds)
                if kind != "forked again":
                    note(f"{kind}: processor time", used)
                    note(f"{kind}: one is replaced", replacement(pool))
    result = {
        "claim": "a worker that dies is replaced in a tenth of a second, and two cost half the processor time",
        "median_seconds": {name: statistics.median(values) for name, values in found.items()},
        "seconds": found,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
