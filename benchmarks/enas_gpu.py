"""What a GPU makes of ENAS's cell search on CIFAR-10 at the paper's setting (8 cells of 5 nodes, 20 filters).

First the speed of a step of the supernet on one path against what the GPU could do: the share of the time in which a
kernel runs, and multiply-adds a second beside the peak. Then `archfit search --method shared --space enas-micro` for
the time given, half of it for search, half for the final training.

    python benchmarks/enas_gpu.py [--time 5m] [--batch 160] [--paths 20] [--peak TFLOPS] [--dataset cifar10]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import archfit
from archfit.architecture import random_architecture
from archfit.cost import count_madds
from archfit.data import Batches, ImageData, load_data
from archfit.spaces import CellSpace
from archfit.study.supernet_trainer import SupernetTrainer
from archfit.training import get_metric, supernet_recipe
from machine import describe_machine

RESULTS = Path(__file__).parent / "results"


def throughput(data: ImageData, batch: int, number: int, peak: float | None) -> dict[str, Any]:
    """Of weight steps and of scoring, medians over paths; everything else as the search does it."""
    space, rng = CellSpace(), random.Random(0)
    paths = [space.canonical(random_architecture(space, rng), data.task) for _ in range(number)]
    torch.manual_seed(0)
    trainer = SupernetTrainer(
        space.supernet(data.task).cuda(), supernet_recipe(data, 1.0), device=torch.device("cuda"), threads=1
    )
    batches = Batches(data.train, data.mean, data.std, batch, shuffle=True)
    images = next(iter(batches))
    metric, classes = get_metric("accuracy"), len(data.classes)
    for path in paths[:3]:  # kernels are loaded and chosen
        trainer.step([(path, images)], 1.0)
        trainer.accuracies([(path, [images])], metric, classes)
    learning, scoring = [], []
    for path in paths:
        torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.step([(path, images)], 1.0)
        torch.cuda.synchronize()
        middle = time.perf_counter()
        trainer.accuracies([(path, [images])], metric, classes)
        torch.cuda.synchronize()
        learning.append(middle - start)
        scoring.append(time.perf_counter() - middle)
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiled:
        start = time.perf_counter()
        for path in paths:
            trainer.step([(path, images)], 1.0)
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    kernels = [event for event in profiled.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    madds = statistics.fmean(count_madds(space.build(path, data.task), data.task) for path in paths)
    step = statistics.median(learning)
    return {
        "batch": batch,
        "step_ms": step * 1e3,
        "images_per_second": batch / step,
        "reward_ms": statistics.median(scoring) * 1e3,
        "kernels_a_step": len(kernels) / number,
        "share_of_time_in_kernels": sum(event.device_time for event in kernels) * 1e-6 / wall,
        "madds_an_image": madds,
        # Forward, and backward to inputs and to weights: three times the multiply-adds, two operations each.
        "tflops": 6 * madds * batch / step * 1e-12,
        "peak_tflops": peak,
        "gigabytes": torch.cuda.max_memory_allocated() * 1e-9,
    }


def searched(dataset: str, limit: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        record = archfit.search(
            dataset,
            method="shared",
            space="enas-micro",
            accelerator="cuda",
            time=limit,
            control=0,
            out=Path(folder) / "run",
        ).record
    winner, shared = record.winner, record.search["shared"]
    return {
        "command": record.command,
        "test_accuracy": record.test.accuracy,
        "validation_accuracy": winner.validation_accuracy,
        "final_epochs": winner.epochs,
        "params": winner.cost.params,
        "madds": winner.cost.madds,
        "seconds": record.seconds,
        **{name: shared[name] for name in ("epochs", "steps", "controller", "random", "rounds")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--time", default="5m")
    parser.add_argument("--batch", type=int, default=160)
    parser.add_argument("--paths", type=int, default=20)
    parser.add_argument("--peak", type=float, help="of float32 products, in TFLOPS, as the vendor states it")
    parser.add_argument("--out", type=Path, default=RESULTS / "enas_gpu.json")
    args = parser.parse_args()
    data = load_data(args.dataset)
    result: dict[str, Any] = {
        "claim": "ENAS's cell search on CIFAR-10 on a GPU: throughput against the limit, accuracy in the time there is",
        "dataset": args.dataset,
        "images": {"train": len(data.train), "validation": len(data.validation)},
        "throughput": throughput(data, args.batch, args.paths, args.peak),
        "machine": describe_machine(),
    }
    print(json.dumps(result["throughput"], indent=2), flush=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    result["search"] = searched(args.dataset, args.time)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {result['search']['test_accuracy']:.4f} after {args.time}")


if __name__ == "__main__":
    main()
