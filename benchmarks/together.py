"""Claim: two processes that train one network together take 0.75 of the time of one, on networks of 80 ms a step.

Two processes of one thread run the same training steps by turns: a whole batch each, half of it each with nothing to
exchange (what can be reached), and half of it each as one network (`DistributedDataParallel`), with batch statistics
told at every step, as it does unless told, or not.

    python benchmarks/together.py [NETWORK] [--dataset fashion-mnist] [--rounds 12]
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from archfit._process import keep_memory
from archfit.data import load_data
from archfit.nn.cpu_gradients import CpuGradients
from archfit.pipeline.model import resolve_model
from archfit.training import final_recipe
from archfit.training.optimisers import make_optimiser
from archfit.training.recipes import Recipe
from machine import describe_machine

RESULTS = Path(__file__).parent / "results"
STEPS = 8


def stepper(network: nn.Module, forward: nn.Module, images: torch.Tensor, recipe: Recipe) -> Callable[[], None]:
    optimiser = make_optimiser(network, recipe)
    labels = torch.arange(len(images)) % 10

    def step() -> None:
        with CpuGradients():
            logits = forward(images)
        nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def measure(args: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds a step of each kind, as this process of the two sees them."""
    torch.set_num_threads(1)
    keep_memory()
    distributed.init_process_group("gloo", init_method=f"file://{args.meeting}", rank=args.rank, world_size=2)
    data = load_data(args.dataset)
    recipe = final_recipe(data, 9)
    torch.manual_seed(0)
    network = resolve_model(args.network).build(data.task)[0].to(memory_format=torch.channels_last)
    whole = torch.randn(recipe.batch_size, data.channels, data.image_size, data.image_size)
    whole = whole.contiguous(memory_format=torch.channels_last)
    half = whole[::2].contiguous(memory_format=torch.channels_last)
    alone, apart, told, untold = (copy.deepcopy(network) for _ in range(4))
    steps = {
        "a whole batch each": stepper(alone, alone, whole, recipe),
        "half a batch each, apart": stepper(apart, apart, half, recipe),
        "half a batch each, together": stepper(told, DistributedDataParallel(told), half, recipe),
        "together, statistics untold": stepper(
            untold, DistributedDataParallel(untold, forward_sync_buffers=False), half, recipe
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.rounds + 1):
        for name, step in steps.items():
            distributed.barrier()
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            distributed.barrier()
            if turn:  # the first one allocates
                times[name].append(1e3 * (time.perf_counter() - start) / STEPS)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default=str(RESULTS / "fashion_mnist_network_hswish_avx2.json"))
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "together.json")
    args = parser.parse_args()
    if args.rank:
        measure(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        args.meeting = str(Path(folder) / "meeting")
        other = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--rank", "1", "--meeting", args.meeting])
        times = measure(args)
        other.wait()
    medians = {name: statistics.median(found) for name, found in times.items()}
    first = medians["a whole batch each"]
    for name, value in medians.items():
        print(f"{name}: {value:.1f} ms a step, {value / first:.2f} of the whole batch's")
    result = {
        "claim": "two processes that train one network together take 0.75 of the time of one, on steps of 80 ms",
        "ms_per_step": medians,
        "rounds": times,
        "network": Path(args.network).name,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
