from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from archfit.architecture import Task
from archfit.device import RUNTIMES, Runtime, export_candidate, export_winner, get_runtime, runtime_label
from archfit.device.runtimes import example_input
from archfit.errors import DeviceError, InputError

TASK = Task(channels=1, image_size=8, classes=3)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_every_runtime_computes_the_same_logits(name: str) -> None:
    runtime = get_runtime(name)
    assert isinstance(runtime, Runtime)
    network = _network().train()
    model = export_candidate(network, TASK)
    call = runtime.load(model, network, 1)
    with runtime.running(1):
        output = call()
        logits = np.asarray(output[0] if isinstance(output, list) else output).reshape(1, 3)
    with torch.no_grad():
        expected = _network().eval()(torch.from_numpy(example_input(model))).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert network.training


def test_torch_threads_are_set_and_restored() -> None:
    before = torch.get_num_threads()
    with get_runtime("torch").running(before + 1):
        assert torch.get_num_threads() == before + 1
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before


def test_label_is_name_and_installed_version() -> None:
    assert runtime_label(get_runtime("onnxruntime")) == f"onnxruntime {importlib.metadata.version('onnxruntime')}"


def test_unknown_runtime_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'onnxruntime'"):
        get_runtime("onnx-runtime")


def test_torch_needs_the_module() -> None:
    with pytest.raises(DeviceError, match="use onnxruntime"):
        get_runtime("torch").load(export_candidate(_network(), TASK), None, 1)


def test_example_input_of_a_winner_is_one_raw_image(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_winner(_network(), TASK, path, mean=[0.5], std=[0.2], classes=["a", "b", "c"], metadata={})
    image = example_input(path.read_bytes())
    assert (image.shape, image.dtype) == ((1, 8, 8, 1), np.uint8)
    get_runtime("onnxruntime").load(path.read_bytes(), None, 1)()
