"""Claim: the network that a 30-minute search found for Fashion-MNIST is above what one would ship, over many seeds.

Trains it, and rivals at the widths that held the same latency (results/fashion_mnist.json), from scratch by the
finalists' recipe for the same epochs, and tests each once. A GPU trains a dozen side by side; on a CPU take as many
processes as it has cores. What --out has of the same networks already is kept.

    python benchmarks/rivals_over_seeds.py [NETWORK] [--epochs 14] [--seeds 10] [--accelerator cuda] [--processes 12] \
        [--rivals mobilenet-v3-small=0.85,...]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archfit.architecture import Task
from archfit.data import load_data
from archfit.pipeline.model import resolve_model
from archfit.study.candidates import WorkerContext, training_pool
from archfit.training import final_recipe, fit, get_metric, score
from machine import describe_machine
from rivals import RIVALS

RESULTS = Path(__file__).parent / "results"
SEARCHED = "searched"


def build_searched(path: str, task: Task) -> nn.Module:
    return resolve_model(path).build(task)[0]


def train(
    context: WorkerContext,
    emit: Callable[[float], None],
    *,
    build: Callable[[Task], nn.Module],
    epochs: int,
    seed: int,
    where: str,
) -> float:
    """Test accuracy after the finalists' training."""
    data = context.data
    torch.manual_seed(seed)
    network = build(data.task)
    layout = "channels_last" if where == "cpu" else "contiguous"
    recipe = final_recipe(data, epochs)
    fit(
        network,
        data,
        recipe,
        seed=seed,
        accelerator=where,
        memory_format=layout,
        validate=False,
        on_progress=lambda progress: emit(progress.step / progress.steps),
    )
    assert data.test is not None
    return score(network, data.test, data, get_metric("accuracy"), memory_format=layout, accelerator=where)


def comparison(found: dict[str, dict[int, float]]) -> dict[str, Any]:
    """Mean, standard error, and how far below the searched network each is, in standard errors of the difference."""
    table: dict[str, Any] = {}
    for name, by_seed in found.items():
        accuracies = [by_seed[seed] for seed in sorted(by_seed)]
        error = statistics.stdev(accuracies) / math.sqrt(len(accuracies)) if len(accuracies) > 1 else None
        row = {"seeds": sorted(by_seed), "test_accuracies": accuracies}
        table[name] = row | {"mean": statistics.fmean(accuracies), "standard_error": error}
    best = table.get(SEARCHED)
    for name, row in table.items():
        if best is None or name == SEARCHED or None in (best["standard_error"], row["standard_error"]):
            continue
        row["below_searched"] = best["mean"] - row["mean"]
        row["in_standard_errors"] = row["below_searched"] / math.hypot(best["standard_error"], row["standard_error"])
    return table


def known(path: Path, about: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Accuracies by name and seed that an earlier call about the same networks has written."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if any(earlier.get(key) != value for key, value in about.items()):
        return {}
    rows = earlier["networks"].items()
    return {name: dict(zip(row["seeds"], row["test_accuracies"], strict=True)) for name, row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default=str(RESULTS / "fashion_mnist_network.json"))
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--accelerator", default="cuda")
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--rivals", default="mobilenet-v3-small=0.85,mnasnet-small=1.0,shufflenet-v2=0.35")
    parser.add_argument("--fewer", default="", help="NAME=SEEDS,...: rivals that are trained with so many seeds alone")
    parser.add_argument("--result", type=Path, help="result.json of the search, whose own training is its seed 0")
    parser.add_argument("--log", type=Path, help="takes what the workers print")
    parser.add_argument("--out", type=Path, default=RESULTS / "rivals_over_seeds.json")
    args = parser.parse_args()
    builders: dict[str, Callable[[Task], nn.Module]] = {SEARCHED: partial(build_searched, args.network)}
    for pair in args.rivals.split(","):
        name, _, width = pair.partition("=")
        builders[name] = partial(RIVALS[name], width=float(width))
    seeds = dict.fromkeys(builders, args.seeds)
    seeds |= {name: int(count) for name, count in (pair.split("=") for pair in args.fewer.split(",") if pair)}
    about = {
        "network": Path(args.network).name,
        "dataset": args.dataset,
        "epochs": args.epochs,
        "widths": args.rivals,
    }
    found = known(args.out, about)
    if args.result is not None:
        found.setdefault(SEARCHED, {})[0] = json.loads(args.result.read_text(encoding="utf-8"))["test_accuracy"]
    work = [
        (name, seed)
        for seed in range(args.seeds)
        for name in builders
        if seed < seeds[name] and seed not in found.get(name, {})
    ]
    jobs = [
        partial(train, build=builders[name], epochs=args.epochs, seed=seed, where=args.accelerator)
        for name, seed in work
    ]
    shares: dict[int, float] = {}
    start = told = time.monotonic()
    with training_pool(load_data(args.dataset), args.processes, log=args.log) as pool:
        for event in pool.run(jobs):
            if event.kind == "progress":
                shares[event.key] = event.value
                if time.monotonic() - told > 20:
                    told = time.monotonic()
                    print(f"{told - start:.0f} s: {sum(shares.values()):.2f} of {len(work)} trainings", flush=True)
                continue
            name, seed = work[event.key]
            if event.kind != "done":
                raise SystemExit(f"{name}, seed {seed}: {event.value}")
            found.setdefault(name, {})[seed] = event.value
            print(f"{time.monotonic() - start:.0f} s: {name}, seed {seed}: {event.value:.4f}", flush=True)
            result = {
                "claim": "the searched network is above the best rival by more than two standard errors",
                **about,
                "networks": comparison(found),
                "seconds": time.monotonic() - start,
                "machine": describe_machine(),
            }
            args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
