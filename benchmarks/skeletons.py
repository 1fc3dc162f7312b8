"""Claim: with h-swish and a narrower head, which leaves room for width, a network is more accurate at equal latency.

Builds the choices of a searched network at other widths, heads and activations, measures the latency and the time of a
training step, and trains each from scratch by the finalists' recipe. What --out has already is kept; without --epochs
nothing is trained.

    python benchmarks/skeletons.py [NETWORK] [--variants 0.18/1280/relu,0.22/320/hswish] [--epochs 12] [--seeds 1]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from archfit.architecture import Architecture, Task
from archfit.data import load_data
from archfit.device import LocalDevice, measure_cost
from archfit.nn.seeded import build_seeded
from archfit.spaces import MnasSpace
from archfit.study.candidates import training_pool
from archfit.training import one_thread, training_rate
from machine import describe_machine
from rivals_over_seeds import RESULTS, train

BATCH = 64


def variant(written: str, network: dict[str, Any]) -> tuple[MnasSpace, Architecture]:
    """The space of "WIDTH/HEAD/ACTIVATION", else as the network's, and its choices in it."""
    width, head, activation = written.split("/")
    space = MnasSpace.from_settings(network["settings"])
    skeleton = replace(space.skeleton, head=int(head), activation=activation)
    return replace(space, width=float(width), skeleton=skeleton), Architecture.from_json(network)


def build(written: str, network: dict[str, Any], task: Task) -> nn.Module:
    space, architecture = variant(written, network)
    return space.build(architecture, task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", type=Path, default=RESULTS / "fashion_mnist_network_avx2.json")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--variants", default="0.18/1280/relu,0.18/320/relu,0.18/1280/hswish,0.22/320/hswish")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "skeletons.json")
    args = parser.parse_args()
    network = json.loads(args.network.read_text(encoding="utf-8"))
    data = load_data(args.dataset)
    known = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    rows: dict[str, Any] = known.get("variants", {})
    variants = args.variants.split(",")

    def keep() -> None:
        result = {
            "claim": "h-swish and a narrower head are more accurate at equal latency",
            "network": args.network.name,
            "dataset": args.dataset,
            "epochs": args.epochs or known.get("epochs"),
            "variants": rows,
            "machine": describe_machine(),
        }
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    with one_thread():
        for written in variants:
            space, architecture = variant(written, network)
            cost = measure_cost(
                build_seeded(space, architecture, data.task), data.task, LocalDevice(), runtime="onnxruntime"
            )
            rate = training_rate(
                partial(build, written, network, data.task),
                data.task,
                memory_format="channels_last",
                batch_size=BATCH,
                seconds=5.0,
            )
            assert cost.latency is not None
            row = rows.setdefault(written, {"test_accuracies": {}})
            row |= {
                "latency_ms": cost.latency.p50_ms,
                "madds": cost.madds,
                "params": cost.params,
                "step_ms": BATCH / rate * 1000,
            }
            print(f"{written}: {cost.latency.p50_ms:.3f} ms, a step {row['step_ms']:.1f} ms", flush=True)
    keep()
    if args.epochs is None:
        return
    work = [
        (written, seed)
        for seed in range(args.seeds)
        for written in variants
        if str(seed) not in rows[written]["test_accuracies"]
    ]
    jobs = [
        partial(train, build=partial(build, written, network), epochs=args.epochs, seed=seed, where="cpu")
        for written, seed in work
    ]
    with training_pool(data, args.processes) as pool:
        for event in pool.run(jobs):
            if event.kind == "progress":
                continue
            written, seed = work[event.key]
            if event.kind != "done":
                raise SystemExit(f"{written}, seed {seed}: {event.value}")
            rows[written]["test_accuracies"][str(seed)] = event.value
            print(f"{written}, seed {seed}: {event.value:.4f}", flush=True)
            keep()


if __name__ == "__main__":
    main()
