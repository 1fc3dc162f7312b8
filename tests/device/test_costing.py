from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from archfit.architecture import Task
from archfit.cost import Cost, Latency
from archfit.device import CostCache, Effort, LocalDevice, measure_cost

TASK = Task(channels=3, image_size=8, classes=4)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def _device(folder: Path) -> LocalDevice:
    return LocalDevice(cache=CostCache(folder), effort=Effort(least_s=0.05, most_s=0.1))


def test_cost_by_hand(tmp_path: Path) -> None:
    cost = measure_cost(_network(), TASK, _device(tmp_path), runtime="onnxruntime")
    # conv 3*8 + 8 = 32 and linear 8*4 + 4 = 36 parameters; 3*8*64 = 1536 and 8*4 = 32 multiply-adds;
    # peak: input 4*3*64 = 768 beside hidden 4*8*64 = 2048; weights 4*68 = 272
    assert (cost.params, cost.madds, cost.memory_bytes) == (68, 1568, 768 + 2048 + 272)
    assert cost.latency is not None
    assert cost.file_bytes is not None
    assert cost.file_bytes > 272


@pytest.mark.parametrize(("runtime", "kind"), [("onnxruntime", "UINT8"), ("torch", "FLOAT")])
def test_what_is_timed_has_its_preprocessing_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, kind: str
) -> None:
    timed: list[bytes] = []
    device = _device(tmp_path)
    measure = device.measure

    def recorded(model: bytes, *rest: Any, **options: Any) -> Latency:
        timed.append(model)
        return measure(model, *rest, **options)

    monkeypatch.setattr(device, "measure", recorded)
    cost = measure_cost(_network(), TASK, device, runtime=runtime)
    (model,) = timed
    tensor = onnx.load_from_string(model).graph.input[0].type.tensor_type
    assert onnx.TensorProto.DataType.Name(tensor.elem_type) == kind
    assert cost.latency is not None


def test_a_complete_cost_is_stored_and_read_before_anything_runs(tmp_path: Path) -> None:
    cache = CostCache(tmp_path)
    entered = []

    @contextlib.contextmanager
    def quiet() -> Iterator[None]:
        entered.append(True)
        yield

    options = {"runtime": "onnxruntime", "quiet": quiet, "cache": cache, "key": "k"}
    first = measure_cost(_network(), TASK, _device(tmp_path), **options)
    second = measure_cost(_network(), TASK, _device(tmp_path), **options)
    assert first == second == cache.get("k")
    assert len(entered) == 1


def test_stopping_after_the_static_costs_exports_nothing_and_stores_nothing(tmp_path: Path) -> None:
    cache = CostCache(tmp_path)
    options = {"runtime": "onnxruntime", "cache": cache, "key": "k"}
    cost = measure_cost(_network(), TASK, _device(tmp_path), stop_if=lambda cost: cost.madds > 1000, **options)
    assert cost == Cost(params=68, madds=1568)
    assert cache.get("k") is None


def test_stopping_after_memory_times_nothing(tmp_path: Path) -> None:
    asked: list[Cost] = []

    def stop(cost: Cost) -> bool:
        asked.append(cost)
        return cost.memory_bytes is not None

    cost = measure_cost(_network(), TASK, _device(tmp_path), runtime="onnxruntime", stop_if=stop)
    assert [item.memory_bytes for item in asked] == [None, 3088]
    assert cost.latency is None
    assert not (tmp_path / "anchors").exists()
