"""The winner out: its files, the parity check, the test."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from archfit.architecture import Architecture, SearchSpace
from archfit.data import ImageData, evaluation_batches
from archfit.data.files import DECODE_ERRORS, decode
from archfit.device import export_winner
from archfit.errors import DataError, DeviceError, RunError, first_line
from archfit.report.record import Parity, TestResult
from archfit.study.run_folder import not_written, write_file, write_json
from archfit.training import calibration_error, confusion_matrix, per_class, top_k

NETWORK = "network.onnx"
WEIGHTS = "weights.safetensors"
ARCHITECTURE = "architecture.json"
SOURCE = "network.py"
LARGEST_LOGIT_DIFFERENCE = 1e-4
"""Between ONNX Runtime and PyTorch, for logits of up to 10; a share of the largest beyond.

Both compute in float32, whose rounding grows with the numbers: a network after one epoch, whose batch norms know
nothing yet, gave logits of 4,700 and a difference of 0.019.
"""
_TEST_BATCH = 256


def write_network(
    folder: Path,
    network: nn.Module,
    data: ImageData,
    *,
    space: SearchSpace | None,
    architecture: Architecture | None,
    version: str,
    model: str | None = None,
) -> list[str]:
    """Writes everything that a user takes away, each file at once or not at all.

    Args:
        folder: Exists.
        network: Trained, on the CPU.
        data: Gives preprocessing and class names.
        space: Of the architecture; one that has `source` gives `network.py` too.
        architecture: None for a network that is no point of a space.
        version: Of archfit.
        model: Name of a network that is no point of a space, kept for loading it.

    Returns:
        Names of the files written.
    """
    network = network.to(memory_format=torch.contiguous_format).eval()
    described = {
        "task": {"channels": data.channels, "image_size": data.image_size, "classes": len(data.classes)},
        "mean": list(data.mean),
        "std": list(data.std),
        "class_names": list(data.classes),
    }
    write_file(folder / WEIGHTS, save({key: value.contiguous() for key, value in network.state_dict().items()}))
    files = [WEIGHTS]
    if architecture is not None and space is not None:
        write_json(folder / ARCHITECTURE, {**architecture.to_json(), "settings": space.settings(), **described})
        files.append(ARCHITECTURE)
        source = getattr(space, "source", None)
        if callable(source):
            text = source(architecture, data.task, mean=data.mean, std=data.std, class_names=data.classes)
            write_file(folder / SOURCE, text.encode())
            files.append(SOURCE)
    elif model is not None:
        write_json(folder / ARCHITECTURE, {"model": model, **described})
        files.append(ARCHITECTURE)
    try:
        export_network(folder / NETWORK, network, data, version=version)
    except DeviceError as error:
        if isinstance(error.__cause__, OSError):
            raise not_written(folder / NETWORK, error.__cause__) from None
        raise
    return [NETWORK, *files]


def export_network(path: Path, network: nn.Module, data: ImageData, *, version: str) -> None:
    """The ONNX file as it is deployed: uint8 `(N, H, W, C)` in, logits out, preprocessing inside."""
    export_winner(
        network,
        data.task,
        path,
        mean=data.mean,
        std=data.std,
        classes=data.classes,
        metadata={"archfit_version": version, "dataset": data.name},
    )


def load_weights(folder: Path, network: nn.Module) -> nn.Module:
    """Puts a run's weights into a network built from its architecture. Raises `RunError` where they are not whole."""
    path = folder / WEIGHTS
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RunError(
            f"{path} cannot be read ({first_line(error)}); write it anew with: archfit resume {folder}"
        ) from None
    return network.eval()


