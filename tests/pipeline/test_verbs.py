"""The verbs from Python: parts of one's own, resume, load, report, measure, dry run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import optuna
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import archfit
from archfit.architecture import Architecture, Choice, Task
from archfit.cli import main
from archfit.cost import Budget
from archfit.data import ImageData
from archfit.errors import InputError, RunError
from archfit.pipeline import SearchRequest, Silent, dry_run, make_budget, recorded, report
from archfit.study.limits import Limits
from archfit.study.search import SearchStatus

if TYPE_CHECKING:
    from conftest import Finished

pytestmark = pytest.mark.slow

# Worker processes cannot import this module: what they need of it travels with the job.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Stripes(Dataset[tuple[Tensor, int]]):
    """Images of 8 x 8 pixels with bright rows (class 0) or columns (class 1)."""

    classes = ("rows", "columns")

    def __len__(self) -> int:
        return 80

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.full((1, 8, 8), 0.1)
        line = index % 8
        if index % 2:
            image[:, :, line] = 0.9
        else:
            image[:, line] = 0.9
        return image, index % 2


@dataclass(frozen=True)
class Small:
    """One convolution of so many channels. `layers` is a field of its own, and no table for the report."""

    layers: int = 1

    @property
    def name(self) -> str:
        return "small"

    @property
    def choices(self) -> tuple[Choice, ...]:
        return (Choice("channels", (2, 3, 4, 5)), Choice("kernel", (1, 3)))

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        channels, kernel = int(architecture["channels"]), int(architecture["kernel"])
        convolution = nn.Conv2d(task.channels, channels, kernel, padding=kernel // 2)
        return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(channels * 64, task.classes))

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        return architecture

    def settings(self) -> dict[str, Any]:
        return {"layers": self.layers}


@dataclass(frozen=True)
class ByChannels:
    """Knows the accuracy beforehand: 0.5 and a tenth for each channel."""

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        assert data.test is None
        return 0.5 + 0.1 * int(architecture["channels"])


def plain(accuracy: float, ratios: dict[str, float]) -> float:
    return accuracy


def parts() -> dict[str, Any]:
    return {
        "space": Small(),
        "evaluator": ByChannels(),
        "reward": plain,
        "sampler": optuna.samplers.RandomSampler(seed=1),
    }


class Impatient(Silent):
    """Presses Ctrl-C when two trials have ended."""

    def searching(self, status: SearchStatus, budget: Budget) -> None:
        if sum(trial.state != "running" for trial in status.trials) >= 2:
            raise KeyboardInterrupt


def test_parts_from_python_are_searched_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        archfit.search(
            Stripes(),
            params="10k",
            trials=5,
            final_epochs=2,
            finalists=1,
            workers=1,
            accelerator="cpu",
            out=folder,
            watch=Impatient(),
            **parts(),
        )
    assert not (folder / "result.json").exists()

    # The command line has no such parts, and says where to go on.
    monkeypatch.setattr(sys, "argv", ["archfit", "resume", str(folder)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "archfit: the run's space, sampler, reward, evaluator came from Python as objects; resume it there: "
        f"archfit.resume({str(folder)!r}, space=..., sampler=..., reward=..., evaluator=...)"
    )
    with pytest.raises(RunError, match=r"the run's evaluator came from Python .* evaluator=\.\.\.\)"):
        archfit.resume(folder, **{name: part for name, part in parts().items() if name != "evaluator"})
    with pytest.raises(RunError, match="pass the space it was begun with"):
        archfit.resume(folder, **(parts() | {"space": Small(layers=2)}))

    # The dataset was kept in the folder.
    result = archfit.resume(folder, **parts())
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3, 4]
    assert {trial.state for trial in result.trials} == {"complete"}
    best = max(result.trials, key=lambda trial: (trial.accuracy, -trial.number))
    assert result.best.architecture == best.architecture
    assert result.record.dataset["classes"] == ["rows", "columns"]
    assert result.record.command.endswith("# from Python, with its own dataset, space, sampler, reward, evaluator")
    assert not (folder / "network.py").exists()  # this space has no source
    assert (folder / "network.onnx").is_file()

    assert report(folder).is_file()  # needs no network, so no space either
    with pytest.raises(RunError, match=r"the run's space 'small' came from Python; load it there: archfit.load"):
        archfit.load(folder)
    loaded = archfit.load(folder, space=Small())
    assert loaded.record == result.record
    images = torch.zeros(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(loaded.best.model()(images), result.best.model()(images))


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_finished_run_is_read_back(finished: Finished) -> None:
    before = {path: path.read_bytes() for path in finished.folder.glob("*.json")}
    watch = Notes()
    result = archfit.resume(finished.folder, watch=watch)
    assert watch.notes == [f"{finished.folder} is finished already; nothing is left to do"]
    assert {path: path.read_bytes() for path in finished.folder.glob("*.json")} == before
    record, trials = recorded(finished.folder)
    assert (result.record, list(result.trials)) == (record, trials)


def test_damaged_files_of_a_finished_run_are_written_anew(finished: Finished, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path / "run")
    was = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text("{")
    (folder / "weights.safetensors").write_bytes(b"cut")
    watch = Notes()
    archfit.resume(folder, watch=watch)
    assert "what is not whole is written anew" in watch.notes[0]
    mended = json.loads((folder / "result.json").read_text())
    for name in ("test_accuracy", "validation_accuracy", "params", "madds", "architecture"):
        assert mended[name] == was[name]
    trained = finished.folder / "weights.safetensors"
    assert (folder / "weights.safetensors").read_bytes() == trained.read_bytes()


def test_measure_a_run_and_a_name(finished: Finished) -> None:
    run = archfit.measure(finished.folder).cost
    result = json.loads((finished.folder / "result.json").read_text())
    assert run.file_bytes == (finished.folder / "network.onnx").stat().st_size
    assert run.latency is not None
    # Two measurements of one file: the same but for what a busy machine adds.
    assert 0.4 < run.latency.p50_ms / result["latency_ms"]["p50"] < 2.5
    named = archfit.measure("mnasnet-small", image_size=32, classes=10)
    assert named.name == "mnasnet-small"
    assert named.cost.latency is not None
    with pytest.raises(InputError, match="classes is 0"):
        archfit.measure("mnasnet-small", classes=0)


def test_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = SearchRequest(
        "digits",
        budget=Budget(params=10_000_000),
        limits=Limits(trials=4),
        width=0.18,
        proxy_epochs=(0.5,),
        final_epochs=3,
        workers=2,
    )
    found = dry_run(request)
    assert found.share == 1.0  # none of that width has ten million parameters
    assert found.scaled is None
    assert (found.trials, found.proxy_epochs) == (4, (0.5,))
    rate = found.images_per_second
    # 1259 training images: half an epoch, and a second for measuring.
    assert found.seconds_per_trial == pytest.approx(0.5 * 1259 / rate + 1)
    # 4 trials on 2 workers; both finalists train beside each other for 3 epochs.
    assert found.seconds == pytest.approx(4 * found.seconds_per_trial / 2 + 3 * 1259 / rate)
    assert list(tmp_path.iterdir()) == []


def test_make_budget() -> None:
    assert make_budget() == Budget()
    assert make_budget(latency="0.3ms", memory="8MB", params="300k", madds=20_000_000) == Budget(
        latency_ms=0.3, memory_bytes=8_000_000, params=300_000, madds=20_000_000
    )
    with pytest.raises(InputError, match="latency '5' has no unit"):
        make_budget(latency="5")


def test_an_evaluator_of_an_unknown_name() -> None:
    with pytest.raises(InputError, match="unknown evaluator 'proxi'; did you mean 'proxy'"):
        archfit.search("digits", evaluator="proxi")


def test_references_are_trained_beside_the_finalists(tmp_path: Path) -> None:
    names = ("mnasnet-small", "torchvision:squeezenet1_1")
    settings = {"trials": 1, "proxy_epochs": 0.1, "final_epochs": 1, "finalists": 1, "width": 0.18, "workers": 1}
    result = archfit.search(
        "digits", params="2M", image_size=64, train_images=100, references=names, out=tmp_path / "run", **settings
    )
    rows = {network.name: network for network in result.record.trained if network.role == "reference"}
    assert set(rows) == set(names)
    assert all(row.test_accuracy is not None and row.cost.latency is not None for row in rows.values())


def test_workers_without_a_finalist_help_to_train_one(tmp_path: Path) -> None:
    settings = {"trials": 2, "proxy_epochs": 0.1, "final_epochs": 2, "finalists": 1, "width": 0.18, "workers": 2}
    result = archfit.search("digits", params="2M", train_images=200, out=tmp_path / "run", seed=3, **settings)
    assert result.record.search["final_processes"] == 2
    assert [epoch for epoch, _, _ in result.record.winner.curve] == [1, 2]
    assert result.record.parity.same_top1 == result.record.parity.images


def test_a_reference_that_the_images_are_too_small_for_is_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images of 8 pixels"):
        archfit.search("digits", latency="1ms", references=("torchvision:mobilenet_v3_small",), out=tmp_path / "run")
    with pytest.raises(InputError, match="did you mean 'mobilenet_v3_small'"):
        archfit.search("digits", latency="1ms", references=("torchvision:mobilenet_v3_smal",), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
