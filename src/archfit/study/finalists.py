"""After the search: the best trials within budget, trained in full beside each other, each by one or more processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archfit.architecture import Task
from archfit.data import ImageData
from archfit.errors import ArchfitError, DivergedError
from archfit.study.candidates import WorkerContext
from archfit.study.workers import WorkerPool
from archfit.training import Group, Recipe, training_rate

_SLOWER = "slower"
"""File beside the checkpoints of a training that is begun anew at half the learning rates."""


@dataclass(frozen=True)
class FullTraining:
    """One network's full training.

    Attributes:
        name: As in "trial 17".
        weights: The trained network's tensors.
        curve: (epoch from 1, training loss, validation accuracy) per epoch.
        epochs: Of the recipe, or after which it was stopped.
        seconds: Wall time, an earlier session's epochs left out.
        stopped: Before its recipe's end.
        slower: It diverged at first, and was begun anew at half the recipe's learning rates.
    """

    name: str
    weights: dict[str, torch.Tensor]
    curve: tuple[tuple[int, float, float], ...]
    epochs: float
    seconds: float
    stopped: bool = False
    slower: bool = False

    @property
    def validation_accuracy(self) -> float:
        """Of the kept weights, which are those of the last epoch."""
        return self.curve[-1][2]


@dataclass(frozen=True)
class _Diverged:
    reason: str


@dataclass
class _Running:
    """A network in training: the keys of jobs that run for it, where they meet, and what the first one has found."""

    left: set[int]
    meeting: tempfile.TemporaryDirectory[str]
    found: FullTraining | None = None


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
    processes: int = 1,
    until: Mapping[str, int] | None = None,
) -> tuple[dict[str, FullTraining], dict[str, str]]:
    """Trains each network in workers of its own; what ended before is read back, what was cut off goes on.

    A training one of whose processes died, of too little memory perhaps, goes on once more. One that diverged is begun
    anew once, at half the learning rates; one that raised anything else is not.

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
        processes: That train one network together, each its part of every batch; not more than the pool has.
        until: By name, epochs after which each is stopped; a later call goes on from there, by as many processes as it
            likes.

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
    running: dict[int, _Running] = {}
    again: set[int] = set()
    while waiting or running:
        while waiting and pool.free >= processes:
            number = waiting.pop(0)
            keys = range(number * processes, (number + 1) * processes)
            running[number] = one = _Running(set(keys), tempfile.TemporaryDirectory())
            name, checkpoints = names[number], _checkpoints(folder, names[number])
            for rank, key in enumerate(keys):
                group = Group(rank, processes, Path(one.meeting.name) / "meeting") if processes > 1 else None
                job = partial(
                    _train,
                    name,
                    networks[name],
                    recipes[name],
                    seed,
                    accelerator,
                    memory_format,
                    metric,
                    checkpoints,
                    group,
                    until[name] if until is not None else None,
                )
                pool.submit(key, job)
        for event in pool.events(0.5):
            number = event.key // processes
            if number not in running or event.key not in running[number].left:
                continue
            one, name = running[number], names[number]
            if event.kind == "progress":
                state[name] = event.value
                continue
            one.left.discard(event.key)
            diverged = event.value if isinstance(event.value, _Diverged) else None
            if event.kind == "done" and diverged is None:
                one.found = event.value or one.found
                if one.left:
                    continue
                assert one.found is not None
                done[name] = one.found
            else:
                for key in one.left:  # they would wait for it
                    pool.cancel(key)
                if event.kind == "lost" and number not in again:
                    again.add(number)
                    waiting.append(number)  # it goes on from its last epoch
                elif diverged is not None and not (marker := _checkpoints(folder, name) / _SLOWER).exists():
                    shutil.rmtree(marker.parent, ignore_errors=True)
                    marker.parent.mkdir(parents=True)
                    marker.touch()
                    waiting.append(number)
                else:
                    failures[name] = diverged.reason if diverged is not None else str(event.value)
            running.pop(number).meeting.cleanup()
        on_progress(dict(state))
    if not done and failures:
        raise ArchfitError(
            f"no full training succeeded; the last reason: {list(failures.values())[-1]}; try again with: "
            f"archfit resume {folder.parent}"
        )
    return {name: done[name] for name in names if name in done}, failures


