from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.device import as_deployed, export_candidate, export_winner
from archfit.errors import DeviceError

TASK = Task(channels=3, image_size=8, classes=4)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Unexportable(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("no such layer")


def _network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU6(), nn.AdaptiveAvgPool2d(1))
    network = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4))
    network[1].running_mean.uniform_(-1, 1)
    network[1].running_var.uniform_(0.5, 2)
    return network


def _export(path: Path, **changes: object) -> nn.Module:
    network = _network()
    options = {"mean": MEAN, "std": STD, "classes": ["ant", "bee", "cat", "dög"], "metadata": {"run": "7"}}
    export_winner(network, TASK, path, **{**options, **changes})
    return network


def test_candidate_gives_the_logits_of_the_module_in_eval_mode() -> None:
    network = _network()
    image = torch.rand(1, 3, 8, 8)
    session = onnxruntime.InferenceSession(export_candidate(network, TASK), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network.eval()(image), atol=1e-5, rtol=1e-4)


def test_candidate_has_a_fixed_batch_of_one_and_no_batch_norm_left() -> None:
    model = onnx.load_from_string(export_candidate(_network(), TASK))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 8, 8]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_export_leaves_every_submodule_in_its_mode_and_its_weights_alone() -> None:
    network = _network().train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    export_candidate(network, TASK)
    assert [module.training for module in network.modules()] == modes
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_export_error_carries_the_reason_and_restores_the_loggers() -> None:
    level = logging.getLogger("torch.onnx").level
    with pytest.raises(DeviceError, match="no such layer"):
        export_candidate(Unexportable(), TASK)
    assert logging.getLogger("torch.onnx").level == level


def test_winner_takes_raw_pixels_of_any_batch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "model.onnx"
    network = _export(path)
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    for batch in (1, 2, 5):
        images = rng.integers(0, 256, (batch, 8, 8, 3), dtype=np.uint8)
        (logits,) = session.run(["logits"], {"images": images})
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            expected = network.eval()((pixels - mean) / std)
        torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-5, rtol=1e-4)

    entries = session.get_modelmeta().custom_metadata_map
    assert json.loads(entries["classes"]) == ["ant", "bee", "cat", "dög"]
    assert json.loads(entries["mean"]) == list(MEAN)
    assert json.loads(entries["std"]) == list(STD)
    assert entries["image_size"] == "8"
    assert entries["run"] == "7"
    assert entries["archfit_version"]
    # The exporter would write the source files' paths beside each node.
    assert b".py" not in path.read_bytes()


def test_a_candidate_as_deployed_is_the_winner_of_statistics_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    network = _export(path, mean=[0.5] * 3, std=[0.25] * 3)
    images = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    models = (as_deployed(export_candidate(network, TASK)), path.read_bytes())
    sessions = [onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]) for model in models]
    candidate, winner = (session.run(["logits"], {"images": images})[0] for session in sessions)
    np.testing.assert_allclose(candidate, winner, atol=1e-5)
    assert sessions[0].get_inputs()[0].shape == [1, 8, 8, 3]


def test_winner_names_the_mismatch(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="3 class names"):
        _export(tmp_path / "model.onnx", classes=["a", "b", "c"])
    with pytest.raises(DeviceError, match="1 means"):
        _export(tmp_path / "model.onnx", mean=[0.5])


def test_winner_that_cannot_be_written_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeviceError, match=r"cannot write .*model\.onnx"):
        _export(tmp_path / "file" / "model.onnx")
