"""One training in several worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from archfit.data import ImageData
from archfit.errors import ArchfitError
from archfit.study.candidates import WorkerContext, training_pool
from archfit.training import Group, Progress, Recipe, Training


def fit_together(
    network: nn.Module,
    data: ImageData,
    recipe: Recipe,
    *,
    devices: int,
    log: Path,
    on_progress: Callable[[Progress], None],
    **settings: Any,
) -> Training:
    """Trains `network` in place as `fit` does, in one process per device; each takes its part of every batch.

    Args:
        network: On the CPU.
        data: Is sent to every process.
        recipe: Its batch size is that of all processes together.
        devices: GPUs, or processes of one thread each on the CPU.
        log: File that takes what the processes print.
        on_progress: Called about twice a second.
        settings: The other arguments of `fit`.

    Raises:
        ArchfitError: A process failed or died.
    """
    ended: dict[int, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        training_pool(data, devices, log=log) as pool,
    ):
        for rank in range(devices):
            group = Group(rank, devices, Path(folder) / "meeting")
            pool.submit(rank, partial(_fit, network, recipe, settings, group))
        while len(ended) < devices:
            for event in pool.events(0.5):
                if event.kind == "progress":
                    on_progress(Progress(**event.value))
                elif event.kind == "done":
                    ended[event.key] = event.value
                else:
                    raise ArchfitError(f"training process {event.key} of {devices} ended: {event.value}; see {log}")
    weights, training = ended[0]
    network.load_state_dict(weights)
    network.eval()
    found: Training = training
    return found


def _fit(
    network: nn.Module,
    recipe: Recipe,
    settings: dict[str, Any],
    group: Group,
    context: WorkerContext,
    report: Callable[[Any], None],
) -> tuple[dict[str, Tensor], Training] | None:
    from archfit.training import fit

    tell = (lambda progress: report(asdict(progress))) if group.rank == 0 else None
    training = fit(network, context.data, recipe, group=group, on_progress=tell, **settings)
    if group.rank:
        return None
    return {name: value.contiguous() for name, value in network.state_dict().items()}, training
