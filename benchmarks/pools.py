"""Claim: average pools that are exported as convolutions make ENAS's cells run in 0.5 to 0.9 of their time.

ONNX Runtime, one thread, batch 1; both exports of each network by turns: single pools, random networks of the two
ENAS spaces, and networks of the mnas space whose layers all have the skip "pool", against the same networks with
PyTorch's average pool in its place.

    python benchmarks/pools.py [--networks 8]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfit.architecture import Architecture, Task, random_architecture
from archfit.device import export
from archfit.nn import mbconv
from archfit.spaces import CellSpace, MacroSpace, MnasSpace
from machine import describe_machine

CIFAR = Task(3, 32, 10)


class Pooled(nn.Module):
    """A mean between two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(channels, 10, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x).mean((2, 3))
        return logits


def plain_skip(x: Tensor, weights: Tensor, stride: int, filters: int) -> Tensor:
    """`archfit.nn.mbconv.pooled` by an average pool."""
    means = F.avg_pool2d(x, 3, stride, padding=1)
    return F.pad(means, (0, 0, 0, 0, 0, filters - len(weights)))[:, :filters]


def both_exported(network: nn.Module, task: Task) -> tuple[bytes, bytes]:
    """With average pools as they are, and with convolutions."""
    with patch.object(export, "convolve_average_pools"), patch.object(mbconv, "pooled", plain_skip):
        pooled = export.export_candidate(network.eval(), task)
    return pooled, export.export_candidate(network, task)


def by_turns(models: list[bytes]) -> list[float]:
    """Milliseconds of one image: the smallest median of 15 blocks, the blocks of the models one after the other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]) for model in models]
    blocks: list[list[float]] = [[] for _ in models]
    for _ in range(15):
        for session, medians in zip(sessions, blocks, strict=True):
            images = session.get_inputs()[0]
            given = {images.name: np.zeros(images.shape, np.float32)}
            seconds = []
            for _ in range(40):
                start = time.perf_counter()
                session.run(None, given)
                seconds.append(time.perf_counter() - start)
            medians.append(statistics.median(seconds[5:]))
    return [min(medians) * 1000 for medians in blocks]


def compare(models: dict[str, tuple[bytes, bytes]]) -> dict[str, Any]:
    """Milliseconds by name as average pool and as convolution, and their ratios."""
    found: dict[str, Any] = {}
    for name, (pooled, convolved) in models.items():
        before, after = by_turns([pooled, convolved])
        found[name] = {"pool_ms": before, "convolution_ms": after, "ratio": after / before}
        print(f"{name}: {before:.3f} ms, {after:.3f} ms", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=8, help="of each space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pools.json")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    models = {}
    for channels, size in ((12, 28), (20, 32), (36, 16), (16, 28)):
        network, task = Pooled(channels), Task(3, size, 10)
        models[f"a pool of {channels} channels of {size}x{size}"] = both_exported(network, task)
    for space in (CellSpace(), MacroSpace()):
        for number in range(args.networks):
            network = space.build(space.canonical(random_architecture(space, rng), CIFAR), CIFAR)
            models[f"{space.name} {number}"] = both_exported(network, CIFAR)
    mnas, grey = MnasSpace(0.5), Task(1, 28, 10)
    for number in range(args.networks):
        choices = dict(random_architecture(mnas, rng).choices) | {f"block{block}.skip": "pool" for block in range(1, 8)}
        network = mnas.build(mnas.canonical(Architecture(mnas.name, tuple(choices.items())), grey), grey)
        models[f"{mnas.name} {number}"] = both_exported(network, grey)
    found = compare(models)
    medians = {
        name: statistics.median(row["ratio"] for key, row in found.items() if key.startswith(name))
        for name in ("enas-micro", "enas-macro", "mnas")
    }
    print(medians)
    result = {
        "claim": "ENAS's cells run in 0.5 to 0.9 of their time when average pools are exported as convolutions",
        "median_ratios": medians,
        "networks": found,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
