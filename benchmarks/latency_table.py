"""Claim: a latency table predicts random networks that it was not made from: rank correlation at least 0.97, median
error at most 5 %.

The space is mnas as a search of Fashion-MNIST within 0.3 ms scales it. Besides the table that `archfit measure` would
write, tables from fewer and more networks show how many it takes. Costs are measured anew, in a cache of its own.

    python benchmarks/latency_table.py [--test 50] [--networks 100 200 400 600]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture
from archfit.cost import Cost
from archfit.device import CostCache, LatencyTable, LocalDevice
from archfit.pipeline.meter import CandidateMeter
from archfit.spaces import MNAS_SKELETON, MnasSpace
from archfit.study.tabulating import even_networks, tabulate
from archfit.training import one_thread
from machine import describe_machine

SPACE = MnasSpace(0.42, skeleton=replace(MNAS_SKELETON, layers=(1, 1, 2, 3, 2, 2, 1)))
TASK = Task(channels=1, image_size=28, classes=10)
RESULTS = Path(__file__).parent / "results"


class Stopwatch:
    """Measures through the meter, and remembers the seconds that each network took the first time."""

    def __init__(self, meter: CandidateMeter) -> None:
        self._meter = meter
        self.seconds: dict[Architecture, float] = {}

    def sample(self, space: SearchSpace, architecture: Architecture) -> Cost:
        start = time.perf_counter()
        cost = self._meter.sample(space, architecture)
        self.seconds.setdefault(architecture, time.perf_counter() - start)
        return cost


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the ranks; latencies are all different."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def unseen(count: int, known: set[Architecture], seed: int) -> list[Architecture]:
    """Random canonical architectures, all different, none of them known."""
    rng = random.Random(seed)
    found: dict[Architecture, None] = {}
    while len(found) < count:
        architecture = SPACE.canonical(random_architecture(SPACE, rng), TASK)
        if architecture not in known:
            found[architecture] = None
    return list(found)


def judged(table: LatencyTable, test: list[Architecture], measured: np.ndarray) -> dict[str, Any]:
    predicted = table.predict_many([SPACE.pieces(architecture, TASK) for architecture in test])
    off = np.abs(predicted / measured - 1)
    return {
        "networks": table.networks,
        "spearman": spearman(predicted, measured),
        "median_error": float(np.median(off)),
        "error_p90": float(np.quantile(off, 0.9)),
        "error_that_it_expects": table.error,
        "pieces": len(table.entries),
        "pieces_measured": sum(entry.networks > 0 for entry in table.entries.values()),
        "predicted_ms": predicted.round(4).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", type=int, default=50, help="networks that the tables are tested on")
    parser.add_argument("--networks", type=int, nargs="*", default=[100, 200, 400, 600], help="sizes of further tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "latency_table.json")
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, one_thread():
        cache = CostCache(Path(folder))
        device = LocalDevice(cache=cache)
        meter = CandidateMeter(device, TASK, "onnxruntime", 1, cache)
        watch = Stopwatch(meter)
        options: dict[str, Any] = {"runtime": "onnxruntime", "seed": args.seed}
        tables: list[dict[str, Any]] = []
        largest = max([400, *args.networks])
        known = {architecture for architecture, _ in itertools.islice(even_networks(SPACE, TASK, args.seed), largest)}
        test = unseen(args.test, known, args.seed + 1000)
        latencies = [meter.candidate(SPACE, architecture).latency for architecture in test]
        measured = np.array([latency.p50_ms for latency in latencies if latency is not None])
        for networks in (None, *args.networks):
            start = time.perf_counter()
            before = sum(watch.seconds.values())
            table = tabulate(SPACE, TASK, device, watch.sample, networks=networks, **options)
            fitting = time.perf_counter() - start - (sum(watch.seconds.values()) - before)
            measuring = sum(list(watch.seconds.values())[: table.networks])
            row = judged(table, test, measured)
            row |= {"chosen_by_itself": networks is None, "seconds": measuring + fitting, "seconds_fitting": fitting}
            tables.append(row)
            shown = {name: value for name, value in row.items() if name != "predicted_ms"}
            print(json.dumps(shown), flush=True)
    result = {
        "claim": "Spearman at least 0.97 and median error at most 5 % on networks that the table was not made from",
        "space": SPACE.settings(),
        "task": {"channels": TASK.channels, "image_size": TASK.image_size, "classes": TASK.classes},
        "runtime": table.runtime,
        "test_networks": args.test,
        "measured_ms": measured.round(4).tolist(),
        "spread_of_the_measurements": float(np.median([latency.spread for latency in latencies if latency])),
        "tables": tables,
        "holds": tables[0]["spearman"] >= 0.97 and tables[0]["median_error"] <= 0.05,
        "load_average": [load_before, os.getloadavg()[0]],  # before and after, over a minute; this run adds one
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"claim holds: {result['holds']}; {args.out}")


if __name__ == "__main__":
    main()
