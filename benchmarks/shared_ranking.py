"""Claim: accuracies by shared weights rank architectures: Kendall's tau of at least 0.4, above that of MAdds alone.

Takes the supernet of a finished search with shared weights, draws architectures of its space at random, trains each on
its own, and compares the order with that of the shared weights and that of the multiply-adds. A second supernet of the
same space may be compared with what an earlier result has of the training alone.

    python benchmarks/shared_ranking.py RUN [--architectures 24] [--epochs 3] [--alone RESULT]
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau

import archfit
from archfit.architecture import Architecture
from archfit.data import ImageData, load_data
from archfit.evaluators import ProxyTraining, SharedWeights
from archfit.pipeline.sharing import SUPERNET
from archfit.spaces import SharedSpace, space_from
from archfit.study.candidates import training_pool
from drawing import drawn
from machine import describe_machine


def train_alone(
    space: SharedSpace,
    architecture: Architecture,
    epochs: float,
    memory_format: str,
    seed: int,
    context: Any,
    report: Any,
) -> float:
    torch.manual_seed(seed)
    network = space.build(architecture, context.data.task)
    evaluator = ProxyTraining(epochs, memory_format=memory_format)
    return evaluator.evaluate(architecture, network, context.data, seed=seed, on_progress=report)


def alone(
    space: SharedSpace, architectures: list[Architecture], data: ImageData, epochs: float, memory_format: str, log: Path
) -> list[float]:
    """Validation accuracies after training each on its own, two at a time."""
    found: dict[int, float] = {}
    jobs = [
        partial(train_alone, space, architecture, epochs, memory_format, key)
        for key, architecture in enumerate(architectures)
    ]
    with training_pool(data, 2, log=log) as pool:
        for event in pool.run(jobs):
            if event.kind == "done":
                found[event.key] = event.value
                print(f"{len(found)} of {len(architectures)}: {event.value:.4f}", flush=True)
            elif event.kind != "progress":
                raise SystemExit(str(event.value))
    return [found[key] for key in range(len(architectures))]


def earlier(result: dict[str, Any], architectures: list[Architecture]) -> list[float]:
    """The same, as a run of this script found them."""
    known = {json.dumps(row["choices"]): row["alone"] for row in result["architectures"]}
    try:
        return [known[json.dumps(dict(architecture.choices))] for architecture in architectures]
    except KeyError:
        raise SystemExit("--alone is of other architectures: of another space, seed or --architectures") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", type=Path, help="an earlier result, whose accuracies alone are taken")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "shared_ranking.json")
    args = parser.parse_args()
    record = archfit.load(args.run).record
    space = space_from(record.space["name"], record.space["settings"])
    assert isinstance(space, SharedSpace)
    data = load_data(record.dataset["name"]).without_test()
    networks = drawn(space, args.architectures, data.task, args.seed)
    known = json.loads(args.alone.read_text(encoding="utf-8")) if args.alone else None
    accuracies = earlier(known, networks) if known else None
    shared = SharedWeights(args.run / SUPERNET, space, memory_format=record.memory_format)
    by_sharing = []
    for architecture in networks:
        network = space.build(architecture, data.task)
        by_sharing.append(shared.evaluate(architecture, network, data, seed=0, on_progress=lambda _: None))
    madds = [sum(piece.madds for piece in space.pieces(architecture, data.task)) for architecture in networks]
    if accuracies is None:
        accuracies = alone(space, networks, data, args.epochs, record.memory_format, args.run / "workers.log")
    tau, tau_madds = kendalltau(by_sharing, accuracies).statistic, kendalltau(madds, accuracies).statistic
    result = {
        "claim": "Kendall tau of at least 0.4 between shared-weight and stand-alone accuracy, above that of MAdds",
        "tau": float(tau),
        "tau_of_madds": float(tau_madds),
        "dataset": record.dataset["name"],
        "space": record.space,
        "shared": {name: record.search["shared"][name] for name in ("epochs", "steps", "controller", "random")},
        "epochs_alone": known["epochs_alone"] if known else args.epochs,
        "architectures": [
            {"choices": dict(a.choices), "shared": s, "alone": x, "madds": m}
            for a, s, x, m in zip(networks, by_sharing, accuracies, madds, strict=True)
        ],
        "command_of_the_search": record.command,
        "machine": describe_machine(),
    }
    print(f"tau {tau:.2f}, of MAdds {tau_madds:.2f}")
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
