"""Claim: at equal time on Fashion-MNIST, successive halving recommends better networks than its longest rung for all.

Random networks of a search's own space are trained as its rungs train them (e epochs, on to 3e, on to 9e), and anew for
2.33e epochs, which is what halving spends on one in the mean. Then each in full for a few epochs, which is the truth.
From these real trainings searches are played: the networks come in random order, and every search stops after the same
seconds of training. In one the study's own rule says which networks go on; in the others all have the first rung alone,
the mean, or all three rungs. What is compared is the full accuracy of the network that a search puts first, and of the
better of the two that it puts first.

    python benchmarks/halving.py [--networks 40] [--first 0.05] [--full 2] [--searches 1000]

What is trained is kept in the log; a second call trains only what it lacks.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau
from torch import nn

from archfit.architecture import Architecture
from archfit.cost import Cost, counted
from archfit.data import load_data
from archfit.errors import DivergedError
from archfit.evaluators import ProxyTraining
from archfit.pipeline.plan import epochs_per_candidate
from archfit.spaces import MnasSpace, space_at
from archfit.study.candidates import training_pool
from archfit.study.ranking import next_promotion, rank
from archfit.study.record import TrialRecord
from archfit.training import final_recipe, fit
from drawing import drawn
from machine import describe_machine

FACTORS = (3.0, 3.0)
ARMS = ("halving", "rung0", "mean", "longest")


def space_of_width(width: float) -> MnasSpace:
    """The step of the ladder that a search goes down where a budget or the time asks for such a width."""
    step = space_at("mnas")
    assert isinstance(step, MnasSpace)
    while step.width > width:
        smaller = step.smaller()
        assert smaller is not None, f"the space is never of width {width}"
        step = smaller
    return step


def train(
    space: MnasSpace, architecture: Architecture, first: float, full: float, seed: int, context: Any, report: Any
) -> dict[str, Any]:
    """One network's trainings: name -> accuracy on the validation split, and seconds."""
    data = context.data
    found: dict[str, Any] = {}

    def begun(shift: int) -> nn.Module:
        torch.manual_seed(seed + shift)
        return space.build(architecture, data.task)

    def proxy(name: str, network: nn.Module, epochs: float, shift: int, *, continued: bool = False) -> None:
        start = time.monotonic()
        accuracy = ProxyTraining(epochs, continued=continued).evaluate(
            architecture, network, data, seed=seed + shift, on_progress=lambda _: report(0.0)
        )
        found[name] = {"accuracy": accuracy, "seconds": time.monotonic() - start}

    network = begun(0)
    proxy("rung0", network, first, 0)
    proxy("rung1", network, 2 * first, 1, continued=True)
    proxy("rung2", network, 6 * first, 2, continued=True)
    mean = epochs_per_candidate([first, 3 * first, 9 * first])
    proxy("mean", begun(3), mean, 3)
    start = time.monotonic()
    recipe = final_recipe(data, full)
    try:
        training = fit(begun(4), data, recipe, seed=seed + 4, on_progress=lambda _: report(0.0))
    except DivergedError:  # as first trainings do, more carefully
        training = fit(begun(4), data, recipe.slower(), seed=seed + 4, on_progress=lambda _: report(0.0))
    found["full"] = {"accuracy": training.curve[-1][2], "seconds": time.monotonic() - start}
    return found


def trained(args: argparse.Namespace, space: MnasSpace) -> list[dict[str, Any]]:
    data = load_data("fashion-mnist").without_test()
    networks = drawn(space, args.networks, data.task, args.seed)
    rows: dict[int, dict[str, Any]] = {}
    if args.log.is_file():
        rows = {row["network"]: row for row in map(json.loads, args.log.read_text(encoding="utf-8").splitlines())}
    missing = [key for key in range(args.networks) if key not in rows]
    jobs = [partial(train, space, networks[key], args.first, args.full, 1000 * key) for key in missing]
    with training_pool(data, args.workers) as pool, args.log.open("a", encoding="utf-8") as log:
        for event in pool.run(jobs):
            if event.kind == "progress":
                continue
            if event.kind != "done":
                raise SystemExit(str(event.value))
            key = missing[event.key]
            cost = counted(space.pieces(networks[key], data.task))
            row = {"network": key, "choices": dict(networks[key].choices), "madds": cost.madds, **event.value}
            rows[key] = row
            print(json.dumps(row), file=log, flush=True)
            print(f"network {key}: {row['full']['accuracy']:.2%} in full, {args.networks - len(rows)} left", flush=True)
    return [rows[key] for key in range(args.networks)]


def steps_of(row: dict[str, Any], arm: str) -> list[tuple[float, float]]:
    """Accuracy and seconds of each training that an arm may give a network, one after the other."""
    rungs = [(row[name]["accuracy"], row[name]["seconds"]) for name in ("rung0", "rung1", "rung2")]
    if arm == "halving":
        return rungs
    if arm == "longest":
        return [(rungs[-1][0], sum(seconds for _, seconds in rungs))]
    return [(row[arm]["accuracy"], row[arm]["seconds"])]


