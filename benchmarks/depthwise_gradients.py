"""Claim: gradients of depthwise kernels take less time in the parts that `CpuGradients` takes them in.

A forward and a backward pass of one convolution on one thread, with and without, by turns, for the kernels and images
that small networks have; the fastest of each.

    python benchmarks/depthwise_gradients.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn

from archfit._process import keep_memory
from archfit.nn.cpu_gradients import CpuGradients
from archfit.training.probe import one_thread
from machine import describe_machine

BATCH = 64
CASES = [(72, 28, 5, 1), (96, 28, 5, 2), (96, 14, 5, 1), (168, 7, 5, 1), (480, 4, 5, 1), (144, 4, 5, 1), (96, 2, 3, 1)]
"""Channels, pixels a side, kernel, stride."""


def seconds(convolution: nn.Conv2d, x: torch.Tensor, mode: AbstractContextManager[object]) -> float:
    start = time.perf_counter()
    with mode:
        y = convolution(x)
    y.backward(torch.ones_like(y))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "depthwise_gradients.json")
    args = parser.parse_args()
    keep_memory()
    rows = []
    with one_thread():
        for channels, size, kernel, stride in CASES:
            convolution = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            convolution = convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            images = torch.randn(BATCH, channels, size, size).to(memory_format=torch.channels_last)
            images.requires_grad_()
            best = {"pytorch": float("inf"), "archfit": float("inf")}
            for _ in range(args.rounds):
                for name in best:
                    mode = CpuGradients() if name == "archfit" else nullcontext()
                    best[name] = min(best[name], seconds(convolution, images, mode))
            ratio = best["archfit"] / best["pytorch"]
            rows.append(
                {"channels": channels, "size": size, "kernel": kernel, "stride": stride, **best, "ratio": ratio}
            )
            print(f"{channels} channels of {size} pixels, kernel {kernel}, stride {stride}: {ratio:.2f} of the time")
    result = {
        "claim": "forward and backward of depthwise convolutions take less time",
        "batch": BATCH,
        "seconds": rows,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
