"""What a search gave: the result object in Python, and the record that the summary and the report show."""

from __future__ import annotations

import copy
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import optuna
import torch
from torch import nn

from archfit._version import __version__
from archfit.architecture import Architecture, SearchSpace, space_size
from archfit.cost import Cost
from archfit.data import ImageData
from archfit.deploy import NETWORK
from archfit.device import Device
from archfit.pipeline.meter import SAMPLING
from archfit.pipeline.plan import equal_time
from archfit.pipeline.request import SearchRequest, TrainRequest
from archfit.report import comparable, evidence_sentence, pareto_front
from archfit.report.record import Parity, RunResult, TestResult, TrainedNetwork, cell_graphs, layer_table
from archfit.study.record import GIVEN, TrialRecord
from archfit.study.run_folder import RunFolder

SLOTS = "slots"
"""Decision of a run: how many candidates were trained at a time."""


@dataclass(frozen=True)
class Best:
    """The network that a search recommends.

    Attributes:
        architecture: Point of the space.
        test_accuracy: In [0, 1].
        validation_accuracy: After the full training.
        cost: Measured on the exported file.
        within_budget: By that cost.
        onnx: Path of the exported file.
    """

    architecture: Architecture
    test_accuracy: float
    validation_accuracy: float
    cost: Cost
    within_budget: bool
    onnx: Path
    _network: nn.Module

    def model(self) -> nn.Module:
        """A copy of the trained network in eval mode: normalised `(N, C, H, W)` float in, logits out."""
        return copy.deepcopy(self._network).eval()


@dataclass(frozen=True)
class SearchResult:
    """What `archfit.search` returns.

    Attributes:
        folder: With all files of the run.
        record: Everything that `result.json` says.
        trials: Every trial of the study.
    """

    folder: Path
    record: RunResult
    trials: tuple[TrialRecord, ...]
    _network: nn.Module

    @property
    def best(self) -> Best:
        """The winner."""
        winner = self.record.winner
        assert winner.architecture is not None
        return Best(
            winner.architecture,
            self.record.test.accuracy,
            winner.validation_accuracy,
            winner.cost,
            winner.within_budget,
            self.folder / NETWORK,
            self._network,
        )

    @property
    def front(self) -> list[TrialRecord]:
        """Trained trials that no other beats in both latency and proxy accuracy, fastest first (see `comparable`).

        Multiply-adds stand for latency where that was not measured.
        """
        alike = comparable(self.record.search, self.trials)
        trained = [t for t in alike if t.state == "complete" and t.cost and t.accuracy is not None]
        points = [
            ((t.cost.latency.p50_ms if t.cost.latency else t.cost.madds), t.accuracy)  # type: ignore[union-attr]
            for t in trained
        ]
        return [trained[i] for i in pareto_front(points)]  # type: ignore[arg-type]


def summarise(
    *,
    run: RunFolder,
    request: SearchRequest,
    data: ImageData,
    space: SearchSpace,
    device: Device,
    winner: TrainedNetwork,
    others: Sequence[TrainedNetwork],
    trials: Sequence[TrialRecord],
    test: TestResult,
    parity: Parity,
    stopped: str,
    memory_format: str,
    accelerator: str,
) -> RunResult:
    """Gathers everything that a finished search says of itself."""
    seconds = run.seconds
    states = Counter(trial.state for trial in trials)
    slots = run.decision(SLOTS) or request.worker_count
    stored = run.decision("space") or {}
    settings = space.settings()
    search: dict[str, Any] = {
        "method": request.method,
        "sampler": sampler_name(request, trials),
        "reward": request.reward,
        "metric": request.metric,
        "limits": {k: v for k, v in request.stops.to_json().items() if v is not None},
        "trials": dict(states),
        "workers": slots,
        "seed": request.seed,
        "stopped": stopped,
        "final_processes": run.decision("processes"),
    }
    if request.init is not None:
        search["init"] = request.init
    if (derived := run.decision("derived")) is not None:
        search["shared"] = {name: value for name, value in derived.items() if name != "architectures"}
    rungs, images = run.decision("proxy_epochs"), len(data.train)
    equal = rungs is not None and equal_time(request, rungs[0] * images)
    search["proxy"] = {"epochs": rungs, "images": images, "equal_time": equal}
    supernet_seconds = 0.0
    if derived is not None:
        supernet_seconds = sum(entry["seconds"] for entry in derived["rounds"]) + derived.get("ranking_seconds", 0.0)
    trained = (winner, *others)
    return RunResult(
        command=request.command(),
        created=run.created,
        archfit_version=__version__,
        dataset=data.describe(),
        space={
            "name": space.name,
            "size": space_size(space),
            "settings": settings,
            "scaled": stored.get("scaled"),
            "share_within_budget": stored.get("share"),
        },
        search=search,
        budget=request.budget,
        winner=winner,
        trained=trained,
        layers=layer_table(space, winner.architecture, data.task),
        cells=cell_graphs(space, winner.architecture),
        test=test,
        parity=parity,
        seconds={
            "search": seconds["search"],
            "train": seconds["train"],
            "total": seconds["search"] + seconds["train"],
            **time_spent(
                [trial for trial in trials if trial.driver == run.decision("driver")],
                seconds["search"],
                slots,
                supernet=supernet_seconds,
                sampling=run.decision(SAMPLING) or 0.0,
            ),
        },
        machine={**machine_of(device, accelerator, request), "optuna": optuna.__version__},
        memory_format=memory_format,
        recommendation=_recommendation(
            winner,
            others,
            trials,
            request,
            evidence_sentence(search, trained, trials),
            left_out=run.decision("left_out") or (),
        ),
    )


