"""Claim: how much faster than a typical network a candidate trains is told by pairs of steps three times as closely as
by its own steps alone, while another process trains beside it.

Two processes at a time do the same: for three networks of the mnas space at width 0.25, by turns, the speed of their
own steps and the speed relative to a typical network's, four steps each; then the same again, 12 times. What is shown
is the standard deviation of each over the mean.

    python benchmarks/candidate_rates.py [--rounds 12]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
from functools import partial
from pathlib import Path

from archfit.architecture import Task, random_architecture
from archfit.nn.seeded import build_seeded
from archfit.pipeline.plan import typical_builder
from archfit.spaces import MnasSpace
from archfit.training import relative_rate, training_rate
from machine import describe_machine

TASK = Task(1, 28, 10)
BATCH = 64


def rounds_of(count: int) -> dict[str, list[list[float]]]:
    """For each network its speeds in every round: alone in images per second, and relative to the typical one."""
    space = MnasSpace(width=0.25)
    typical = typical_builder(space, TASK, 0)
    rng = random.Random(1)
    networks = [space.canonical(random_architecture(space, rng), TASK) for _ in range(3)]
    found: dict[str, list[list[float]]] = {"alone": [[] for _ in networks], "pairs": [[] for _ in networks]}
    for _ in range(count):
        for place, network in enumerate(networks):
            build = partial(build_seeded, space, network, TASK)
            own = training_rate(build, TASK, memory_format="channels_last", batch_size=BATCH, seconds=0.0)
            ratio = relative_rate(build, typical, TASK, memory_format="channels_last", batch_size=BATCH)
            found["alone"][place].append(own)
            found["pairs"][place].append(ratio)
    return found


def spread(speeds: list[float]) -> float:
    return statistics.stdev(speeds) / statistics.mean(speeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "candidate_rates.json")
    args = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        both = pool.map(rounds_of, [args.rounds] * 2)
    result = {
        "machine": describe_machine(),
        "rounds": args.rounds,
        **{how: [round(spread(speeds), 3) for found in both for speeds in found[how]] for how in ("alone", "pairs")},
    }
    for how in ("alone", "pairs"):
        print(f"{how}: {', '.join(f'{each:.1%}' for each in result[how])}")
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
