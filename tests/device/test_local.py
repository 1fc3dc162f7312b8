from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from archfit.architecture import Task
from archfit.device import RUNTIMES, CostCache, Effort, LocalDevice, export_candidate
from archfit.device.anchor import ANCHOR_TASK, anchor_network
from archfit.errors import DeviceError, InputError
from archfit.testing.devices import check_device

QUICK = Effort(least_s=0.05, most_s=0.1)
TASK = Task(channels=3, image_size=16, classes=2)


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_conformance(runtime: str, tmp_path: Path) -> None:
    check_device(LocalDevice(cache=CostCache(tmp_path), effort=QUICK), runtime=runtime)


def test_anchor_is_the_same_every_time_and_draws_nothing_from_the_global_generator() -> None:
    state = torch.random.get_rng_state()
    first, second = anchor_network(), anchor_network()
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert first(torch.zeros(1, ANCHOR_TASK.channels, ANCHOR_TASK.image_size, ANCHOR_TASK.image_size)).shape == (1, 10)


def test_reference_is_measured_once_and_shared_through_the_cache(tmp_path: Path) -> None:
    model = export_candidate(_network(), TASK)
    _, first = LocalDevice(cache=CostCache(tmp_path), effort=QUICK).record(model, None, runtime="onnxruntime")
    (stored,) = (tmp_path / "anchors").iterdir()
    assert json.loads(stored.read_text()) == {"p50_ms": first}
    _, second = LocalDevice(cache=CostCache(tmp_path), effort=QUICK).record(model, None, runtime="onnxruntime")
    assert second == first


def test_latency_is_in_units_of_the_stored_reference(tmp_path: Path) -> None:
    # A reference ten times the anchor's time makes every latency ten times as long.
    model = export_candidate(_network(), TASK)
    plain = LocalDevice(cache=CostCache(tmp_path), effort=QUICK).measure(model, None, runtime="onnxruntime")
    (stored,) = (tmp_path / "anchors").iterdir()
    stored.write_text(json.dumps({"p50_ms": 10 * json.loads(stored.read_text())["p50_ms"]}))
    scaled = LocalDevice(cache=CostCache(tmp_path), effort=QUICK).measure(model, None, runtime="onnxruntime")
    assert 5 < scaled.p50_ms / plain.p50_ms < 20  # 10, but for a busy machine


def test_description_and_fingerprint_name_the_processor(tmp_path: Path) -> None:
    device = LocalDevice(cache=CostCache(tmp_path))
    assert device.describe().startswith("local: ")
    assert json.loads(device.fingerprint())[0] in device.describe()


def test_bad_arguments_name_the_value(tmp_path: Path) -> None:
    device = LocalDevice(cache=CostCache(tmp_path), effort=QUICK)
    with pytest.raises(InputError, match="threads is 0"):
        device.measure(export_candidate(_network(), TASK), None, runtime="onnxruntime", threads=0)
    with pytest.raises(DeviceError, match="cannot load"):
        device.measure(b"\xff\xffno model", None, runtime="onnxruntime")
