"""The short verbs on a finished network: its cost here, and its answer to a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from archfit.architecture import Task
from archfit.catalogue import build_named
from archfit.cost import Cost
from archfit.deploy import NETWORK
from archfit.deploy import predict as predict_file
from archfit.device import LocalDevice, measure_cost, measure_file
from archfit.errors import DeviceError, InputError, RunError
from archfit.study.run_folder import read_run


@dataclass(frozen=True)
class Measured:
    """One network's cost.

    Attributes:
        name: What was measured.
        cost: On this machine.
    """

    name: str
    cost: Cost


def measure(
    target: str | Path, *, runtime: str = "onnxruntime", threads: int = 1, image_size: int = 224, classes: int = 1000
) -> Measured:
    """Measures an ONNX file, a run's network, or a network of the catalogue, on this machine.

    Args:
        target: `.onnx` file, run folder, or a name as "mnasnet-a1".
        runtime: "onnxruntime" or "torch" (only for names).
        threads: Of the runtime.
        image_size: For names: pixels.
        classes: For names: logits.

    Raises:
        ArchfitError: There is no such file or name, or the runtime cannot execute it.
    """
    for name, value in (("threads", threads), ("image_size", image_size), ("classes", classes)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    path = Path(target)
    device = LocalDevice()
    if path.is_dir():
        read_run(path)
        path = path / NETWORK
        if not path.is_file():
            raise RunError(f"{path.parent} has no {NETWORK} yet; go on with: archfit resume {path.parent}")
    if path.is_file():
        try:
            cost = measure_file(path, device, runtime=runtime, threads=threads)
        except DeviceError as error:
            raise DeviceError(f"{path}: {error}") from error
        return Measured(str(path), cost)
    if path.suffix == ".onnx":
        raise DeviceError(f"there is no file {path}; give an ONNX file, a run folder or a network's name")
    task = Task(3, image_size, classes)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_named(str(target), task).eval()
    return Measured(str(target), measure_cost(network, task, device, runtime=runtime, threads=threads))


def predict(target: str | Path, picture: str | Path) -> list[tuple[str, float]]:
    """Class names with probabilities, best first, for one picture.

    Args:
        target: Run folder, or an ONNX file that archfit wrote.
        picture: Image file; its short side is brought to the network's resolution and the centre cut out.
    """
    path = Path(target)
    if path.is_dir():
        read_run(path)
        path = path / NETWORK
    if not path.is_file():
        raise RunError(f"there is no network {path}; give the folder of a finished run or an ONNX file")
    answers, _ = predict_file(path, Path(picture))
    return answers
