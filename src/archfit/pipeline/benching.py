"""The verb `bench samplers`: samplers against each other on a table of trained networks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from archfit._version import __version__
from archfit.cost import Budget
from archfit.errors import InputError, RunError, unknown_name
from archfit.evaluators import read_table
from archfit.pipeline.watch import Silent, Watch
from archfit.report.benching import SamplerResult, ratio_to, summarised, write_bench
from archfit.reward import Reward, get_reward
from archfit.samplers import SAMPLERS
from archfit.study.playing import Game, MakeSampler, Played, play
from archfit.study.run_folder import RunFolder, write_json
from archfit.study.workers import WorkerPool
from archfit.training import available_cores

BENCH, PAGE = "bench.json", "bench.html"
_LOOKS = 12
"""Places of a curve beside those asked for."""


@dataclass(frozen=True)
class Bench:
    """Samplers on one table.

    Attributes:
        table: Its file's name.
        reward: Its name.
        budget: For the reward.
        seeds: Of the searches, the same for all samplers.
        samplers: In the order asked for.
        evaluations: Those asked for.
        ratios: Of each sampler's mean regret to that of `against` keeping its best observation, with 95 % bounds, by
            sampler and evaluations.
        against: Sampler that the others are compared with, or None.
        folder: With `bench.json` and `bench.html`, where they were written.
    """

    table: str
    reward: str
    budget: Budget
    seeds: tuple[int, ...]
    samplers: tuple[SamplerResult, ...]
    evaluations: tuple[int, ...]
    ratios: dict[str, dict[int, tuple[float, float, float]]]
    against: str | None
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        return {
            "archfit": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "table": self.table,
            "reward": self.reward,
            "budget": self.budget.to_json(),
            "seeds": list(self.seeds),
            "evaluations": list(self.evaluations),
            "samplers": [result.to_json() for result in self.samplers],
            "against": self.against,
            "ratios": {
                name: {str(count): list(ratio) for count, ratio in by_count.items()}
                for name, by_count in self.ratios.items()
            },
        }


def bench_samplers(
    table: str | Path,
    *,
    samplers: Sequence[str] | Mapping[str, str | MakeSampler] = ("auto", "evolution", "random"),
    evaluations: Sequence[int] = (50, 100, 200),
    seeds: int = 50,
    seed: int = 0,
    budget: Budget | None = None,
    reward: str | Reward = "absolute",
    against: str = "evolution",
    workers: int | None = None,
    out: str | Path | None = None,
    watch: Watch | None = None,
) -> Bench:
    """Plays searches on a table of trained networks (see `archfit.evaluators.read_table` for its format).

    Args:
        table: CSV or JSON file.
        samplers: Names; or names of your own, each with one of archfit's or a function that makes an Optuna sampler
            from choices and seed.
        evaluations: Numbers of trials after which the searches are compared.
        seeds: Searches by each sampler.
        seed: Of the first search.
        budget: Bounds of costs in the table; without any the reward is the accuracy.
        reward: "absolute", "soft" or "hard", or a function of accuracy and cost ratios.
        against: Sampler whose best observation the others' recommendations are compared with, where it plays.
        workers: Processes; None is one per core.
        out: New folder for `bench.json` and `bench.html`.
        watch: Is told how far it is.

    Raises:
        InputError: An argument or the table is not as it must be.
    """
    watch = watch or Silent()
    made: dict[str, str | MakeSampler] = (
        dict(samplers) if isinstance(samplers, Mapping) else {name: name for name in samplers}
    )
    for name in made.values():
        if isinstance(name, str) and name not in SAMPLERS:
            raise unknown_name("sampler", name, SAMPLERS)
    if not samplers or len(set(samplers)) < len(samplers):
        raise InputError(f"samplers is {','.join(samplers)}; give at least one, each once")
    for label, value in (("seeds", seeds), ("workers", workers or 1), ("evaluations", min(evaluations, default=0))):
        if value < 1:
            raise InputError(f"{label} is {value}; it must be at least 1")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    worth = get_reward(reward) if isinstance(reward, str) else reward
    if out is not None:
        RunFolder.check_free(Path(out))
    watch.step(f"reading {table}")
    rows, budget = read_table(Path(table)), budget or Budget()
    known = {"latency": "latency_ms", "memory": "memory_bytes", "params": "params", "madds": "madds"}
    for name in budget.names():
        if known[name] not in rows.costs:
            raise InputError(f"{table} has no column {known[name]!r}, which the bound of {name} needs")
        for row in rows.rows.values():
            if (ratio := budget.ratios(row.cost)[name]) <= 0:
                raise InputError(f"{table} has {known[name]!r} of {ratio:g} times its bound; a cost is above zero")
    asked = tuple(sorted(set(evaluations)))
    if asked[-1] > len(rows.rows):
        raise InputError(f"evaluations is {asked[-1]}; the table has {len(rows.rows):,} networks")
    game = Game(rows, budget, worth, looks(asked))
    played = _played(game, made, range(seed, seed + seeds), workers or available_cores(), watch)
    results = tuple(summarised(name, game.evaluations, played[name]) for name in samplers)
    baseline = next((result for result in results if result.name == against), None)
    bench = Bench(
        table=rows.name,
        reward=reward if isinstance(reward, str) else getattr(reward, "__name__", "own"),
        budget=budget,
        seeds=tuple(range(seed, seed + seeds)),
        samplers=results,
        evaluations=asked,
        ratios={result.name: ratio_to(baseline, result, asked) for result in results} if baseline else {},
        against=against if baseline else None,
        folder=Path(out) if out is not None else None,
    )
    if bench.folder is not None:
        bench.folder.mkdir(parents=True, exist_ok=True)
        write_json(bench.folder / BENCH, bench.to_json(), "archfit bench samplers ... --out FOLDER")
        write_bench(bench.to_json(), results, bench.folder / PAGE)
    return bench


def looks(asked: Sequence[int]) -> tuple[int, ...]:
    """The evaluations asked for and some between, evenly spaced in their logarithm."""
    most = asked[-1]
    between = {round(most ** ((step + 1) / _LOOKS)) for step in range(_LOOKS)}
    return tuple(sorted({count for count in between if count >= min(4, most)} | set(asked)))


def _played(
    game: Game, samplers: Mapping[str, str | MakeSampler], seeds: range, workers: int, watch: Watch
) -> dict[str, list[Played]]:
    searches = [(name, seed) for seed in seeds for name in samplers]
    found: dict[str, list[Played]] = {name: [] for name in samplers}
    start, done = time.monotonic(), 0
    with WorkerPool(partial(_same, game), min(workers, len(searches))) as pool:
        for event in pool.run([partial(_job, samplers[name], seed) for name, seed in searches]):
            name, seed = searches[event.key]
            if event.kind in ("failed", "lost"):
                raise RunError(f"the search by {name!r} with seed {seed} broke off: {event.value}")
            if event.kind == "done":
                found[name].append(event.value)
                done += 1
                left = (time.monotonic() - start) / done * (len(searches) - done)
                watch.step(f"played {done} of {len(searches)} searches, about {left:.0f} s left")
    return {name: sorted(played, key=lambda one: one.seed) for name, played in found.items()}


def _same(game: Game) -> Game:
    return game


def _job(sampler: str | MakeSampler, seed: int, game: Game, report: Any) -> Played:
    del report
    return play(game, sampler, seed)
