"""Samplers on spaces of many choices, where no table exists: which one "auto" should take.

    python benchmarks/samplers_synthetic.py

The value of an architecture is a random effect per option plus one per pair of options of neighbouring choices,
standardised over random points; what a sampler is told has noise of a fifth of a standard deviation. The result is
the best true value found, in standard deviations above a random architecture.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from archfit.architecture import Choice
from archfit.samplers import distributions, make_sampler
from machine import describe_machine

SHAPES = ((12, 4), (36, 3))
EVALUATIONS = (30, 50, 100, 200, 400)


class Landscape:
    def __init__(self, choices: int, options: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.single = rng.normal(0, 1, (choices, options))
        self.pair = rng.normal(0, 0.7, (choices - 1, options, options))
        drawn = [self.raw(rng.integers(0, options, choices).tolist()) for _ in range(3000)]
        self.centre, self.scale = statistics.mean(drawn), statistics.stdev(drawn)

    def raw(self, indices: list[int]) -> float:
        single = sum(row[index] for row, index in zip(self.single, indices, strict=True))
        pairs = zip(self.pair, indices[:-1], indices[1:], strict=True)
        return float(single + sum(block[first, second] for block, first, second in pairs))

    def value(self, indices: list[int]) -> float:
        return (self.raw(indices) - self.centre) / self.scale


def best_found(name: str, choices: int, options: int, seed: int) -> list[float]:
    landscape, noise = Landscape(choices, options, seed), np.random.default_rng([seed, 1])
    space = tuple(Choice(f"choice{position}", tuple(range(options))) for position in range(choices))
    study = optuna.create_study(sampler=make_sampler(name, choices=space, seed=seed), direction="maximize")
    values: list[float] = []
    for _ in range(max(EVALUATIONS)):
        trial = study.ask(fixed_distributions=distributions(space))
        values.append(landscape.value([trial.params[choice.name] for choice in space]))
        study.tell(trial, values[-1] + noise.normal(0, 0.2))
    return [max(values[:count]) for count in EVALUATIONS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="landscapes per sampler")
    parser.add_argument("--samplers", default="random,evolution,ppo,reinforce,predictor", help="names, comma-separated")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "samplers_synthetic.json")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    result: dict[str, Any] = {"evaluations": EVALUATIONS, "seeds": options.seeds, "spaces": {}}
    for choices, each in SHAPES:
        space = result["spaces"][f"{choices} choices of {each}"] = {}
        for name in options.samplers.split(","):
            found = np.array([best_found(name, choices, each, seed) for seed in range(options.seeds)])
            error = found.std(0, ddof=1) / options.seeds**0.5
            space[name] = {"mean": found.mean(0).round(3).tolist(), "standard_error": error.round(3).tolist()}
            print(choices, each, name, space[name]["mean"], flush=True)
    result["machine"] = describe_machine()
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
