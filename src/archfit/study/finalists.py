"""After the search: the best trials within budget, trained in full beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archfit.architecture import Task
from archfit.data import ImageData
from archfit.errors import ArchfitError
from archfit.study.search import WorkerContext
from archfit.study.workers import WorkerPool
from archfit.training import Recipe, fit, training_rate


@dataclass(frozen=True)
class FullTraining:
    """One network's full training.

    Attributes:
        name: As in "trial 17".
        weights: The trained network's tensors.
        curve: (epoch from 1, training loss, validation accuracy) per epoch.
        epochs: Of the recipe.
        seconds: Wall time, an earlier session's epochs left out.
    """

    name: str
    weights: dict[str, torch.Tensor]
    curve: tuple[tuple[int, float, float], ...]
    epochs: int
    seconds: float

    @property
    def validation_accuracy(self) -> float:
        """Of the kept weights, which are those of the last epoch."""
        return self.curve[-1][2]


def train_in_full(
    networks: Mapping[str, Callable[[], nn.Module]],
    recipes: Mapping[str, Recipe],
    pool: WorkerPool,
    *,
    seed: int,
    accelerator: str,
    memory_format: str,
    metric: str,
    folder: Path,
    on_progress: Callable[[dict[str, dict[str, Any]]], None],
) -> tuple[dict[str, FullTraining], dict[str, str]]:
    """Trains each network in a worker of its own; what ended before is read back, what was cut off goes on.

    A training whose process died, of too little memory perhaps, goes on once more; one that raised does not.

    Args:
        networks: Name -> what builds it, picklable.
        recipes: By the same names.
        pool: Workers whose context is a `WorkerContext`.
        seed: Of weights, order and augmentation, the same for all.
        accelerator: Where to train.
        memory_format: Of the tensors.
        metric: Of the validation score.
        folder: Takes a folder per network with its checkpoint.
        on_progress: Called with name -> the fields of `Progress`, about twice a second.

    Returns:
        The trainings by name, and the reasons of those that failed.

    Raises:
        ArchfitError: Every training failed; the last reason.
    """
    names = list(networks)
    waiting = list(range(len(names)))
    state: dict[str, dict[str, Any]] = {}
    done: dict[str, FullTraining] = {}
    failures: dict[str, str] = {}
    running: set[int] = set()
    again: set[int] = set()
    while waiting or running:
        while waiting and pool.free:
            key = waiting.pop(0)
            running.add(key)
            name = names[key]
            checkpoints = folder / name.replace(" ", "-").replace(":", "-").replace("/", "-")
            job = partial(
                _train, name, networks[name], recipes[name], seed, accelerator, memory_format, metric, checkpoints
            )
            pool.submit(key, job)
        for event in pool.events(0.5):
            if event.key not in running:
                continue
            name = names[event.key]
            if event.kind == "progress":
                state[name] = event.value
                continue
            running.discard(event.key)
            if event.kind == "done":
                done[name] = event.value
            elif event.kind == "lost" and event.key not in again:
                again.add(event.key)
                waiting.append(event.key)  # it goes on from its last epoch
            else:
                failures[name] = str(event.value)
        on_progress(dict(state))
    if not done and failures:
        raise ArchfitError(
            f"no full training succeeded; the last reason: {list(failures.values())[-1]}; try again with: "
            f"archfit resume {folder.parent}"
        )
    return {name: done[name] for name in names if name in done}, failures


def _train(
    name: str,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    seed: int,
    accelerator: str,
    memory_format: str,
    metric: str,
    checkpoints: Path,
    context: WorkerContext,
    report: Callable[[Any], None],
) -> FullTraining:
    torch.manual_seed(seed)
    network = build()
    training = fit(
        network,
        context.data,
        recipe,
        seed=seed,
        accelerator=accelerator,
        memory_format=memory_format,
        metric=metric,
        checkpoints=checkpoints,
        on_progress=lambda progress: report(asdict(progress)),
    )
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    return FullTraining(name, weights, training.curve, len(training.curve), training.seconds)


def training_rates(
    networks: Mapping[str, Callable[[], nn.Module]],
    task: Task,
    pool: WorkerPool,
    *,
    batch_size: int,
    accelerator: str,
    memory_format: str,
) -> dict[str, float]:
    """Images per second that each network trains at while the others train beside it; one that fails is left out.

    Args:
        networks: Name -> what builds it, picklable.
        task: Of all of them.
        pool: Where they will be trained; no job may run in it.
        batch_size: Images per step.
        accelerator: Where to train.
        memory_format: Of the tensors.
    """
    names = list(networks)
    jobs = [partial(_rate, networks[name], task, batch_size, accelerator, memory_format) for name in names]
    return {names[event.key]: event.value for event in pool.run(jobs) if event.kind == "done"}


def _rate(
    build: Callable[[], nn.Module],
    task: Task,
    batch_size: int,
    accelerator: str,
    memory_format: str,
    context: WorkerContext,
    report: Callable[[Any], None],
) -> float:
    return training_rate(
        build, task, memory_format=memory_format, batch_size=batch_size, accelerator=accelerator, seconds=5.0
    )


def affordable_epochs(
    seconds: float, rates: Mapping[str, float], data: ImageData, workers: int, *, most: int = 200
) -> dict[str, int]:
    """Epochs of full training that fit in `seconds`, by name.

    With a worker for each network, each is trained as long as its own speed allows; else all as long as the slowest's.

    Args:
        seconds: For all of them.
        rates: Images per second of each network, in one worker.
        data: Trained on.
        workers: That train beside each other.
        most: Epochs at most.
    """
    rounds, slowest = -(-len(rates) // workers), min(rates.values(), default=1.0)
    images = {name: seconds / rounds * (rate if rounds == 1 else slowest) for name, rate in rates.items()}
    return {name: max(1, min(most, int(count / len(data.train)))) for name, count in images.items()}
