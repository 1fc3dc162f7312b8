"""Claim: `archfit train` trains a catalogue network within 5 % of a bare PyTorch loop on the same batches.

Both sides take the same batches from the same loader, the same optimiser, rate schedule and memory format; archfit's
adds Lightning, logs, training metrics, progress and a checkpoint. They take turns; the ratio is the median of those of
neighbouring turns. Networks that are not measured again are kept in the result.

    python benchmarks/training_throughput.py [--models mnasnet-a1,...] [--image-size 32] [--seconds 12] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from archfit.catalogue import REFERENCES, build_named, is_external
from archfit.data import Batches, ImageData, load_data
from archfit.training import Recipe, fit
from machine import describe_machine

BATCH = 64
OTHERS = ("torchvision:shufflenet_v2_x1_0", "torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_100")


def batches(data: ImageData, images: int) -> Batches:
    return Batches(
        data.train,
        data.mean,
        data.std,
        batch_size=BATCH,
        augmentation=None,
        seed=0,
        shuffle=True,
        drop_last=True,
        memory_format=torch.channels_last,
        max_images=images,
    )


def bare(network: nn.Module, data: ImageData, images: int) -> float:
    """Images per second of a loop as one writes it by hand."""
    network = network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = images // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.05, total_steps=steps)
    start, seen = time.perf_counter(), 0
    for pictures, labels in batches(data, images):
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(pictures), labels).backward()
        optimiser.step()
        if seen // BATCH < steps - 1:
            schedule.step()
        seen += len(labels)
    return seen / (time.perf_counter() - start)


def ours(network: nn.Module, data: ImageData, images: int) -> float:
    """Images per second of archfit's own training, its start included."""
    recipe = Recipe(images / len(data.train), batch_size=BATCH, learning_rate=0.05)
    with tempfile.TemporaryDirectory() as folder:
        training = fit(
            network,
            data,
            recipe,
            seed=0,
            validate=False,
            checkpoints=Path(folder) / "training",
            logs=Path(folder) / "logs",
            on_progress=lambda _: None,
        )
    return training.images / training.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join([*REFERENCES, *OTHERS]))
    parser.add_argument("--image-size", type=int, default=32, help="of our references; others need 64 at least")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each turn, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_throughput.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.out.read_text(encoding="utf-8"))["models"] if args.out.is_file() else {}
    for name in args.models.split(","):
        size = max(args.image_size, 64) if is_external(name) else args.image_size
        data = load_data("cifar10", image_size=size).without_test()
        rate = bare(build_named(name, data.task), data, 4 * BATCH)
        images = min(len(data.train), max(4, round(args.seconds * rate / BATCH)) * BATCH)
        rates: dict[str, list[float]] = {"bare": [], "archfit": []}
        for turn in range(args.rounds):
            sides = [("bare", bare), ("archfit", ours)]
            for side, train in sides if turn % 2 == 0 else reversed(sides):
                rates[side].append(train(build_named(name, data.task), data, images))
        ratios = [a / b for a, b in zip(rates["archfit"], rates["bare"], strict=True)]
        middle = {side: statistics.median(values) for side, values in rates.items()}
        rows[name] = {
            "images": images,
            "image_size": size,
            "images_per_second": middle,
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
        print(
            f"{name}: {middle['bare']:.0f} bare, {middle['archfit']:.0f} archfit, {rows[name]['ratio']:.3f}", flush=True
        )
        result = {
            "claim": "archfit's images per second are at least 0.95 of a bare loop's",
            "least": min(row["ratio"] for row in rows.values()),
            "batch": BATCH,
            "threads": 1,
            "models": rows,
            "machine": describe_machine(),
        }
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
