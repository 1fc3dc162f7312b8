"""Question: how well do short trainings rank what longer ones tell apart, and does it pay to train fewer for longer?

Takes the best candidates of a search's first rung, one network each, and trains them again by several ladders of
successive halving (every rung of every network, as if all had been promoted), each ladder from scratch, and once by the
finalists' recipe. All are trained equally long, as candidates and finalists are. What a rung is worth is Kendall's tau
between its accuracies on the validation split and those of the longest training on held-out images as well.

    python benchmarks/proxy_fidelity.py RUN [--networks 16] [--ladders 0.17,0.51 0.34,1.0] [--final-epochs 4]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau

from archfit.architecture import Architecture, Task
from archfit.data import load_data
from archfit.evaluators import ProxyTraining
from archfit.report.load import read_result
from archfit.spaces import MnasSpace
from archfit.study.candidates import WorkerContext, training_pool
from archfit.study.storage import open_study, records, study_place
from archfit.training import final_recipe, fit, get_metric, proxy_recipe, score, training_rate
from long_training import held_out
from machine import describe_machine

Ladder = tuple[float, ...]


def candidates(folder: Path, count: int) -> tuple[MnasSpace, list[Architecture]]:
    """The space of a run and what its first rung ranked best within the budget, best first."""
    space = MnasSpace.from_settings(read_result(folder).space["settings"])
    trials = records(open_study(study_place(folder, "sqlite", None)))
    trained = [t for t in trials if t.state == "complete" and t.rung == 0 and t.within_budget]
    ranked = sorted(trained, key=lambda trial: -(trial.reward or 0.0))
    return space, list(dict.fromkeys(t.architecture for t in ranked if t.architecture is not None))[:count]


def climb(
    context: WorkerContext,
    emit: Callable[[float], None],
    *,
    space: MnasSpace,
    architecture: Architecture,
    ladder: Ladder,
    pace: float,
    seed: int,
) -> list[float]:
    """Validation accuracies at the rungs, each trained on from the one before."""
    data = context.data
    torch.manual_seed(seed)
    network = space.build(architecture, data.task)
    found = []
    for low, high in pairwise((0.0, *ladder)):
        proxy = ProxyTraining((high - low) * pace, continued=low > 0)
        found.append(proxy.evaluate(architecture, network, data, seed=seed, on_progress=lambda share: None))
        emit(high / ladder[-1])
    return found


def in_full(
    context: WorkerContext,
    emit: Callable[[float], None],
    *,
    space: MnasSpace,
    architecture: Architecture,
    epochs: float,
    seed: int,
) -> float:
    """Accuracy on the validation and the held-out images after the finalists' training."""
    data = context.data
    torch.manual_seed(seed)
    network = space.build(architecture, data.task)
    fit(network, data, final_recipe(data, epochs), seed=seed, validate=False)
    assert data.test is not None
    pairs = [
        (len(split), score(network, split, data, get_metric("accuracy"))) for split in (data.validation, data.test)
    ]
    return sum(count * accuracy for count, accuracy in pairs) / sum(count for count, _ in pairs)


def taus(rungs: Sequence[Sequence[float]], final: Sequence[float]) -> list[float]:
    return [float(kendalltau(rung, final).statistic) for rung in zip(*rungs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--ladders", nargs="+", default=["0.17,0.51", "0.34,1.0"])
    parser.add_argument("--final-epochs", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "proxy_fidelity.json")
    args = parser.parse_args()
    data = held_out(load_data(args.dataset))
    space, networks = candidates(args.run, args.networks)
    ladders = [tuple(float(rung) for rung in text.split(",")) for text in args.ladders]
    rates = [rate(space, network, data.task, proxy_recipe(data, 1.0).batch_size) for network in networks]
    paces = [each / statistics.median(rates) for each in rates]
    climbs = [
        partial(climb, space=space, architecture=network, ladder=ladder, pace=pace, seed=args.seed)
        for network, pace in zip(networks, paces, strict=True)
        for ladder in ladders
    ]
    finals = [
        partial(in_full, space=space, architecture=network, epochs=args.final_epochs * pace, seed=args.seed)
        for network, pace in zip(networks, paces, strict=True)
    ]
    found: dict[int, Any] = {}
    start = time.monotonic()
    with training_pool(data, 2) as pool:
        for event in pool.run([*climbs, *finals]):
            if event.kind == "progress":
                continue
            if event.kind != "done":
                print(f"job {event.key}: {event.value}", flush=True)
                event = replace(event, value=None)
            found[event.key] = event.value
            print(
                f"{time.monotonic() - start:.0f} s, {len(found)} of {len(climbs) + len(finals)}: {event.value}",
                flush=True,
            )
    final = [found[len(climbs) + place] for place in range(len(networks))]
    table = {}
    for place, text in enumerate(args.ladders):
        rungs = [found[number * len(ladders) + place] for number in range(len(networks))]
        table[text] = {"accuracies": rungs, "kendall_tau": taus(rungs, final)}
        print(f"{text}: Kendall tau {', '.join(f'{tau:.2f}' for tau in table[text]['kendall_tau'])}")
    result = {
        "question": "how well short trainings rank what longer ones tell apart",
        "dataset": args.dataset,
        "networks": [
            {"pace": pace, "final": value, **network.to_json()}
            for pace, value, network in zip(paces, final, networks, strict=True)
        ],
        "final_epochs": args.final_epochs,
        "ladders": table,
        "seed": args.seed,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def rate(space: MnasSpace, architecture: Architecture, task: Task, batch_size: int) -> float:
    """Images per second of a network's training steps on a thread."""
    return training_rate(
        lambda: space.build(architecture, task), task, memory_format="channels_last", batch_size=batch_size
    )


if __name__ == "__main__":
    main()
