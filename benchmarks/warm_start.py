"""Claim: beginning with ImageNet weights, a search on CIFAR-10 at 64 pixels within 1 ms ends at least 3 points higher.

First the same networks are trained for as long as a candidate is, once at random and once with what they inherit from
EfficientNet-Lite0: the two networks nearest to it, mutations of the nearest, and random ones. Then the same search
runs twice for the same time, without and with --init; a search that is there already is read back.

    python benchmarks/warm_start.py --weights efficientnet-lite0.pth [--time 30m] [--runs runs/warm] [--networks 12]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import archfit
from archfit.architecture import Architecture, from_indices, random_architecture, to_indices
from archfit.cost import count_params
from archfit.data import ImageData, load_data
from archfit.evaluators import ProxyTraining
from archfit.pipeline.initial import resolve_initial
from archfit.pipeline.plan import normalised
from archfit.samplers.proposals import mutated
from archfit.spaces import MnasSpace, WarmMnasSpace
from machine import describe_machine


def networks(space: WarmMnasSpace, data: ImageData, count: int) -> list[tuple[str, Architecture]]:
    """The two starting points, then mutations of the nearest (three choices each) and random ones by turns."""
    first = space.starting_points(data.task)
    found = [("nearest", first[0]), ("nearest, smaller", first[-1])]
    rng, python = np.random.default_rng(0), random.Random(0)
    while len(found) < count:
        if len(found) % 2:
            found.append(("random", space.canonical(random_architecture(space, python), data.task)))
            continue
        indices = to_indices(space, first[0])
        for _ in range(3):
            indices = mutated(indices, [len(choice.options) for choice in space.choices], rng)
        found.append(("mutation", space.canonical(from_indices(space, indices), data.task)))
    return found


def proxies(weights: Path, data: ImageData, epochs: float, count: int, folder: Path) -> list[dict[str, Any]]:
    """Validation accuracy of a candidate's training, at random and inherited."""
    trained = resolve_initial(str(weights))
    origin = folder / "init.safetensors"
    origin.write_bytes(trained.to_bytes())
    warm = WarmMnasSpace.around(trained, origin)
    cold = MnasSpace(skeleton=warm.skeleton)
    warm_data = normalised(data, trained.statistics)
    rows = []
    for kind, architecture in networks(warm, data, count):
        row: dict[str, Any] = {"network": kind}
        torch.manual_seed(0)
        network = cold.build(architecture, data.task)
        row["params"] = count_params(network)
        row["inherited"] = warm.fill(network, [len(block) for block in warm.blocks(architecture, data.task)])
        for name, space, images in (("random", cold, data), ("inherited weights", warm, warm_data)):
            torch.manual_seed(0)
            evaluator = ProxyTraining(epochs, pretrained=space is warm)
            start = time.monotonic()
            row[name] = evaluator.evaluate(
                architecture, space.build(architecture, data.task), images, seed=0, on_progress=lambda _: None
            )
            row[f"seconds, {name}"] = time.monotonic() - start
        rows.append(row)
        print(
            f"{kind}: {row['inherited']:.0%} inherited, {row['random']:.3f} -> {row['inherited weights']:.3f}",
            flush=True,
        )
    return rows


def searched(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """A search's result, from its folder if it ended before."""
    if (folder / "result.json").is_file():
        record = archfit.load(folder).record
    elif folder.exists():
        record = archfit.resume(folder).record
    else:
        record = archfit.search("cifar10", out=folder, **options).record
    assert record.winner.cost.latency is not None
    result = {
        "test_accuracy": record.test.accuracy,
        "standard_error": record.test.standard_error,
        "latency_ms": record.winner.cost.latency.quantiles_ms(),
        "params": record.winner.cost.params,
        "madds": record.winner.cost.madds,
        "trials": record.search["trials"],
        "proxy": record.search["proxy"],
        "epochs": record.winner.epochs,
        "seconds": record.seconds,
        "command": record.command.replace(str(Path(str(options.get("init", ""))).parent) + "/", ""),
    }
    print(f"{folder.name}: {record.test.accuracy:.4f}, {record.winner.cost.latency.p50_ms:.3f} ms", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/warm-start"))
    parser.add_argument("--time", default="30m")
    parser.add_argument("--latency", default="1ms")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--epochs", type=float, default=0.06, help="of a candidate in the first part")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "warm_start.json")
    args = parser.parse_args()

    args.runs.mkdir(parents=True, exist_ok=True)
    weights = args.weights.expanduser().resolve()
    options: dict[str, Any] = {"latency": args.latency, "image_size": args.image_size, "time": args.time}
    result: dict[str, Any] = {
        "claim": "at least 3 points above the same search from scratch, in the same time",
        "weights": weights.name,
        **options,
        "machine": describe_machine(),
    }
    for name, extra in (("scratch", {}), ("warm", {"init": weights})):
        result[name] = searched(args.runs / name, {**options, **extra})
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    result["points"] = 100 * (result["warm"]["test_accuracy"] - result["scratch"]["test_accuracy"])

    torch.set_num_threads(1)
    data = load_data("cifar10", image_size=args.image_size).without_test()
    rows = proxies(weights, data, args.epochs, args.networks, args.runs)
    result["proxy"] = {"epochs": args.epochs, "networks": rows, "gain": gains(rows)}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def gains(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean gain in points by kind of network."""
    kinds = dict.fromkeys(row["network"] for row in rows)
    return {
        kind: 100 * statistics.mean(row["inherited weights"] - row["random"] for row in rows if row["network"] == kind)
        for kind in kinds
    }


if __name__ == "__main__":
    main()