def played(space: MnasSpace, rows: list[dict[str, Any]], arm: str, seconds: float, order: list[int]) -> list[float]:
    """The full accuracies of the two networks that one search puts first; they come in this order."""
    coming = list(order)
    trials: list[TrialRecord] = []
    network: dict[int, int] = {}
    spent = 0.0
    while True:
        due = next_promotion(trials, FACTORS if arm == "halving" else (), space, by_accuracy)
        if due is None and not coming:
            break
        row, rung = (coming.pop(0), 0) if due is None else (network[due.number], due.rung + 1)
        accuracy, cost = steps_of(rows[row], arm)[rung]
        spent += cost
        if spent > seconds and trials:
            break
        number = len(trials)
        network[number] = row
        trials.append(
            TrialRecord(
                number=number,
                state="complete",
                architecture=Architecture(space.name, tuple(rows[row]["choices"].items())),
                origin="random",
                cost=Cost(params=0, madds=rows[row]["madds"]),
                accuracy=accuracy,
                reward=accuracy,
                within_budget=True,
                rung=rung,
                promotes=due.number if due is not None else None,
            )
        )
    best = rank(trials, space, by_accuracy)[:2]
    return [rows[network[trial.number]]["full"]["accuracy"] for trial in best]


def by_accuracy(accuracy: float, cost: Cost) -> float:
    return accuracy


def compared(space: MnasSpace, rows: list[dict[str, Any]], seconds: float, searches: int, seed: int) -> dict[str, Any]:
    """By arm, the mean full accuracy of the first, and of the better of the first two, over the same orders."""
    rng = random.Random(seed)
    found: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    for _ in range(searches):
        order = rng.sample(range(len(rows)), len(rows))
        for arm, results in found.items():
            results.append(played(space, rows, arm, seconds, order))
    return {
        arm: {
            "first": statistics.fmean(best[0] for best in results),
            "better_of_two": statistics.fmean(max(best) for best in results),
        }
        for arm, results in found.items()
    }


def intervals(
    space: MnasSpace, rows: list[dict[str, Any]], seconds: float, replicates: int, seed: int
) -> dict[str, Any]:
    """Standard errors of halving's gains: networks drawn anew with replacement, 20 searches on each draw."""
    rng = random.Random(seed)
    gains: dict[str, dict[str, list[float]]] = {arm: {"first": [], "better_of_two": []} for arm in ARMS[1:]}
    for replicate in range(replicates):
        drawn_rows = rng.choices(rows, k=len(rows))
        means = compared(space, drawn_rows, seconds, 20, seed + replicate)
        for arm, kinds in gains.items():
            for kind, values in kinds.items():
                values.append(means["halving"][kind] - means[arm][kind])
    return {arm: {kind: statistics.stdev(values) for kind, values in kinds.items()} for arm, kinds in gains.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--first", type=float, default=0.05, help="epochs of the first rung")
    parser.add_argument("--full", type=float, default=2.0, help="epochs of the full training")
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=12, help="that halving has time to begin, about")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("halving.jsonl"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "halving.json")
    args = parser.parse_args()
    space = space_of_width(args.width)
    rows = trained(args, space)
    each = [steps_of(row, "halving") for row in rows]
    seconds = args.candidates * statistics.fmean(a[1] + b[1] / 3 + c[1] / 9 for a, b, c in each)
    means = compared(space, rows, seconds, args.searches, args.seed)
    errors = intervals(space, rows, seconds, args.replicates, args.seed)
    full = [row["full"]["accuracy"] for row in rows]
    result = {
        "claim": "at equal time successive halving recommends a better network than its longest rung for all",
        "dataset": "fashion-mnist",
        "space": {"name": space.name, "settings": space.settings()},
        "epochs": {"rungs": [args.first, 3 * args.first, 9 * args.first], "full": args.full},
        "seconds_of_a_search": seconds,
        "full_accuracies": {"mean": statistics.fmean(full), "best": max(full), "deviation": statistics.pstdev(full)},
        "kendall_tau_with_full": {
            name: float(kendalltau([row[name]["accuracy"] for row in rows], full).statistic)
            for name in ("rung0", "rung1", "rung2", "mean")
        },
        "arms": means,
        "gain_of_halving": {
            arm: {
                kind: {"points": 100 * (means["halving"][kind] - means[arm][kind]), "standard_error": 100 * error}
                for kind, error in kinds.items()
            }
            for arm, kinds in errors.items()
        },
        "networks": rows,
        "machine": describe_machine(),
    }
    for arm, gains in result["gain_of_halving"].items():
        shown = ", ".join(f"{kind} {g['points']:+.2f} ± {g['standard_error']:.2f}" for kind, g in gains.items())
        print(f"against {arm}: {shown}")
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
