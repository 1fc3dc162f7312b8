"""Samplers on real accuracies: NAS-Bench-Macro, 6,561 networks trained three times on CIFAR-10.

    python benchmarks/samplers_macro.py PATH/nas-bench-macro_cifar10.json --seeds 50

The reward of an evaluation is one of the three runs, drawn per evaluation. Regret: mean accuracy of the best network of
the table minus mean accuracy of the network that a search recommends, in percentage points: the one that is best by
the rewards of all similar ones, as a search ranks its finalists. `raw` is the regret of the one with the best single
run; even buying the whole table leaves 0.071 by it. `found` is that of the best network among those evaluated, known
only with hindsight. Everything runs through Optuna's ask and tell, as a search does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from archfit.architecture import Choice
from archfit.samplers import Observation, denoised, distributions, make_sampler
from machine import describe_machine

CHOICES = tuple(Choice(f"layer{layer}", ("0", "1", "2")) for layer in range(1, 9))
EVALUATIONS = (50, 100, 200)

Table = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Searched:
    """Accuracies of the trials of one search, in percent: as observed, in the mean, and the trials' points."""

    observed: list[float]
    means: list[float]
    points: list[tuple[int, ...]]

    def recommended(self, count: int) -> float:
        """Mean accuracy of what the first trials recommend."""
        history = [
            Observation(number, point, reward)
            for number, (point, reward) in enumerate(zip(self.points[:count], self.observed, strict=False))
        ]
        expected = denoised(history)
        return self.means[max(range(count), key=lambda number: expected[number])]

    def raw(self, count: int) -> float:
        return self.means[max(range(count), key=lambda number: self.observed[number])]


def search(table: Table, name: str, seed: int, trials: int) -> Searched:
    sampler = make_sampler(name, choices=CHOICES, seed=seed)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    runs = np.random.default_rng([seed, 1])
    found = Searched([], [], [])
    for _ in range(trials):
        trial = study.ask(fixed_distributions=distributions(CHOICES))
        row = table["".join(trial.params[choice.name] for choice in CHOICES)]
        observed = row["test_acc"][runs.integers(3)]
        trial.set_user_attr("reward", observed / 100)
        study.tell(trial, observed / 100)
        found.observed.append(observed)
        found.means.append(row["mean_acc"])
        found.points.append(tuple(int(trial.params[choice.name]) for choice in CHOICES))
    return found


def summary(values: Sequence[float]) -> dict[str, float]:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 4), "standard_error": round(error, 4)}


def measure(table: Table, name: str, seeds: int) -> dict[str, Any]:
    best = max(row["mean_acc"] for row in table.values())
    start = time.perf_counter()
    searches = [search(table, name, seed, max(EVALUATIONS)) for seed in range(seeds)]
    seconds = time.perf_counter() - start
    result: dict[str, Any] = {"seeds": seeds, "ms_per_trial": round(seconds / seeds / max(EVALUATIONS) * 1e3, 2)}
    for count in EVALUATIONS:
        result[str(count)] = {
            "regret": summary([best - each.recommended(count) for each in searches]),
            "raw": summary([best - each.raw(count) for each in searches]),
            "found": summary([best - max(each.means[:count]) for each in searches]),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="nas-bench-macro_cifar10.json (xiusu/NAS-Bench-Macro)")
    parser.add_argument("--seeds", type=int, default=50, help="searches per sampler")
    parser.add_argument(
        "--samplers", default="random,evolution,ppo,reinforce,tpe,predictor", help="names, comma-separated"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "samplers_macro.json")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    table: Table = json.loads(options.table.read_text(encoding="utf-8"))
    result: dict[str, Any] = {"table": options.table.name, "unit": "percentage points", "samplers": {}}
    for name in options.samplers.split(","):
        result["samplers"][name] = measured = measure(table, name, options.seeds)
        regrets = ", ".join(f"{count}: {measured[str(count)]['regret']['mean']:.3f}" for count in EVALUATIONS)
        print(f"{name:10} {regrets} ({measured['ms_per_trial']} ms per trial)", flush=True)
    result["machine"] = describe_machine()
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
