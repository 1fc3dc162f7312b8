"""The search with shared weights: a latency table, a supernet with its controller, and what the controller derives."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archfit.architecture import Architecture, Task, random_architecture
from archfit.cost import Cost, counted
from archfit.data import ImageData
from archfit.device import Device, LatencyTable
from archfit.evaluators import SharedWeights
from archfit.pipeline.meter import SAMPLING, CostMeter
from archfit.pipeline.plan import ALONE_SHARE, KEPT_SPEED, SUPERNET_SHARE
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.tabling import table_progress
from archfit.pipeline.watch import Watch
from archfit.report.wording import percent
from archfit.reward import Reward
from archfit.spaces import SharedSpace
from archfit.study.limits import Limits
from archfit.study.run_folder import RunFolder, write_file
from archfit.study.shared_search import Scored, SharedSearch
from archfit.study.shared_settings import Rule, SharedSettings
from archfit.study.shared_state import SharedStatus
from archfit.study.tabulating import tabulate
from archfit.training import supernet_recipe

SUPERNET = "supernet.pt"
TABLE = "latency_table.json"
DERIVED_TRIALS = 10
_TABLE_SHARE = 0.25
"""Of the search's time, for measuring networks for the latency table."""
_TABLE_ERROR = 0.03
"""That is enough where the time is limited: what is derived is measured itself."""
_DRAWN = 64
_RANKED_IMAGES = 1024
_FEWEST_RANKED = 256
_RANKING_SHARE = 0.15
"""Of the search's time after its table, for ranking what is drawn."""
_RANKED = "ranked_images"
_TRIAL_SECONDS = 4.0
"""Of a derived architecture: measured, and scored on the whole validation split."""
_LONGEST_ROUND = 400
UNTIMED_EPOCHS = 30.0


