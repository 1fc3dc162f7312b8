"""Claim: Muon and a whitened first convolution learn more in a short training than SGD does, for little more time.

One network (all convolutions, one layer per block), 10,000 training images, 5 epochs, four recipes over the same seeds.

    python benchmarks/recipes.py [--dataset cifar10] [--images 10000] [--epochs 5] [--seeds 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from archfit.data import load_data
from archfit.spaces import MnasSpace
from archfit.spaces.mnas import BlockChoices
from archfit.spaces.skeleton import MNAS_SKELETON
from archfit.study.candidates import WorkerContext, training_pool
from archfit.training import Recipe, fit, get_metric, proxy_recipe, score
from machine import describe_machine


def build(space: MnasSpace, task: object, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    block = BlockChoices("conv", 3, 0.0, "identity", 1.0, 0)
    return space.build(space.architecture([block] * 7), task)  # type: ignore[arg-type]


def train(context: WorkerContext, emit: object, *, recipe: Recipe, space: MnasSpace, seed: int) -> tuple[float, float]:
    """Test accuracy and seconds of training."""
    data = context.data
    network = build(space, data.task, seed)
    training = fit(network, data, recipe, seed=seed, validate=False)
    assert data.test is not None
    return score(network, data.test, data, get_metric("accuracy")), training.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "recipes.json")
    args = parser.parse_args()
    data = load_data(args.dataset, train_images=args.images)
    space = MnasSpace(skeleton=replace(MNAS_SKELETON, layers=(1,) * 7))
    ours = proxy_recipe(data, args.epochs)
    # SGD's own best of 32 and 64 images a step and rates from 0.025 to 0.2.
    sgd = replace(ours, optimiser="sgd", batch_size=32, learning_rate=0.05)
    recipes = {
        "sgd": replace(sgd, whiten=False),
        "sgd, whitened": sgd,
        "muon": replace(ours, whiten=False),
        "muon, whitened": ours,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in recipes}
    jobs = [(name, seed) for seed in range(args.seeds) for name in recipes]
    with training_pool(data, 2) as pool:
        for event in pool.run([partial(train, recipe=recipes[name], space=space, seed=seed) for name, seed in jobs]):
            if event.kind == "failed":
                raise SystemExit(str(event.value))
            if event.kind == "done":
                found[jobs[event.key][0]].append(event.value)
                print(jobs[event.key], f"{event.value[0]:.4f}, {event.value[1]:.0f} s", flush=True)
    result = {
        "claim": "Muon and a whitened first convolution learn more in a short training than SGD",
        "dataset": args.dataset,
        "images": args.images,
        "epochs": args.epochs,
        "recipes": {
            name: {
                "test_accuracies": [accuracy for accuracy, _ in rows],
                "mean": statistics.mean(accuracy for accuracy, _ in rows),
                "seconds": [round(seconds, 1) for _, seconds in rows],
            }
            for name, rows in found.items()
        },
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
