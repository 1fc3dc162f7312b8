"""One network trained on its own: what is kept of it, its page and its terminal summary."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from archfit.errors import RunError
from archfit.report import sections
from archfit.report.figures import confusion_matrix, loss_curve, training_curves
from archfit.report.load import cells_from_json, network_from_json, test_from_json
from archfit.report.markup import element, facts, paragraph, plain, section, table, tile
from archfit.report.page import document, embedded, foot
from archfit.report.record import Layer, Parity, TestResult, TrainedNetwork
from archfit.report.wording import (
    accuracy_with_error,
    clock_note,
    count,
    duration,
    epochs_in_words,
    latency_range,
    megabytes,
    milliseconds,
    parity_sentence,
    percent,
)
from archfit.spaces import CellGraph
from archfit.study.run_folder import write_file

METRICS = "metrics.json"
SCHEMA = 1


@dataclass(frozen=True)
class TrainRecord:
    """Everything that a finished training says of itself; `metrics.json` is its JSON.

    Attributes:
        command: As it can be typed again.
        created: When it began.
        archfit_version: Of the writer.
        model: Name of the network.
        weights: What it began with, and how that found its places.
        recipe: Every field of the recipe.
        network: Trained, exported and measured.
        best_epoch: Whose weights were kept, from 1.
        test: On the test split, read once.
        parity: Of the exported file.
        layers: For the picture; empty for networks of other packages.
        dataset: As in `RunResult`.
        machine: The same.
        memory_format: "channels_last" or "contiguous".
        seconds: Of the training, all sessions.
        cells: That the network is made of; none in most spaces.
    """

    command: str
    created: str
    archfit_version: str
    model: str
    weights: str
    recipe: dict[str, Any]
    network: TrainedNetwork
    best_epoch: int
    test: TestResult
    parity: Parity
    layers: tuple[Layer, ...]
    dataset: dict[str, Any]
    machine: dict[str, Any]
    memory_format: str
    seconds: float
    cells: tuple[CellGraph, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Flat headline fields first, then the parts."""
        cost, latency = self.network.cost, self.network.cost.latency
        headline = ("precision", "recall", "f1", "top5", "balanced_accuracy", "calibration_error")
        return {
            "schema": SCHEMA,
            "model": self.model,
            "test_accuracy": self.test.accuracy,
            "standard_error": self.test.standard_error,
            "validation_accuracy": self.network.validation_accuracy,
            **{name: getattr(self.test, name) for name in headline},
            "params": cost.params,
            "madds": cost.madds,
            "memory_bytes": cost.memory_bytes,
            "file_bytes": cost.file_bytes,
            "latency_ms": latency.quantiles_ms() if latency else None,
            "epochs": self.network.epochs,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "weights": self.weights,
            "recipe": self.recipe,
            "test": asdict(self.test),
            "parity": asdict(self.parity),
            "network": self.network.to_json(),
            "layers": [asdict(layer) for layer in self.layers],
            "cells": [asdict(cell) for cell in self.cells],
            "dataset": self.dataset,
            "machine": self.machine,
            "memory_format": self.memory_format,
            "command": self.command,
            "created": self.created,
            "archfit_version": self.archfit_version,
        }


def read_training(folder: Path) -> TrainRecord:
    """The record of a finished training. Raises `RunError` if it is missing or cannot be read."""
    path = folder / METRICS
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        if value["schema"] != SCHEMA:
            raise RunError(
                f"{path}: schema is {value['schema']!r}, this archfit reads {SCHEMA}; read it with archfit "
                f"{value.get('archfit_version')}, its writer"
            )
        return TrainRecord(
            **{
                name: value[name]
                for name in ("command", "created", "archfit_version", "model", "weights", "recipe", "best_epoch",
                             "dataset", "machine", "memory_format", "seconds")
            },
            network=network_from_json(value["network"]),
            test=test_from_json(value["test"]),
            parity=Parity(**value["parity"]),
            layers=tuple(Layer(**{**layer, "shape": tuple(layer["shape"])}) for layer in value["layers"]),
            cells=cells_from_json(value.get("cells", ())),
        )  # fmt: skip
    except FileNotFoundError:
        raise RunError(f"{path} is not there; finish the training with: archfit resume {folder}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); write it anew with: archfit resume {folder}") from error


def write_training_page(record: TrainRecord, path: Path) -> None:
    """Writes the page. Raises `RunError` where it cannot be written."""
    write_file(path, training_page(record).encode())


def training_page(record: TrainRecord) -> str:
    """The page of one training."""
    names = [str(name) for name in record.dataset["classes"]]
    body: list[object] = [
        _headline(record),
        _curves(record),
        sections.test(
            record.test,
            embedded("confusion", confusion_matrix(names, record.test.confusion)),
            "On the test split",
        ),
        _costs(record),
    ]
    if record.layers:
        body.append(sections.network(record.layers, record.cells))
    body += [sections.data(record.dataset), _method(record), foot(record.archfit_version, record.created)]
    return document(f"archfit: {record.model} on {record.dataset['name']}", body)