def open_network(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session. Raises `DeviceError` where the file is no network it can run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises its own types, one per status code
        raise DeviceError(
            f"{path} cannot be run by ONNX Runtime ({first_line(error)}); give the network.onnx of a run"
        ) from None


def test_deployed(path: Path, network: nn.Module, data: ImageData) -> tuple[TestResult, Parity]:
    """Reads the test split once: the exported file answers, and the PyTorch module must agree.

    Args:
        path: Of the exported network.
        network: The same network in PyTorch, on the CPU.
        data: With its test split.

    Raises:
        RunError: The two differ in any top-1 answer where the logits are not tied, or in a logit by more than
            `LARGEST_LOGIT_DIFFERENCE` and than four times what float32 takes PyTorch from float64.
    """
    if data.test is None:
        raise RunError(f"{data.name} has no test split to test on")
    session = open_network(path)
    name = session.get_inputs()[0].name
    logits, truth, same, wrong, largest, excess = [], [], 0, 0, 0.0, 0.0
    normalised = evaluation_batches(data.test, data.mean, data.std, _TEST_BATCH)
    for (images, labels), (inputs, _) in zip(data.test.raw(_TEST_BATCH), normalised, strict=True):
        layout = images.permute(0, 2, 3, 1).contiguous().numpy()
        exported = torch.from_numpy(np.asarray(session.run(None, {name: layout})[0]))
        with torch.inference_mode():
            reference = network(inputs)
        if not (bool(exported.isfinite().all()) and bool(reference.isfinite().all())):
            raise RunError(f"the network gives logits that are no numbers on the test split; train {path} anew")
        answer = exported.argmax(dim=1)
        same += int((answer == reference.argmax(dim=1)).sum())
        # Two logits closer than the tolerance are a tie, which either answer settles.
        margin = reference.amax(dim=1) - reference.gather(1, answer.unsqueeze(1)).squeeze(1)
        allowed = LARGEST_LOGIT_DIFFERENCE * max(1.0, float(reference.abs().max()) / 10)
        difference = float((exported - reference).abs().max())
        if difference > allowed:
            allowed = max(allowed, 4 * _rounding(network, inputs, reference))
        wrong += int((margin > 2 * allowed).sum())
        largest = max(largest, difference)
        excess = max(excess, difference / allowed)
        logits.append(exported)
        truth.append(labels)
    result = test_result(torch.cat(logits), torch.cat(truth), data.classes)
    parity = Parity(result.images, same, largest)
    if excess > 1 or wrong:
        raise RunError(
            f"the exported network differs from PyTorch: {wrong} of {result.images} answers, logits by "
            f"up to {largest:.1e} ({excess:.2g} times what is allowed); please report this with {path}"
        )
    return result, parity


def _rounding(network: nn.Module, inputs: Tensor, reference: Tensor) -> float:
    """How far float32 takes PyTorch's own logits from those of float64; after a short training it can be much."""
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(inputs.double())
    return float((reference - exact).abs().max())


def test_result(logits: Tensor, truth: Tensor, names: tuple[str, ...]) -> TestResult:
    """Everything that is said of the answers on a test split.

    Args:
        logits: `(N, classes)`.
        truth: Labels, int64 `(N,)`.
        names: Of the classes.
    """
    answers = logits.argmax(dim=1)
    confusion = confusion_matrix(answers, truth, len(names))
    accuracy = float((answers == truth).double().mean())
    classes = per_class(confusion, names)
    occurring = [row for row in classes.values() if row["images"]]
    macro = {key: sum(row[key] for row in occurring) / len(occurring) for key in ("precision", "recall", "f1")}
    return TestResult(
        accuracy=accuracy,
        balanced_accuracy=macro["recall"],
        standard_error=(accuracy * (1 - accuracy) / len(truth)) ** 0.5,
        images=len(truth),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        per_class=classes,
        **macro,
        top5=top_k(logits, truth, 5) if len(names) > 10 else None,
        calibration_error=calibration_error(logits, truth),
        predicted=tuple(confusion.sum(dim=0).tolist()),
    )


def predict(path: Path, image: Path) -> tuple[list[tuple[str, float]], tuple[int, int]]:
    """Class names with probabilities, best first, for one picture; and the size it was brought to.

    Args:
        path: An ONNX file that archfit wrote (class names are in its metadata).
        image: Any picture that Pillow reads.

    Raises:
        DeviceError: The file is not one of archfit's networks.
        DataError: The picture cannot be read.
    """
    session = open_network(path)
    inputs = session.get_inputs()
    metadata: dict[str, Any] = session.get_modelmeta().custom_metadata_map
    if [given.type for given in inputs] != ["tensor(uint8)"] or "classes" not in metadata:
        takes = ", ".join(f"{given.type} {given.shape}" for given in inputs) or "nothing"
        raise DeviceError(
            f"{path} is not a network that archfit exported (it takes {takes}); give the network.onnx of a run"
        )
    given = inputs[0]
    names = json.loads(metadata["classes"])
    _, size, _, channels = given.shape
    try:
        pixels = decode(image, size, channels).permute(1, 2, 0).unsqueeze(0).contiguous().numpy()
    except FileNotFoundError:
        raise DataError(f"there is no picture {image}; give a file that exists") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{image} cannot be read as a picture ({error}); give a PNG, JPEG or the like") from None
    logits = torch.from_numpy(np.asarray(session.run(None, {given.name: pixels})[0]))[0]
    shares = logits.softmax(dim=0)
    order = shares.argsort(descending=True).tolist()
    return [(names[i], float(shares[i])) for i in order], (size, size)