@dataclass(frozen=True)
class Sharing:
    """The stages of one run before its derived architectures become trials; what was decided is read back.

    Attributes:
        run: Its folder.
        request: What was asked.
        limits: With the default where nothing was limited.
        data: The test split is not read.
        space: That shares weights, scaled to the budget already.
        reward: Of accuracy and cost ratios.
        meter: Measures the networks of the latency table.
        device: That it measures on.
        memory_format: Of the tensors.
        accelerator: Where the supernet is trained.
        watch: Is told how far it is.
    """

    run: RunFolder
    request: SearchRequest
    limits: Limits
    data: ImageData
    space: SharedSpace
    reward: Reward
    meter: CostMeter
    device: Device
    memory_format: str
    accelerator: str
    watch: Watch

    def evaluator(self) -> SharedWeights:
        """Scores what was derived."""
        return SharedWeights(self.run.path / SUPERNET, self.space, self.request.metric, self.memory_format)

    def derived(self) -> list[Architecture]:
        """Trains supernet and controller; the architectures that the controller gives, best first."""
        stored = self.run.decision("derived")
        if stored is None:
            table = self._table() if self.request.budget.latency_ms is not None else None
            search = self._search(PredictedCost(self.space, self.data.task, table))
            search.run()
            stored = self.run.decide("derived", self._derive(search, table))
            self.run.tick("search", at_least=0)
        return [Architecture.from_json(one) for one in stored["architectures"]]

    def _table(self) -> LatencyTable:
        """The one given, or one measured here; kept in the run's folder."""
        path = self.run.path / TABLE
        given, left = self.request.latency_table, self.limits.search_seconds
        if path.is_file():
            return LatencyTable.read(path)
        if given is not None:
            table = LatencyTable.read(Path(given))
            self._check(table)
        else:
            before = self.meter.sampling_seconds
            table = tabulate(
                self.space,
                self.data.task,
                self.device,
                self.meter.sample,
                runtime=self.request.runtime,
                threads=self.request.threads,
                seconds=_TABLE_SHARE * left if left is not None else None,
                enough=_TABLE_ERROR if left is not None else 0.0,
                seed=self.request.seed,
                on_progress=table_progress(self.watch, tick=lambda: self.run.tick("search")),
            )
            self.run.add(SAMPLING, self.meter.sampling_seconds - before)
            self.watch.note(
                f"latency table of {table.networks} networks: one that it has not seen is {percent(table.error)} off "
                "in the median"
            )
        write_file(path, table.text().encode())
        self.run.tick("search", at_least=0)
        return table

    def _check(self, table: LatencyTable) -> None:
        request = self.request
        table.check(self.space, self.data.task, self.device, runtime=request.runtime, threads=request.threads)

    def _search(self, cost: PredictedCost) -> SharedSearch:
        epochs = self.run.decision("supernet_epochs")
        if epochs is None:
            epochs = self.run.decide("supernet_epochs", self._epochs(cost))
            self.watch.note(f"the supernet is trained for {epochs:g} epochs, the controller from a quarter of them on")
        return self._shared(epochs, cost)

    def _shared(self, epochs: float, cost: PredictedCost) -> SharedSearch:
        return SharedSearch(
            self.space,
            self.data.task,
            self.data,
            budget=self.request.budget,
            reward=self.reward,
            cost=cost,
            settings=self._settings(epochs),
            seed=self.request.seed,
            path=self.run.path / SUPERNET,
            on_status=self._on_status,
            accelerator=self.accelerator,
            threads=self.request.worker_count,
            elapsed=self.run.seconds["search"],
        )

    def _settings(self, epochs: float) -> SharedSettings:
        recipe = supernet_recipe(self.data, epochs, self.request.supernet_learning_rate)
        round_steps = max(1, min(_LONGEST_ROUND, len(self.data.train) // (2 * recipe.batch_size)))
        rule: Rule = "ppo" if self.request.sampler == "ppo" else "reinforce"
        return SharedSettings(
            recipe,
            round_steps,
            updates=max(4, round(30 * round_steps / 390)),
            rule=rule,
            memory_format=self.memory_format,
            metric=self.request.metric,
        )

    def _epochs(self, cost: PredictedCost) -> float:
        """As asked; else as many as the search's share of the time allows."""
        if self.request.supernet_epochs is not None:
            return self.request.supernet_epochs
        if self.limits.search_seconds is None:
            return UNTIMED_EPOCHS
        self.watch.step("timing steps of the supernet")
        speed = self._shared(1.0, cost).speed()
        self.run.tick("search", at_least=0)
        left = self.limits.search_seconds - self.run.seconds["search"]
        affordable = _RANKING_SHARE * left / (2 * _DRAWN * speed.image_s)
        ranked = self.run.decide(_RANKED, max(_FEWEST_RANKED, min(_RANKED_IMAGES, int(affordable))))
        after = 2 * _DRAWN * ranked * speed.image_s + (self.limits.trials or DERIVED_TRIALS) * _TRIAL_SECONDS
        after += ALONE_SHARE * self.limits.search_seconds
        settings = self._settings(1.0)
        per_epoch = speed.round_s * len(self.data.train) / settings.images_per_round
        return float(f"{max(0.5, KEPT_SPEED * max(SUPERNET_SHARE * left, left - after) / per_epoch):.2g}")

    def _derive(self, search: SharedSearch, table: LatencyTable | None) -> dict[str, Any]:
        """Ranks what it draws from the controller; as many random architectures, scored alike, are the evidence."""
        rng, start = random.Random(self.request.seed), time.monotonic()
        drawn = search.drawn(_DRAWN)
        uniform = [self.space.canonical(random_architecture(self.space, rng), self.data.task) for _ in range(_DRAWN)]
        images = self.run.decision(_RANKED) or _RANKED_IMAGES
        by_controller = search.scored(drawn, images)
        at_random = search.scored(uniform, images)
        wanted = self.limits.trials or DERIVED_TRIALS
        best = sorted(dict.fromkeys(by_controller), key=lambda one: (not self._within(one), -one.reward))
        return {
            "architectures": [one.architecture.to_json() for one in best[:wanted]],
            "controller": _summary(by_controller),
            "random": _summary(at_random),
            "images": search.images_scored(images),
            "rounds": [asdict(entry) for entry in search.rounds],
            "ranking_seconds": time.monotonic() - start,
            "epochs": self.run.decision("supernet_epochs"),
            "steps": search.steps,
            "latency_table": {
                "networks": table.networks,
                "error": table.error,
                "overhead_ms": table.overhead.p50_ms,
            }
            if table is not None
            else None,
        }

    def _within(self, scored: Scored) -> bool:
        return self.request.budget.worst_ratio(scored.cost) <= 1.0

    def _on_status(self, status: SharedStatus) -> None:
        self.run.tick("search")
        self.watch.sharing(status, self.request.budget)


def _summary(scored: Sequence[Scored]) -> dict[str, float]:
    """Mean and standard error of the rewards, mean accuracy, and the best reward."""
    rewards = [one.reward for one in scored]
    return {
        "architectures": len(scored),
        "mean_reward": statistics.fmean(rewards),
        "standard_error": statistics.stdev(rewards) / len(rewards) ** 0.5 if len(rewards) > 1 else 0.0,
        "best_reward": max(rewards),
        "mean_accuracy": statistics.fmean(one.accuracy for one in scored),
    }


class PredictedCost:
    """The cost of architectures, without building them: counted, and the latency looked up.

    Memory is left out: only an exported network tells it, so bounds on it are held by what is derived alone.

    Args:
        space: Gives the pieces.
        task: Of the networks.
        table: Of the latencies; None where no bound asks for them.
    """

    def __init__(self, space: SharedSpace, task: Task, table: LatencyTable | None = None) -> None:
        self._space = space
        self._task = task
        self._table = table
        self._known: dict[Architecture, Cost] = {}

    def __call__(self, architecture: Architecture) -> Cost:
        if architecture not in self._known:
            pieces = self._space.pieces(architecture, self._task)
            latency = self._table.latency(pieces) if self._table is not None else None
            self._known[architecture] = counted(pieces, latency)
        return self._known[architecture]
