"""What a finished run says of itself: the content of result.json and of the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from archfit.architecture import Architecture, SearchSpace, Task
from archfit.cost import Budget, Cost
from archfit.spaces import CellGraph


@dataclass(frozen=True)
class TrainedNetwork:
    """A network trained in full: a finalist, a reference trained by the same recipe, or one trained on its own.

    Or a finalist whose training was stopped because another was ahead.

    Attributes:
        name: "trial 17" for a finalist, the catalogue's name for a reference.
        role: "winner", "finalist", "stopped" for a finalist that was, "control", "reference", or "trained" for one on
            its own.
        architecture: None for a reference that is no point of the space searched.
        cost: Re-measured on the exported file.
        within_budget: By the re-measured cost.
        validation_accuracy: Of the final weights, in [0, 1].
        test_accuracy: None unless it was tested (winner, references and control networks).
        epochs: It was trained for.
        seconds_train: Wall time of the training.
        curve: (epoch from 1, training loss, validation accuracy in [0, 1]) per epoch.
    """

    name: str
    role: str
    architecture: Architecture | None
    cost: Cost
    within_budget: bool
    validation_accuracy: float
    test_accuracy: float | None
    epochs: float
    seconds_train: float
    curve: tuple[tuple[int, float, float], ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "architecture": self.architecture.to_json() if self.architecture else None}


@dataclass(frozen=True)
class TestResult:
    """The winner on the test split, read once.

    Attributes:
        accuracy: Share of right top-1 answers.
        balanced_accuracy: Mean recall over the classes.
        standard_error: Of the accuracy, binomial.
        images: In the test split.
        confusion: `confusion[true][predicted]`, counts.
        per_class: class name -> precision, recall, f1, images.
        precision: Mean over the classes that occur; this and what follows None in results of older versions.
        recall: The same.
        f1: The same.
        top5: Share of images whose class is among the five best answers; None up to ten classes.
        calibration_error: Expected calibration error over 15 bins.
        predicted: Number of answers of each class.
    """

    __test__ = False

    accuracy: float
    balanced_accuracy: float
    standard_error: float
    images: int
    confusion: tuple[tuple[int, ...], ...]
    per_class: dict[str, dict[str, float]]
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    top5: float | None = None
    calibration_error: float | None = None
    predicted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parity:
    """How the exported network agrees with the PyTorch module on the whole test split.

    Attributes:
        images: Compared.
        same_top1: Of them, with the same answer.
        max_logit_difference: Largest absolute difference of any logit.
    """

    images: int
    same_top1: int
    max_logit_difference: float


@dataclass(frozen=True)
class Layer:
    """One row of the winner's picture.

    Attributes:
        name: As in "stem", "block 3 layer 1", "head".
        kind: As in "conv", "dconv", "mbconv3", "mbconv6", "pool", "linear".
        detail: As in "3x3, stride 2, SE 0.25, identity skip".
        shape: Output (channels, height, width).
        params: Learnt parameters.
        madds: Multiply-adds of one image.
    """

    name: str
    kind: str
    detail: str
    shape: tuple[int, ...]
    params: int
    madds: int


def layer_table(space: SearchSpace, architecture: Architecture | None, task: Task) -> tuple[Layer, ...]:
    """The rows of a network's picture; none where the space does not draw its networks."""
    rows = getattr(space, "layers", None)
    if not callable(rows) or architecture is None:
        return ()
    return tuple(Layer(**asdict(row)) for row in rows(architecture, task))


def cell_graphs(space: SearchSpace, architecture: Architecture | None) -> tuple[CellGraph, ...]:
    """The cells that a network is made of; none where its space has no cells."""
    graphs = getattr(space, "graphs", None)
    return tuple(graphs(architecture)) if callable(graphs) and architecture is not None else ()


@dataclass(frozen=True)
class RunResult:
    """Everything the summary and the report say; `result.json` is its JSON.

    Attributes:
        command: As it can be typed again.
        dataset: name, classes (names), images per split, channels, image_size, notes (skipped images and the like).
        space: name, size (points), settings, scaled (what was scaled down for the budget, or None).
        search: method, sampler, reward, metric, limits, trials by state, workers, seed, proxy recipe, and stopped
            (why the search ended).
        budget: The bounds.
        winner: The network that is deployed.
        trained: All finalists (the winner too) and references.
        layers: Of the winner.
        test: Of the winner.
        parity: Of the winner's exported file.
        seconds: search, train, total; and of the search: measuring, training (summed over workers), overhead.
        machine: processor, system, versions (python, torch, onnxruntime, archfit), accelerator, runtime, threads.
        memory_format: Chosen by the probe.
        recommendation: One paragraph why this one.
        cells: That the winner is made of; none in most spaces.
    """

    command: str
    created: str
    archfit_version: str
    dataset: dict[str, Any]
    space: dict[str, Any]
    search: dict[str, Any]
    budget: Budget
    winner: TrainedNetwork
    trained: tuple[TrainedNetwork, ...]
    layers: tuple[Layer, ...]
    test: TestResult
    parity: Parity
    seconds: dict[str, float]
    machine: dict[str, Any]
    memory_format: str
    recommendation: str
    cells: tuple[CellGraph, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Flat headline fields first (those that programs read), then the parts."""
        latency = self.winner.cost.latency
        return {
            "schema": 1,
            "test_accuracy": self.test.accuracy,
            "validation_accuracy": self.winner.validation_accuracy,
            "params": self.winner.cost.params,
            "madds": self.winner.cost.madds,
            "memory_bytes": self.winner.cost.memory_bytes,
            "file_bytes": self.winner.cost.file_bytes,
            "latency_ms": latency.quantiles_ms() if latency else None,
            "budget": self.budget.to_json(),
            "within_budget": self.winner.within_budget,
            "architecture": self.winner.architecture.to_json() if self.winner.architecture else None,
            "seconds": self.seconds,
            "test": asdict(self.test),
            "parity": asdict(self.parity),
            "winner": self.winner.to_json(),
            "trained": [network.to_json() for network in self.trained],
            "layers": [asdict(layer) for layer in self.layers],
            "cells": [asdict(cell) for cell in self.cells],
            "dataset": self.dataset,
            "space": self.space,
            "search": self.search,
            "machine": self.machine,
            "memory_format": self.memory_format,
            "recommendation": self.recommendation,
            "command": self.command,
            "created": self.created,
            "archfit_version": self.archfit_version,
        }
