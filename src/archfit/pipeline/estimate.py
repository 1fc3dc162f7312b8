"""What a search would meet, without searching: `--dry-run`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from archfit.architecture import space_size
from archfit.cost import Budget, Cost
from archfit.device import LocalDevice
from archfit.pipeline.initial import resolve_initial
from archfit.pipeline.meter import CostMeter
from archfit.pipeline.plan import (
    Objects,
    alone_epochs_for,
    chosen_space,
    epochs_per_candidate,
    proxy_epochs_for,
    read_data,
    sample_space,
    supernet_images,
    supernet_rate,
    typical_builder,
    untimed_final_epochs,
)
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.sharing import DERIVED_TRIALS, UNTIMED_EPOCHS
from archfit.pipeline.watch import Silent, Watch
from archfit.spaces import MnasSpace
from archfit.study.ranking import ALONE
from archfit.training import check_accelerator, one_thread, probe_memory_format, proxy_recipe


@dataclass(frozen=True)
class Estimate:
    """What a search would meet, before it is begun.

    Attributes:
        space: Name and number of points.
        scaled: What would be scaled down for the budget, or None.
        costs: Of random members.
        share: Of them, within budget.
        images_per_second: Trained by one worker, for a typical member.
        seconds_per_trial: Proxy training and measuring by one worker, in the mean over candidates.
        trials: That a search within its limits would make.
        seconds: That it would take, or None where only patience limits it.
        proxy_epochs: Of each candidate, the rungs of a successive halving; with shared weights, of the best networks,
            which are then trained alone.
        supernet_epochs: With shared weights, that the time allows or that were asked for.
        notes: On the data.
    """

    space: str
    scaled: str | None
    costs: tuple[Cost, ...]
    share: float
    images_per_second: float
    seconds_per_trial: float
    trials: int | None
    seconds: float | None
    proxy_epochs: tuple[float, ...]
    supernet_epochs: float | None
    notes: tuple[str, ...]


def dry_run(request: SearchRequest, watch: Watch | None = None) -> Estimate:
    """Samples the space and times a training step; writes nothing but the cost cache."""
    watch = watch or Silent()
    data = read_data(request, watch)
    accelerator = check_accelerator(request.accelerator)
    trained = resolve_initial(request.init) if request.init is not None else None
    space = chosen_space(Objects(), request, trained)
    meter = CostMeter(
        LocalDevice(),
        runtime=request.runtime,
        threads=request.threads,
        data=data,
        budget=Budget(),
        prune_above=request.prune_above,
        quiet=nullcontext,
    )
    with one_thread():
        fitted = sample_space(space, request, data, meter, watch, accelerator=accelerator)
    watch.step("timing a training step")
    probe = probe_memory_format(
        typical_builder(fitted.space, data.task, request.seed),
        data.task,
        accelerator=accelerator,
        batch_size=proxy_recipe(data, 1).batch_size,
    )
    by_method = _sharing if request.method == "shared" else _by_trials
    return Estimate(
        space=f"{fitted.space.name}, {space_size(fitted.space):.3g} points",
        scaled=fitted.note,
        costs=fitted.costs,
        share=fitted.share,
        images_per_second=probe.images_per_second,
        notes=data.notes,
        **by_method(request, len(data.train), probe.images_per_second),
    )


def _by_trials(request: SearchRequest, images: int, rate: float) -> dict[str, Any]:
    limits, workers = request.stops, request.worker_count
    epochs = proxy_epochs_for(request, images, limits, rate, workers=workers, spent=0.0)
    per_trial = epochs_per_candidate(epochs) * images / rate + 1.0
    trials, seconds = limits.trials, limits.seconds
    if limits.search_seconds is not None:
        possible = max(1, int(limits.search_seconds * workers / per_trial))
        trials = min(trials, possible) if trials is not None else possible
    elif trials is not None:
        seconds = trials * per_trial / workers + _final_seconds(request, images, rate)
    return {
        "seconds_per_trial": per_trial,
        "trials": trials,
        "seconds": seconds,
        "proxy_epochs": epochs,
        "supernet_epochs": None,
    }


def _sharing(request: SearchRequest, images: int, rate: float) -> dict[str, Any]:
    limits = request.stops
    seen = supernet_images(request, rate)
    epochs = seen / images if seen is not None else request.supernet_epochs or UNTIMED_EPOCHS
    trials, workers = limits.trials or DERIVED_TRIALS, request.worker_count
    networks = min(ALONE, trials) + (len(MnasSpace.ops) if request.space == "mnas" else 0)
    alone = alone_epochs_for(request, images, limits, rate, workers, networks)
    seconds = limits.seconds
    if seconds is None:
        seconds = (
            epochs * images / supernet_rate(request, rate)
            + networks / workers * alone * images / rate
            + _final_seconds(request, images, rate)
        )
    return {
        "seconds_per_trial": alone * images / rate + 1.0,
        "trials": trials,
        "seconds": seconds,
        "proxy_epochs": (alone,),
        "supernet_epochs": epochs,
    }


def _final_seconds(request: SearchRequest, images: int, rate: float) -> float:
    final = request.final_epochs or untimed_final_epochs(images)
    return -(-request.finalists // request.worker_count) * final * images / rate
