"""Claim: the default sampler leaves at most half of the regret of regularised evolution keeping its best observation.

Plays searches on NAS-Bench-Macro (6,561 networks trained three times on CIFAR-10), paired by seed: for accuracy alone,
and for the reward `absolute` with a bound on multiply-adds that half of the networks hold. See `archfit bench
samplers` for what is measured. Even buying the whole table leaves 0.071 points to whoever keeps the best single
training, as that is a lucky one. The regret of the best network that a search has seen tells how much of its regret
lies in the choice among them.

    python benchmarks/samplers_macro.py PATH/nas-bench-macro_cifar10.json [--seeds 200] [--gp-seeds 30]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.samplers import BaseSampler

from archfit.architecture import Choice
from archfit.cost import Budget
from archfit.evaluators import read_table
from archfit.pipeline import Bench, Silent, bench_samplers
from archfit.samplers import Evolution, ProposerSampler
from machine import describe_machine

BASELINE = "evolution 20/5"


class Printed(Silent):
    """Prints a line now and then."""

    def step(self, text: str) -> None:
        if text.startswith("played") and int(text.split()[1]) % 50 == 0:
            print(text, flush=True)


def as_published(choices: Sequence[Choice], seed: int) -> BaseSampler:
    """Regularised evolution with a population of 20 and tournaments of 5."""
    options = tuple(len(choice.options) for choice in choices)
    return ProposerSampler(Evolution(options, seed, population=20, tournament_size=5, startup_trials=20), choices, seed)


def summary(bench: Bench) -> dict[str, Any]:
    """Without the regrets of single searches."""
    rows: dict[str, Any] = {}
    for result in bench.samplers:
        by_count, ratios = {}, bench.ratios[result.name]
        for count in bench.evaluations:
            look = result.evaluations.index(count)
            by_count[str(count)] = {
                "regret": round(result.regret.mean[look], 4),
                "half_interval": round(result.regret.high[look] - result.regret.mean[look], 4),
                "regret_of_best_observation": round(result.regret_observed.mean[look], 4),
                "regret_of_best_seen": round(result.regret_seen.mean[look], 4),
                # None where the baseline has no regret, as after a few searches.
                "ratio": [round(value, 3) for value in ratios[count]] if count in ratios else None,
            }
        rows[result.name] = {"ms_per_proposal": round(result.ms_per_proposal, 2), **by_count}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="nas-bench-macro_cifar10.json (xiusu/NAS-Bench-Macro)")
    parser.add_argument("--seeds", type=int, default=200, help="searches per sampler")
    parser.add_argument("--samplers", default="auto,evolution,ppo,reinforce,tpe,nsga2,random", help="with commas")
    parser.add_argument("--gp-seeds", type=int, default=30, help="searches of Optuna's GP, which take 20 s each")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "samplers_macro.json")
    options = parser.parse_args()
    madds = statistics.median(row.cost.madds for row in read_table(options.table).rows.values())
    samplers: dict[str, Any] = {BASELINE: as_published, **{name: name for name in options.samplers.split(",")}}
    result: dict[str, Any] = {
        "claim": "half the regret of regularised evolution keeping its best observation, after 100 and 200 evaluations",
        "table": options.table.name,
        "seeds": options.seeds,
        "unit": "percentage points of the reward",
        "baseline": BASELINE,
    }
    for title, budget in (("accuracy", Budget()), ("absolute, MAdds", Budget(madds=int(madds)))):
        bench = bench_samplers(
            options.table, samplers=samplers, seeds=options.seeds, budget=budget, against=BASELINE, watch=Printed()
        )
        rows = summary(bench)
        if options.gp_seeds:
            slow = bench_samplers(
                options.table,
                samplers={BASELINE: as_published, "gp": "gp"},
                seeds=options.gp_seeds,
                budget=budget,
                against=BASELINE,
                watch=Printed(),
            )
            rows["gp"] = {"seeds": options.gp_seeds, **summary(slow)["gp"]}
        result[title] = {"budget": budget.to_json(), "samplers": rows}
        for name, row in rows.items():
            shown = ", ".join(f"{count}: {row[str(count)]['regret']:.3f}" for count in bench.evaluations)
            print(f"{title}: {name:15} {shown} ({row['ms_per_proposal']} ms)", flush=True)
        options.out.write_text(json.dumps({**result, "machine": describe_machine()}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