def _headline(record: TrainRecord) -> object:
    test, cost = record.test, record.network.cost
    latency = cost.latency
    tiles = [
        tile(
            "Test accuracy",
            accuracy_with_error(test.accuracy, test.standard_error),
            f"two standard errors; {test.images:,} images, read once",
        ),
        tile(
            "F1",
            percent(test.f1),
            f"mean over classes; precision {percent(test.precision)}, recall {percent(test.recall)}",
        ),
        tile("Latency, median", milliseconds(latency.p50_ms if latency else None), "one image"),
        tile("Parameters", count(cost.params), "learnt"),
        tile("Multiply-adds", count(cost.madds), "of one image"),
        tile("File", megabytes(cost.file_bytes), "network.onnx"),
    ]
    return element(
        "header",
        element("p", f"archfit train on {record.dataset['name']}", class_="kicker"),
        element("h1", record.model),
        paragraph(f"Trained for {epochs_in_words(record.network.epochs)}; the weights of epoch {record.best_epoch} "
                  "are kept.", class_="text lead"),
        element("div", *tiles, class_="tiles"),
    )  # fmt: skip


def _curves(record: TrainRecord) -> object:
    return section(
        "curves",
        "How it learnt",
        element("h3", "Validation accuracy after each epoch"),
        embedded("accuracy", training_curves([record.network])),
        element("h3", "Mean training loss of each epoch"),
        embedded("loss", loss_curve(record.network)),
    )


def _costs(record: TrainRecord) -> object:
    cost = record.network.cost
    parity = record.parity
    rows = [
        ("latency", latency_range(cost.latency)),
        *([("clock", note)] if (note := clock_note(cost.latency)) is not None else []),
        ("memory", megabytes(cost.memory_bytes)),
        ("parameters", f"{cost.params:,}"),
        ("MAdds", f"{cost.madds:,}"),
        ("file", megabytes(cost.file_bytes)),
    ]
    return section(
        "costs",
        "What it costs",
        table(("cost", "value"), rows),
        paragraph(parity_sentence(parity.same_top1, parity.images, parity.max_logit_difference)),
    )


def _method(record: TrainRecord) -> object:
    return section(
        "method",
        "How it was done",
        facts(
            [
                ("began with", record.weights),
                ("recipe", plain(record.recipe)),
                ("training", duration(record.seconds)),
                ("memory format", record.memory_format),
                ("machine", plain(record.machine)),
                ("command", element("code", record.command)),
            ]
        ),
    )


def print_training(record: TrainRecord, folder: Path, console: Console) -> None:
    """Prints what a training gave and what to do next."""
    test, network = record.test, record.network
    grid = Table(show_header=False, box=None, pad_edge=False)
    accuracy = accuracy_with_error(test.accuracy, test.standard_error)
    means = ", ".join(percent(value) for value in (test.precision, test.recall, test.f1))
    rows: list[tuple[str, str | None]] = [
        ("network", f"{record.model}, {record.weights}"),
        ("test accuracy", f"{accuracy}  (two standard errors, {test.images} images)"),
        ("top-5", percent(test.top5) if test.top5 is not None else None),
        ("precision, recall, F1", f"{means}  (means over classes)"),
        ("calibration error", percent(test.calibration_error)),
        ("validation", f"{percent(network.validation_accuracy)}  (epoch {record.best_epoch} of {network.epochs})"),
        ("latency p50 (p10–p90)", latency_range(network.cost.latency)),
        ("clock", clock_note(network.cost.latency)),
        ("parameters", count(network.cost.params)),
        ("MAdds", count(network.cost.madds)),
        ("memory", megabytes(network.cost.memory_bytes)),
        ("file", megabytes(network.cost.file_bytes)),
        ("export", f"same answer as PyTorch on {record.parity.same_top1} of {record.parity.images} test images"),
        ("time", duration(record.seconds)),
    ]  # fmt: skip
    for name, value in rows:
        if value is not None:
            grid.add_row(name, Text(value))
    console.print(grid)
    console.print(_per_class(record))
    console.print()
    name = shlex.quote(str(folder))
    for command, purpose in (
        (f"archfit predict {name} picture.png", "classify a picture"),
        (f"archfit measure {shlex.quote(str(folder / 'network.onnx'))}", "time it on this machine"),
    ):
        console.print(Text.assemble("  ", (command, "bold"), (f"   # {purpose}", "dim")), soft_wrap=True)
    console.print(Padding(Text(f"{folder}/report.html is the page."), (0, 0, 0, 2)))


def _per_class(record: TrainRecord) -> Table:
    """Class by class, up to 20 of them; the page has all."""
    classes: Mapping[str, Mapping[str, float]] = record.test.per_class
    shown = sorted(classes.items(), key=lambda item: item[1]["f1"])[:20]
    title = "classes, the worst first" + ("" if len(classes) <= 20 else f" (20 of {len(classes)})")
    rows = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("class", "precision", "recall", "F1", "images"):
        rows.add_column(name, justify="left" if name == "class" else "right")
    for name, row in shown:
        rows.add_row(Text(name), *(percent(row[key]) for key in ("precision", "recall", "f1")), f"{row['images']:.0f}")
    return rows
