"""The verb `train`, from Python and on the command line."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

import archfit
from archfit.architecture import random_architecture
from archfit.data import load_data
from archfit.errors import ArchfitError, InputError, RunError, WeightsError
from archfit.pipeline.model import resolve_model
from archfit.pipeline.plan import normalised
from archfit.pipeline.request import TrainRequest
from archfit.pipeline.training import recipe_for
from archfit.report import read_training
from archfit.report.training import print_training, training_page
from archfit.spaces import MnasSpace, Skeleton
from archfit.training import available_cores

pytestmark = pytest.mark.slow

ARCHFIT = [sys.executable, "-m", "archfit"]
SMALL = ("--train-images", "200", "--epochs", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A training that the command line ran to its end: folder, stdout, stderr."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    command = [*ARCHFIT, "train", "mnasnet-small", "digits", *SMALL, "--mixup", "0.2", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """File of an architecture that is trained and exported in little time."""
    space = MnasSpace(skeleton=Skeleton(stem=8, filters=(8, 16), layers=(1, 1), strides=(1, 2), head=32))
    architecture = random_architecture(space, random.Random(0))
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({**architecture.to_json(), "settings": space.settings()}))
    return str(path)


def _until_a_checkpoint(folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not (folder / "training" / "last.ckpt").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_leaves_its_files(trained: tuple[Path, str, str]) -> None:
    folder, out, err = trained
    assert {path.name for path in folder.iterdir()} == {
        "architecture.json",
        "logs",
        "metrics.json",
        "network.onnx",
        "network.py",
        "report.html",
        "run.json",
        "run.lock",
        "training",
        "weights.safetensors",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("test_accuracy", "precision", "recall", "f1", "calibration_error"):
        assert 0 <= metrics[name] <= 1
    assert metrics["top5"] is None  # ten classes
    assert (metrics["epochs"], metrics["recipe"]["mixup"]) == (2, 0.2)
    assert metrics["command"].startswith("archfit train mnasnet-small digits --epochs 2")
    assert "--mixup 0.2" in metrics["command"]
    assert "precision, recall, F1" in out
    assert "mnasnet-small: from scratch" in err


def test_what_was_trained_can_be_loaded_and_used(trained: tuple[Path, str, str]) -> None:
    folder = trained[0]
    result = archfit.load(folder)
    assert isinstance(result, archfit.TrainResult)
    data = load_data("digits", train_images=200)
    assert data.test is not None
    images, labels = next(data.test.raw(len(data.test)))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    answers = result.model()((images / 255 - mean) / std).argmax(dim=1)
    assert float((answers == labels).double().mean()) == pytest.approx(result.record.test.accuracy, abs=1e-6)
    assert archfit.resume(folder).folder == folder  # finished already
    again = subprocess.run([*ARCHFIT, "report", str(folder)], capture_output=True, text=True, timeout=60)
    assert "precision, recall, F1" in again.stdout
    measured = subprocess.run([*ARCHFIT, "measure", str(folder)], capture_output=True, text=True, timeout=60)
    assert "latency" in measured.stdout


def test_a_run_can_be_trained_again(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    folder = trained[0]
    model = resolve_model(str(folder / "architecture.json"))
    network, _ = model.build(archfit.Task(1, 8, 10))
    theirs = archfit.load(folder)
    assert isinstance(theirs, archfit.TrainResult)
    assert [v.shape for v in network.state_dict().values()] == [v.shape for v in theirs.model().state_dict().values()]
    result = archfit.train(
        folder, "digits", epochs=1, train_images=100, weights=folder / "weights.safetensors", out=tmp_path / "again"
    )
    assert "tensors by name" in result.record.weights
    assert result.record.recipe["optimiser"] == "adamw"


def test_weights_of_a_run_see_images_as_they_did_there(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    folder = trained[0]
    there = json.loads((folder / "architecture.json").read_text())
    expected = (tuple(there["mean"]), tuple(there["std"]))
    weights = str(folder / "weights.safetensors")
    assert resolve_model("mnasnet-small").statistics(weights) == expected
    copied = tmp_path / "copied.safetensors"
    shutil.copy(weights, copied)
    assert resolve_model("mnasnet-small").statistics(str(copied)) != expected


def test_networks_of_other_packages_are_trained(tmp_path: Path) -> None:
    result = archfit.train(
        "torchvision:squeezenet1_1", "digits", image_size=64, epochs=1, train_images=64, out=tmp_path / "run"
    )
    assert result.record.parity.same_top1 == result.record.parity.images
    loaded = archfit.load(tmp_path / "run")
    assert isinstance(loaded, archfit.TrainResult)
    assert resolve_model(str(tmp_path / "run")).name == "torchvision:squeezenet1_1"


def test_a_training_that_is_killed_goes_on(tmp_path: Path, tiny: str) -> None:
    folder = tmp_path / "killed"
    arguments = ["train", tiny, "digits", "--train-images", "300", "--epochs", "40", "--batch-size", "16"]
    process = subprocess.Popen([*ARCHFIT, *arguments, "--out", str(folder)], stderr=subprocess.DEVNULL)
    _until_a_checkpoint(folder)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "metrics.json").exists()
    # What was decided by a clock is the same in both, and the other one begins anew.
    whole = Path(shutil.copytree(folder, tmp_path / "whole"))
    shutil.rmtree(whole / "training")
    for run in (whole, folder):
        done = subprocess.run([*ARCHFIT, "resume", str(run)], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    results = [json.loads((run / "metrics.json").read_text()) for run in (whole, folder)]
    assert results[0]["network"]["curve"] == results[1]["network"]["curve"]
    assert results[0]["test_accuracy"] == results[1]["test_accuracy"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, tiny: str) -> None:
    folder = tmp_path / "run"
    command = [*ARCHFIT, "train", tiny, "digits", "--epochs", "200", "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    _until_a_checkpoint(folder)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == f"archfit: stopped; go on with: archfit resume {folder}"
    assert "Traceback" not in err


def test_the_recipe_is_archfits_with_what_was_asked_for() -> None:
    data = load_data("digits", train_images=200)
    scratch = recipe_for(TrainRequest("mnasnet-small", "digits", recipe={"learning_rate": 0.3, "cutout": 3}), data)
    assert (scratch.optimiser, scratch.learning_rate) == ("muon", 0.3)
    assert scratch.augmentation is not None
    assert scratch.augmentation.cutout == 3
    transfer = recipe_for(TrainRequest("mnasnet-small", "digits", weights="w.pth"), data)
    assert transfer.optimiser == "adamw"


def test_pretrained_networks_see_images_as_they_were_trained() -> None:
    data = load_data("digits", train_images=200)
    lite = normalised(data, resolve_model("efficientnet-lite0").statistics("imagenet"))
    # (x - 127) / 128 for x in 0..255
    assert lite.mean == pytest.approx((127 / 255,))
    assert lite.std == pytest.approx((128 / 255,))
    other = normalised(data, resolve_model("mobilenet-v2").statistics("w.pth"))
    assert other.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "mnasnet-a11"}, InputError, "unknown reference 'mnasnet-a11'; did you mean 'mnasnet-a1'"),
        ({"model": "nowhere/architecture.json"}, InputError, "there is no file nowhere/architecture.json"),
        ({"weights": "none.pth"}, WeightsError, "there is no weights file none.pth"),
        ({"epochs": 0}, InputError, "epochs is 0; it must be a number above zero"),
        ({"recipe": {"learning_rat": 1}}, InputError, "'learning_rat'; did you mean 'learning_rate'"),
        ({"accelerator": "cuda"}, InputError, "accelerator 'cuda' is not available"),
        ({"dataset": "digts"}, ArchfitError, "digits"),
        ({"metric": "accurcy"}, InputError, "did you mean 'accuracy'"),
        ({"devices": 0}, InputError, "devices is 0; it must be at least 1"),
        ({"devices": 1000, "accelerator": "cpu"}, InputError, "devices is 1000; this machine has"),
        ({"flags": {"devices": 2}}, InputError, "flags has devices; give accelerator and devices themselves"),
    ],
)  # fmt: skip
def test_bad_input_leaves_nothing(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    if changes.get("accelerator") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    arguments: dict[str, object] = {"model": "mnasnet-small", "dataset": "digits", "epochs": 1, **changes}
    with pytest.raises(error, match=message):
        archfit.train(**arguments, out=tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(available_cores() < 2, reason="one core")
def test_two_processes_train_together_and_a_stopped_training_goes_on(tmp_path: Path, tiny: str) -> None:
    folder = tmp_path / "run"
    command = [*ARCHFIT, "train", tiny, "digits", "--train-images", "200", "--epochs", "60"]
    running = subprocess.Popen([*command, "--devices", "2", "--out", str(folder)], stderr=subprocess.PIPE, text=True)
    _until_a_checkpoint(folder)
    running.send_signal(signal.SIGINT)
    error = running.communicate(timeout=60)[1]
    assert running.returncode == 130, error
    assert f"archfit resume {folder}" in error
    done = subprocess.run([*ARCHFIT, "resume", str(folder)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["epochs"] == 60
    assert "--devices 2" in metrics["command"]


def test_a_folder_without_architecture(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no architecture\.json"):
        resolve_model(str(tmp_path))
    (tmp_path / "architecture.json").write_text('{"space": "other"}')
    with pytest.raises(InputError, match="is not an architecture of a space of archfit"):
        resolve_model(str(tmp_path))


def test_summary_and_page_say_what_the_clock_showed(trained: tuple[Path, str, str]) -> None:
    record = read_training(trained[0])
    latency = record.network.cost.latency
    assert latency is not None
    cost = replace(record.network.cost, latency=replace(latency, scaled=1.5))
    record = replace(record, network=replace(record.network, cost=cost))
    console = Console(file=io.StringIO(), width=200)
    print_training(record, trained[0], console)
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), training_page(record)):
        assert "as the machine was 1.50 times as fast as when archfit first measured here" in text
