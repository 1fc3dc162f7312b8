"""Results read back from a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfit.architecture import Architecture
from archfit.cost import Budget, Cost
from archfit.errors import ArchfitError, RunError
from archfit.report.record import Layer, Parity, RunResult, TestResult, TrainedNetwork
from archfit.spaces import CellGraph

RESULT_FILE = "result.json"
SCHEMA = 1


def read_result(folder: Path) -> RunResult:
    """The result of the finished run in `folder`. Raises `RunError` if it is missing or cannot be read."""
    path = folder / RESULT_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path} is not there; give the folder of a finished search, or finish it with: archfit resume {folder}"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}); write it anew with: archfit resume {folder}") from error
    try:
        return result_from_json(value)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def result_from_json(value: Any) -> RunResult:
    """Inverse of `RunResult.to_json`. Raises `RunError` if `value` is of another schema or lacks a part."""
    if not isinstance(value, Mapping):
        raise RunError(f"a result is a JSON object, not {type(value).__name__}; give the result.json of a run")
    schema = value.get("schema", SCHEMA)
    writer = value.get("archfit_version", "an unknown version")
    if schema != SCHEMA:
        raise RunError(f"schema is {schema!r}, this archfit reads {SCHEMA}; read it with archfit {writer}, its writer")
    try:
        return RunResult(
            command=str(value["command"]),
            created=str(value["created"]),
            archfit_version=str(value["archfit_version"]),
            dataset=dict(value["dataset"]),
            space=dict(value["space"]),
            search=dict(value["search"]),
            budget=Budget(**value["budget"]),
            winner=network_from_json(value["winner"]),
            trained=tuple(network_from_json(network) for network in value["trained"]),
            layers=tuple(Layer(**{**layer, "shape": tuple(layer["shape"])}) for layer in value["layers"]),
            test=test_from_json(value["test"]),
            parity=Parity(**value["parity"]),
            seconds=dict(value["seconds"]),
            machine=dict(value["machine"]),
            memory_format=str(value["memory_format"]),
            recommendation=str(value["recommendation"]),
            cells=cells_from_json(value.get("cells", ())),
        )
    except KeyError as error:
        raise RunError(f"the part {error.args[0]!r} is missing; it was written by archfit {writer}") from error
    except (TypeError, ValueError, AttributeError, ArchfitError) as error:
        raise RunError(f"a part is not as it must be ({error}); it was written by archfit {writer}") from error


def cells_from_json(value: Sequence[Mapping[str, Any]]) -> tuple[CellGraph, ...]:
    """Inverse of `asdict` of each."""
    return tuple(
        CellGraph(
            str(cell["name"]),
            tuple(((first[0], first[1]), (second[0], second[1])) for first, second in cell["nodes"]),
            tuple(cell["outputs"]),
        )
        for cell in value
    )


def test_from_json(value: Mapping[str, Any]) -> TestResult:
    """Inverse of `asdict`."""
    confusion = tuple(tuple(row) for row in value["confusion"])
    return TestResult(**{**value, "confusion": confusion, "predicted": tuple(value.get("predicted", ()))})


def network_from_json(value: Mapping[str, Any]) -> TrainedNetwork:
    """Inverse of `TrainedNetwork.to_json`."""
    architecture = value["architecture"]
    return TrainedNetwork(
        **{
            **value,
            "architecture": Architecture.from_json(architecture) if architecture else None,
            "cost": Cost.from_json(value["cost"]),
            "curve": tuple((int(epoch), float(loss), float(accuracy)) for epoch, loss, accuracy in value["curve"]),
        }
    )
