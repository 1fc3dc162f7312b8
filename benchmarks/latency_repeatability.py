"""Does measuring a network twice give the same latency, and is the anchor's correction worth having?

Random architectures are exported and measured twice in two independent rounds; the rounds are compared by Kendall's
tau and by relative difference, with the correction and without. Run it beside other work to see what it withstands:

    python benchmarks/latency_repeatability.py --architectures 24
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archfit.architecture import Task, random_architecture
from archfit.device import CostCache, LocalDevice, export_candidate
from archfit.device.timing import summarise
from archfit.spaces.mnas import MnasSpace
from machine import describe_machine

TASK = Task(channels=3, image_size=32, classes=10)
RESULTS = Path(__file__).parent / "results"


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Share of pairs in the same order minus share in the opposite one (tau-a)."""
    pairs = list(combinations(range(len(first)), 2))
    return float(np.mean([np.sign((first[i] - first[j]) * (second[i] - second[j])) for i, j in pairs]))


def compare(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    difference = 2 * np.abs(first - second) / (first + second)
    return {
        "kendall_tau": kendall_tau(first, second),
        "median_relative_difference": float(np.median(difference)),
        "max_relative_difference": float(np.max(difference)),
    }


def run(architectures: int, runtime: str, seed: int) -> dict[str, Any]:
    space = MnasSpace(width=0.5)
    rng = random.Random(seed)
    torch.manual_seed(seed)
    modules = [space.build(random_architecture(space, rng), TASK).eval() for _ in range(architectures)]
    load_before = os.getloadavg()[0]
    corrected, plain = np.zeros((2, architectures)), np.zeros((2, architectures))
    export_s, measure_s, spreads = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        cache = CostCache(Path(folder))
        for attempt in range(2):
            device = LocalDevice(cache=cache, seed=attempt)
            for index in rng.sample(range(architectures), architectures):
                start = time.perf_counter()
                model = export_candidate(modules[index], TASK)
                exported = time.perf_counter()
                rounds, reference_ms = device.record(model, modules[index], runtime=runtime)
                measured = time.perf_counter()
                export_s.append(exported - start)
                measure_s.append(measured - exported)
                timing = summarise(rounds, reference_ms)
                spreads.append(timing.spread)
                corrected[attempt, index] = timing.p50_ms
                plain[attempt, index] = summarise(rounds, None).p50_ms
    return {
        "runtime": LocalDevice().runtime_label(runtime),
        "architectures": architectures,
        "space": f"{space.name}, width 0.5, 32 pixels",
        "seed": seed,
        "load_average": [load_before, os.getloadavg()[0]],  # before and after, over a minute; this run adds one
        "corrected": compare(*corrected),
        "uncorrected": compare(*plain),
        "anchor_reference_ms": reference_ms,
        "seconds_per_candidate": float(np.median(np.add(export_s, measure_s))),
        "seconds_export": float(np.median(export_s)),
        "seconds_measure": float(np.median(measure_s)),
        "median_spread": float(np.median(spreads)),
        "p50_ms": corrected.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=24, help="how many networks are measured twice")
    parser.add_argument("--seed", type=int, default=0, help="of the architectures, and of the order of measuring")
    parser.add_argument("--torch", action="store_true", help="measure with eager PyTorch too, and compare the orders")
    parser.add_argument("--output", type=Path, default=RESULTS / "latency_repeatability.json", help="JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    result = {"machine": describe_machine(), "onnxruntime": run(arguments.architectures, "onnxruntime", arguments.seed)}
    if arguments.torch:
        result["torch"] = run(arguments.architectures, "torch", arguments.seed)
        means = [np.mean(result[name]["p50_ms"], axis=0) for name in ("onnxruntime", "torch")]
        result["onnxruntime_and_torch_kendall_tau"] = kendall_tau(*means)
    for name, value in result.items():
        if isinstance(value, dict):
            print(name, json.dumps({key: item for key, item in value.items() if key != "p50_ms"}, indent=2))
        else:
            print(name, value)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
