"""Claim: a supernet that keeps its compiled kernels takes a tenth to a fifth less time a step.

Steps of one path of the mnas supernet, every one a new random architecture, in two processes by turns: one where
oneDNN keeps the 1,024 kernels that it keeps by default, one where it keeps as many as archfit has it keep.

    python benchmarks/supernet_kernels.py [--rounds 8] [--steps 50]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from archfit._process import keep_kernels, keep_memory
from archfit.architecture import Task, random_architecture
from archfit.data import load_data
from archfit.spaces import MNAS_SKELETON, MnasSpace
from archfit.study.supernet_trainer import SupernetTrainer
from archfit.training import supernet_recipe
from machine import describe_machine

TASK = Task(1, 28, 10)


def serve(kept: bool, steps: int) -> None:
    """Takes `steps` steps for each line of stdin, and prints their seconds."""
    keep_memory()
    if kept:
        keep_kernels()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space = MnasSpace(0.6, skeleton=replace(MNAS_SKELETON, layers=(1, 1, 2, 3, 2, 2, 1)))
    supernet = space.supernet(TASK).to(memory_format=torch.channels_last)
    recipe = supernet_recipe(load_data("digits"), 1.0)
    trainer = SupernetTrainer(supernet, recipe, device=torch.device("cpu"), threads=1)
    images = torch.randn(64, 1, 28, 28).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (64,))
    rng = random.Random(0)
    for _ in sys.stdin:
        paths = [space.canonical(random_architecture(space, rng), TASK) for _ in range(steps)]
        start = time.perf_counter()
        for path in paths:
            trainer.step([(path, (images, labels))], 0.1)
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50, help="of a round")
    parser.add_argument("--serve", choices=["kept", "default"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "supernet_kernels.json")
    args = parser.parse_args()
    if args.serve:
        serve(args.serve == "kept", args.steps)
        return
    servers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--steps", f"{args.steps}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for name in ("default", "kept")
    }
    seconds: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(args.rounds):
        for name, server in servers.items():
            assert server.stdin is not None
            assert server.stdout is not None
            print(number, file=server.stdin, flush=True)
            seconds[name].append(float(server.stdout.readline()) / args.steps)
        print(f"round {number + 1}: {seconds['default'][-1]:.3f} and {seconds['kept'][-1]:.3f} s a step", flush=True)
    for server in servers.values():
        server.communicate()
    ratios = [kept / default for kept, default in zip(seconds["kept"], seconds["default"], strict=True)]
    result = {
        "claim": "with its kernels kept, a step takes a tenth to a fifth less time",
        "ratios": ratios,
        "seconds_a_step": seconds,
        "machine": describe_machine(),
    }
    print("ratios " + " ".join(f"{ratio:.2f}" for ratio in ratios))
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