def machine_of(device: Device, accelerator: str, request: SearchRequest | TrainRequest) -> dict[str, Any]:
    """Where a run trained and measured, and by which versions, for its record."""
    return {
        "processor": device.describe(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "archfit": __version__,
        "accelerator": accelerator,
        "runtime": request.runtime,
        "threads": request.threads,
    }


def sampler_name(request: SearchRequest, trials: Sequence[TrialRecord]) -> str:
    """The sampler that proposed, with what "auto" stood for."""
    if request.method == "shared":
        return "controller (ppo)" if request.sampler == "ppo" else "controller (reinforce)"
    if request.sampler != "auto":
        return request.sampler
    origins = {t.origin for t in trials} - {"random", "unknown", *GIVEN}
    return f"auto ({', '.join(sorted(origins))})" if origins else "auto (random so far)"


def time_spent(
    trials: Sequence[TrialRecord],
    search_seconds: float,
    workers: int,
    *,
    supernet: float = 0.0,
    sampling: float = 0.0,
) -> dict[str, float]:
    """Where the search's wall time went, in seconds of wall time.

    Training is that of the supernet with its ranking, and that of trials, summed over workers and shared out among
    them; measuring is that of trials and of what was sampled of the space, and stops them all. What is left is
    overhead: proposing, storing, starting up, waiting for the last trial.
    """
    measuring = sampling + sum(t.seconds_measure for t in trials)
    training = supernet + sum(t.seconds_train for t in trials) / workers
    return {
        "measuring": measuring,
        "training": training,
        "overhead": max(0.0, search_seconds - measuring - training),
    }


def _recommendation(
    winner: TrainedNetwork,
    others: Sequence[TrainedNetwork],
    trials: Sequence[TrialRecord],
    request: SearchRequest,
    evidence: str,
    *,
    left_out: Sequence[int] = (),
) -> str:
    """Why the winner is the one to ship; `left_out` are the better trials whose cost did not hold a second time."""
    latency = winner.cost.latency
    where = f" on {latency.device} by {latency.runtime}" if latency else ""
    speed = f"{latency.p50_ms:.3g} ms an image" if latency else f"{winner.cost.params:,} parameters"
    verdict = "holds" if winner.within_budget else "does NOT hold"
    rivals = [o for o in others if o.role == "finalist"]
    stopped = [o for o in others if o.role == "stopped"]
    trained = sum(t.state == "complete" and t.promotes is None for t in trials)
    candidates = f"{trained} candidate{'s' if trained > 1 else ''}"
    chosen = f"chosen among {candidates} by the {request.reward} reward and by accuracy"
    if stopped:
        picked = (
            f"Of {len(rivals) + len(stopped) + 1} finalists, {chosen}, it was ahead on the validation split early on, "
            "and alone was trained to the end."
        )
    elif rivals:
        picked = f"It was picked on the validation split among {len(rivals) + 1} finalists trained in full, {chosen}."
    else:
        picked = f"It was trained in full as the only finalist, {chosen}."
    if left_out:
        names = ", ".join(map(str, left_out))
        which = f"trial {names} was left out: it" if len(left_out) == 1 else f"trials {names} were left out: they"
        picked += f" Of the best {which} did not hold the budget with 2 % to spare when measured a second time."
    return (
        f"{winner.name.capitalize()} takes {speed}{where} and {verdict} the budget ({request.budget}). {picked} "
        f"{evidence}"
    )
