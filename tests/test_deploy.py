"""What a user takes away, on the shared finished search."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

import archfit
from archfit import deploy
from archfit.architecture import Architecture, Task
from archfit.data import ImageData, MemorySplit, evaluation_batches, load_data
from archfit.deploy import load_weights, open_network, predict, write_network
from archfit.errors import DataError, DeviceError, RunError
from archfit.spaces import MnasSpace

if TYPE_CHECKING:
    from conftest import Finished

# It loads the network with nothing of archfit in reach, and says what was imported.
ALONE = """
import importlib.util, json, sys
import torch
from safetensors.torch import load_file
spec = importlib.util.spec_from_file_location("network", sys.argv[1] + "/network.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
network = module.load(sys.argv[1] + "/weights.safetensors")
images = load_file(sys.argv[2])["images"]
with torch.no_grad():
    logits = network(images)
print(json.dumps({
    "logits": logits.tolist(), "classes": list(module.CLASSES), "mean": list(module.MEAN), "std": list(module.STD),
    "imported": sorted({name.split(".")[0] for name in sys.modules}),
}))
"""


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_data("digits")


def test_network_py_needs_torch_and_safetensors_alone(finished: Finished, digits: ImageData, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    assert digits.test is not None
    images, _ = next(iter(evaluation_batches(digits.test, digits.mean, digits.std, 8)))
    save_file({"images": images.contiguous()}, tmp_path / "images.safetensors")
    command = [sys.executable, "-c", ALONE, str(finished.folder), str(tmp_path / "images.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert not {"archfit", "torchvision", "timm", "lightning", "onnx", "optuna"} & set(said["imported"])
    assert said["classes"] == list(digits.classes)
    # Six digits are written, far below the step of 1/255 of a pixel.
    assert said["mean"] == pytest.approx(digits.mean, rel=1e-5)
    assert said["std"] == pytest.approx(digits.std, rel=1e-5)
    with torch.inference_mode():
        expected = archfit.load(finished.folder).best.model()(images)
    torch.testing.assert_close(torch.tensor(said["logits"]), expected, rtol=1e-6, atol=1e-5)


def test_network_onnx_takes_any_number_of_raw_images(finished: Finished, digits: ImageData) -> None:
    session = onnxruntime.InferenceSession(finished.folder / "network.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 8, 8, 1])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(metadata["mean"]) == pytest.approx(digits.mean, rel=1e-5)
    assert (metadata["image_size"], metadata["channels"], metadata["dataset"]) == ("8", "1", "digits")
    assert metadata["archfit_version"] == archfit.__version__

    assert digits.test is not None
    raw, _ = next(iter(digits.test.raw(7)))
    pixels = raw.permute(0, 2, 3, 1).contiguous().numpy()
    together = session.run(None, {"images": pixels})[0]
    assert together.shape == (7, 10)
    single = np.concatenate([session.run(None, {"images": pixels[i : i + 1]})[0] for i in range(7)])
    np.testing.assert_allclose(single, together, rtol=1e-4, atol=1e-4)


def test_architecture_json_builds_the_network_again(finished: Finished) -> None:
    stored = json.loads((finished.folder / "architecture.json").read_text())
    assert stored["class_names"] == [str(digit) for digit in range(10)]
    space = MnasSpace.from_settings(stored["settings"])
    network = space.build(Architecture.from_json(stored), Task(**stored["task"]))
    weights = load_file(finished.folder / "weights.safetensors")
    assert set(network.state_dict()) == set(weights)
    load_weights(finished.folder, network)
    assert not network.training


def test_damaged_weights(finished: Finished, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path / "run")
    (folder / "weights.safetensors").write_bytes(b"cut")
    with pytest.raises(RunError, match=r"weights.safetensors cannot be read .* archfit resume"):
        archfit.load(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(RunError, match="cannot be read"):
        archfit.load(folder)


def test_the_exported_network_is_tested_against_its_module(finished: Finished, digits: ImageData) -> None:
    result = archfit.load(finished.folder)
    test, parity = deploy.test_deployed(finished.folder / "network.onnx", result.best.model(), digits)
    assert test == result.record.test
    assert (parity.images, parity.same_top1) == (269, 269)
    # By hand from the confusion matrix: the diagonal is what was answered rightly.
    right = sum(test.confusion[digit][digit] for digit in range(10))
    assert test.accuracy == pytest.approx(right / 269)
    assert test.standard_error == pytest.approx((right / 269 * (1 - right / 269) / 269) ** 0.5)


def test_more_is_allowed_where_float32_itself_is_further_off(finished: Finished, digits: ImageData) -> None:
    """Logits of the order of one as the small difference of huge ones, as after a training of a few steps."""
    network = archfit.load(finished.folder).best.model()
    classifier = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        classifier.weight *= 1e-4
        classifier.weight += 1e4  # of all classes alike: what tells them apart drowns in rounding
        classifier.bias.zero_()
    inputs = torch.randn(4, digits.channels, digits.image_size, digits.image_size)
    with torch.inference_mode():
        reference = network(inputs)
    off = deploy._rounding(network, inputs, reference)
    assert off > 10 * deploy.LARGEST_LOGIT_DIFFERENCE
    assert next(network.parameters()).dtype == torch.float32
    with torch.inference_mode():
        exact = network.double()(inputs.double())
    assert off == pytest.approx(float((reference - exact).abs().max()))


def test_another_network_than_the_exported_one_is_found_out(finished: Finished, digits: ImageData) -> None:
    network = archfit.load(finished.folder).best.model()
    *_, bias = network.parameters()
    with torch.no_grad():
        bias[3] += 0.01 * max(1.0, float(bias.abs().max()))
    with pytest.raises(RunError, match="the exported network differs from PyTorch"):
        deploy.test_deployed(finished.folder / "network.onnx", network, _scaled_down(digits))
    with pytest.raises(RunError, match="has no test split"):
        deploy.test_deployed(finished.folder / "network.onnx", network, replace(digits, test=None))


def test_logits_that_are_no_numbers_are_found_out(finished: Finished, digits: ImageData) -> None:
    network = archfit.load(finished.folder).best.model()
    *_, bias = network.parameters()
    with torch.no_grad():
        bias.fill_(torch.nan)
    with pytest.raises(RunError, match="logits that are no numbers"):
        deploy.test_deployed(finished.folder / "network.onnx", network, _scaled_down(digits))


def _scaled_down(data: ImageData) -> ImageData:
    """The same with a test split of 16 images."""
    assert isinstance(data.test, MemorySplit)
    return replace(data, test=data.test.subset(torch.arange(16)))


def test_predict_reads_names_and_size_from_the_file(finished: Finished, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "picture.jpg")
    answers, size = predict(finished.folder / "network.onnx", tmp_path / "picture.jpg")
    assert size == (8, 8)
    assert sum(share for _, share in answers) == pytest.approx(1.0)
    assert [share for _, share in answers] == sorted((share for _, share in answers), reverse=True)
    with pytest.raises(DataError, match="there is no picture"):
        predict(finished.folder / "network.onnx", tmp_path / "nowhere.jpg")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(DeviceError, match=r"text.onnx cannot be run by ONNX Runtime .* give the network.onnx of a run"):
        open_network(tmp_path / "text.onnx")


def test_a_folder_that_takes_no_files(finished: Finished, digits: ImageData, tmp_path: Path) -> None:
    result = archfit.load(finished.folder)
    with pytest.raises(RunError, match=r"cannot be written \(No such file or directory\); .* archfit resume"):
        write_network(tmp_path / "nowhere", result.best.model(), digits, space=None, architecture=None, version="0")
    assert list(tmp_path.iterdir()) == []