def _checkpoints(folder: Path, name: str) -> Path:
    return folder / name.replace(" ", "-").replace(":", "-").replace("/", "-")


def _train(
    name: str,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    seed: int,
    accelerator: str,
    memory_format: str,
    metric: str,
    checkpoints: Path,
    group: Group | None,
    until: int | None,
    context: WorkerContext,
    report: Callable[[Any], None],
) -> FullTraining | _Diverged | None:
    """None from all but the first process of a group."""
    from archfit.training import fit

    first = group is None or group.rank == 0
    slower = (checkpoints / _SLOWER).exists()
    torch.manual_seed(seed)
    network = build()
    try:
        training = fit(
            network,
            context.data,
            recipe.slower() if slower else recipe,
            seed=seed,
            accelerator=accelerator,
            memory_format=memory_format,
            metric=metric,
            checkpoints=checkpoints,
            on_progress=(lambda progress: report(asdict(progress))) if first else None,
            group=group,
            until=until,
        )
    except DivergedError as error:
        return _Diverged(f"{type(error).__name__}: {error}")
    if not first:
        return None
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    epochs = recipe.epochs if until is None else min(until, recipe.epochs)
    return FullTraining(name, weights, training.curve, epochs, training.seconds, epochs < recipe.epochs, slower)


def training_rates(
    networks: Mapping[str, Callable[[], nn.Module]],
    task: Task,
    pool: WorkerPool,
    *,
    batch_size: int,
    accelerator: str,
    memory_format: str,
    seconds: float,
    processes: int = 1,
) -> dict[str, float]:
    """Images per second that each network trains at while the others train beside it; one that fails is left out.

    Args:
        networks: Name -> what builds it, picklable.
        task: Of all of them.
        pool: Where they will be trained; no job may run in it.
        batch_size: Images per step.
        accelerator: Where to train.
        memory_format: Of the tensors.
        seconds: Of steps of each.
        processes: That will train one network together. What they will tell each other is not in it.
    """
    names = [name for name in networks for _ in range(processes)]
    part = -(-batch_size // processes)
    jobs = [partial(_rate, networks[name], task, part, accelerator, memory_format, seconds) for name in names]
    rates: dict[str, list[float]] = {}
    for event in pool.run(jobs):
        if event.kind == "done":
            rates.setdefault(names[event.key], []).append(event.value)
    # They wait for the slowest of them at every step.
    return {name: processes * min(found) for name, found in rates.items() if len(found) == processes}


def _rate(
    build: Callable[[], nn.Module],
    task: Task,
    batch_size: int,
    accelerator: str,
    memory_format: str,
    seconds: float,
    context: WorkerContext,
    report: Callable[[Any], None],
) -> float:
    return training_rate(
        build, task, memory_format=memory_format, batch_size=batch_size, accelerator=accelerator, seconds=seconds
    )


def affordable_epochs(
    seconds: float,
    rates: Mapping[str, float],
    data: ImageData,
    workers: int,
    *,
    last_rates: Mapping[str, float] | None = None,
    share: float = 1.0,
    most: int = 200,
) -> dict[str, float]:
    """Epochs of full training that fit in `seconds`, by name; below 20 in tenths, of which a short time has few.

    With a worker for each network, each is trained as long as its own speed allows; else all as long as the slowest's.

    Args:
        seconds: For all of them.
        rates: Images per second of each network, in one worker.
        data: Trained on.
        workers: That train beside each other.
        last_rates: The same when it alone is left, after the share of its epochs that all have.
        share: That one; 1 if all are trained to the end.
        most: Epochs at most.
    """
    rounds, slowest = -(-len(rates) // workers), min(rates.values(), default=1.0)
    epochs = {}
    for name, rate in rates.items():
        per_image = share * rounds / (rate if rounds == 1 else slowest)
        if last_rates is not None:
            per_image += (1 - share) / last_rates[name]
        epochs[name] = max(1, min(most, _rounded_down(seconds / per_image / len(data.train))))
    return epochs


def _rounded_down(epochs: float) -> float:
    return int(10 * epochs) / 10 if epochs < 20 else int(epochs)
