"""Claims: shared weights find a network for Fashion-MNIST within 0.30 ms in half the time of a search by trials, at
least as accurate; and over three searches the winners are above random ones within the budget, trained alike.

The origin of each winner tells whether the controller derived it or whether it is one of the plain networks.

Runs `archfit search fashion-mnist --method shared --latency 0.3ms --time 15m --control 8` for each seed (the control
is trained after the 15 minutes) and sets it beside the search by trials in results/fashion_mnist_30min.json. A run
that is there already is read back.

    python benchmarks/shared_search.py [--runs runs/shared] [--time 15m] [--seeds 3] [--control 8]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import archfit
from machine import describe_machine

RESULTS = Path(__file__).parent / "results"


def searched(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    folder = args.runs / f"seed-{seed}"
    if (folder / "result.json").is_file():
        found = archfit.load(folder)
    elif folder.exists():
        found = archfit.resume(folder)
    else:
        found = archfit.search(
            "fashion-mnist",
            method="shared",
            latency=f"{args.latency}ms",
            time=args.time,
            control=args.control,
            seed=seed,
            out=folder,
        )
    record = found.record
    origin = next(t.origin for t in found.trials if f"trial {t.number}" == record.winner.name)
    latency = record.winner.cost.latency
    assert latency is not None
    shared = record.search["shared"]
    return {
        "seed": seed,
        "origin": origin,
        "test_accuracy": record.test.accuracy,
        "latency_ms": latency.p50_ms,
        "params": record.winner.cost.params,
        "within_budget": record.winner.within_budget,
        "epochs": record.winner.epochs,
        "control": [n.test_accuracy for n in record.trained if n.role == "control"],
        "seconds": record.seconds,
        **{name: shared[name] for name in ("epochs", "steps", "controller", "random", "latency_table")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/shared"))
    parser.add_argument("--time", default="15m")
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--control", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS / "shared_search.json")
    args = parser.parse_args()
    by_trials = json.loads((RESULTS / "fashion_mnist_30min.json").read_text())
    rows = []
    for seed in range(args.seeds):
        rows.append(searched(args, seed))
        print(f"seed {seed}: {rows[-1]['test_accuracy']:.4f}, control {rows[-1]['control']}", flush=True)
        # Each search is compared with its own control, so that seeds do not matter.
        gains = [row["test_accuracy"] - statistics.fmean(row["control"]) for row in rows if row["control"]]
        result = {
            "claim": "in half the time at least as accurate as by trials; above random networks by two standard errors",
            "time": args.time,
            "latency_ms": args.latency,
            "searches": rows,
            "mean_test_accuracy": statistics.fmean(row["test_accuracy"] for row in rows),
            "by_trials": {name: by_trials[name] for name in ("command", "test_accuracy")},
            "gain_over_control": statistics.fmean(gains) if gains else None,
            "standard_error": statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None,
            "machine": describe_machine(),
        }
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
