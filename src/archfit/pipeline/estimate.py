"""What a search would meet, without searching: `--dry-run`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from archfit._version import __version__
from archfit.architecture import space_size
from archfit.cost import Budget, Cost
from archfit.device import LocalDevice
from archfit.pipeline.initial import resolve_initial
from archfit.pipeline.meter import CostMeter, build_seeded
from archfit.pipeline.plan import (
    Objects,
    chosen_space,
    proxy_epochs_for,
    read_data,
    sample_space,
    typical_architecture,
    untimed_final_epochs,
)
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.watch import Silent, Watch
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
        seconds_per_trial: Proxy training and measuring by one worker.
        trials: That a search within its limits would make.
        seconds: That it would take, or None where only patience limits it.
        proxy_epochs: Of each candidate.
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
    proxy_epochs: float
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
        version=__version__,
    )
    with one_thread():
        fitted = sample_space(space, request, data.task, meter, watch)
    watch.step("timing a training step")
    typical = typical_architecture(fitted.space, data.task, request.seed)
    probe = probe_memory_format(
        lambda: build_seeded(fitted.space, typical, data.task),
        data.task,
        accelerator=accelerator,
        batch_size=proxy_recipe(data, 1).batch_size,
    )
    limits = request.limits.with_default()
    workers = request.worker_count
    epochs = proxy_epochs_for(request, len(data.train), limits, probe.images_per_second, spent=0.0)
    per_trial = epochs * len(data.train) / probe.images_per_second + 1.0
    trials, seconds = limits.trials, limits.seconds
    if seconds is not None:
        possible = max(1, int(seconds / 2 * workers / per_trial))
        trials = min(trials, possible) if trials is not None else possible
    elif trials is not None:
        final = request.final_epochs or untimed_final_epochs(len(data.train))
        rounds = -(-request.finalists // workers)
        seconds = trials * per_trial / workers + rounds * final * len(data.train) / probe.images_per_second
    return Estimate(
        space=f"{fitted.space.name}, {space_size(fitted.space):.3g} points",
        scaled=fitted.note,
        costs=fitted.costs,
        share=fitted.share,
        images_per_second=probe.images_per_second,
        seconds_per_trial=per_trial,
        trials=trials,
        seconds=seconds,
        proxy_epochs=epochs,
        notes=data.notes,
    )
