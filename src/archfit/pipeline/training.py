"""The verb `train`: one network, by name, on a dataset, to a deployed, tested, measured one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archfit._version import __version__
from archfit.architecture import Task
from archfit.cost import count_params
from archfit.data import Augmentation, ImageData
from archfit.deploy import NETWORK, load_weights, test_deployed, write_network
from archfit.device import LocalDevice, measure_cost, read_network
from archfit.nn.cells import CellNetwork
from archfit.pipeline.model import Model, resolve_model
from archfit.pipeline.outcome import machine_of
from archfit.pipeline.plan import normalised
from archfit.pipeline.request import AUGMENTATIONS, TRAIN, TrainRequest
from archfit.pipeline.watch import TrainingClock, Watch
from archfit.report import TrainRecord, read_training, write_training_page
from archfit.report.record import TrainedNetwork
from archfit.report.training import METRICS
from archfit.study.run_folder import RunFolder, write_json
from archfit.study.together import fit_together
from archfit.training import (
    Progress,
    Recipe,
    check_accelerator,
    final_recipe,
    probe_memory_format,
    transfer_recipe,
)

REPORT = "report.html"
LOGS = "logs"


@dataclass(frozen=True)
class TrainResult:
    """What `archfit.train` returns.

    Attributes:
        folder: With all files of the run.
        record: Everything that `metrics.json` says.
    """

    folder: Path
    record: TrainRecord
    _network: nn.Module

    def model(self) -> nn.Module:
        """A copy of the trained network in eval mode: normalised `(N, C, H, W)` float in, logits out."""
        return copy.deepcopy(self._network).eval()


def recipe_for(request: TrainRequest, data: ImageData, *, cells: bool = False) -> Recipe:
    """archfit's recipe for the data, and for a network of `cells`, with what was asked for in its place."""
    if request.weights is not None:
        recipe = transfer_recipe(data, request.epochs)
    else:
        recipe = final_recipe(data, request.epochs, cells=cells)
    given = dict(request.recipe or {})
    augmentation = recipe.augmentation or Augmentation()
    varied = {name: given.pop(name) for name in AUGMENTATIONS if name in given}
    return replace(recipe, **given, augmentation=replace(augmentation, **varied))


@dataclass(frozen=True)
class Prepared:
    """What a training begins with.

    Attributes:
        model: That is trained.
        network: Built for the data, with its first weights.
        weights: What those are, and how they found their places.
        data: With its test split, normalised as the weights expect it.
    """

    model: Model
    network: nn.Module
    weights: str
    data: ImageData


def prepare(request: TrainRequest, data: ImageData) -> Prepared:
    """Builds the network of a request. Raises `ArchfitError` where it cannot be built or its weights cannot be had."""
    model = resolve_model(request.model)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(request.seed)
        network, weights = model.build(data.task, request.weights)
    if request.weights is not None:
        data = normalised(data, model.statistics(request.weights))
    return Prepared(model, network, weights, data)


class TrainRun:
    """One training from its folder, resumed where it was stopped.

    Args:
        run: Its folder, locked.
        request: What was asked.
        prepared: Of the request; its network is trained in place.
        watch: Is told what happens.
    """

    def __init__(self, run: RunFolder, request: TrainRequest, prepared: Prepared, watch: Watch) -> None:
        self.run = run
        self.request = request
        self.watch = watch
        self.model, self.data = prepared.model, prepared.data
        self.network, self.weights = prepared.network, prepared.weights
        self.accelerator = check_accelerator(request.accelerator)

    def execute(self) -> TrainResult:
        """Trains what is left to train, and delivers."""
        from archfit.training import fit

        watch, request, folder = self.watch, self.request, self.run.path
        watch.started(folder)
        for note in self.data.notes:
            watch.note(note)
        watch.note(f"{self.model.name}: {self.weights}, {count_params(self.network):,} parameters")
        recipe = recipe_for(request, self.data, cells=isinstance(self.network, CellNetwork))
        memory_format = self._memory_format(recipe)
        clock = TrainingClock("network", 1)

        def on_progress(progress: Progress) -> None:
            self.run.tick("train")
            watch.training(clock.status({self.model.name: asdict(progress)}))

        watch.step(f"training for {request.epochs:g} epochs")
        train = fit
        if request.devices > 1:
            train = partial(fit_together, devices=request.devices, log=folder / "workers.log")
        training = train(
            self.network,
            self.data.without_test(),
            recipe,
            seed=request.seed,
            accelerator=self.accelerator,
            memory_format=memory_format,
            metric=request.metric,
            checkpoints=folder / "training",
            on_progress=on_progress,
            patience=request.patience,
            keep_best=True,
            logs=folder / LOGS,
            flags=request.flags,
        )
        self.run.tick("train", at_least=0)
        return self._deliver(recipe, memory_format, training.curve)

    def _memory_format(self, recipe: Recipe) -> str:
        if (stored := self.run.decision("memory_format")) is None:
            self.watch.step("timing a training step in both memory formats")
            probe = probe_memory_format(
                lambda: self.model.build(self.data.task)[0],
                self.data.task,
                accelerator=self.accelerator,
                batch_size=min(32, recipe.batch_size),
            )
            stored = self.run.decide("memory_format", probe.memory_format)
        return str(stored)

    def _deliver(self, recipe: Recipe, memory_format: str, curve: tuple[tuple[int, float, float], ...]) -> TrainResult:
        folder, data, request, network = self.run.path, self.data, self.request, self.network
        self.watch.step("writing the network, testing it once")
        write_network(
            folder,
            network,
            data,
            space=self.model.space,
            architecture=self.model.architecture,
            version=__version__,
            model=self.model.known,
        )
        test, parity = test_deployed(folder / NETWORK, network, data)
        device = LocalDevice()
        cost = measure_cost(
            network,
            data.task,
            device,
            runtime=request.runtime,
            threads=request.threads,
            deployed=read_network(folder / NETWORK),
        )
        best_epoch, _, validation = max(curve, key=lambda row: (row[2], -row[0]))
        self.run.tick("train", at_least=0)
        record = TrainRecord(
            command=request.command(),
            created=self.run.created,
            archfit_version=__version__,
            model=self.model.name,
            weights=self.weights,
            recipe=asdict(recipe),
            network=TrainedNetwork(
                name=self.model.name,
                role="trained",
                architecture=self.model.architecture,
                cost=cost,
                within_budget=True,
                validation_accuracy=validation,
                test_accuracy=test.accuracy,
                epochs=len(curve),
                seconds_train=self.run.seconds["train"],
                curve=curve,
            ),
            best_epoch=best_epoch,
            test=test,
            parity=parity,
            layers=self.model.layers(data.task),
            cells=self.model.cells(),
            dataset=data.describe(),
            machine=machine_of(device, self.accelerator, request),
            memory_format=memory_format,
            seconds=self.run.seconds["train"],
        )
        write_training_page(record, folder / REPORT)
        write_json(folder / METRICS, record.to_json())  # the last: where it is, the run is finished
        return TrainResult(folder, record, network)


def load_training(folder: Path) -> TrainResult:
    """The result of a finished training, its network included."""
    record = read_training(folder)
    data = record.dataset
    task = Task(data["channels"], data["image_size"], len(data["classes"]))
    with torch.random.fork_rng(devices=()):
        network, _ = resolve_model(str(folder)).build(task)
    return TrainResult(folder, record, load_weights(folder, network))


def is_training(request: Mapping[str, Any]) -> bool:
    """Whether a run folder's request is of this verb."""
    return request.get("verb") == TRAIN
