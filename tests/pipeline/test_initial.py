"""A search whose candidates inherit from a trained network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import archfit
from archfit.architecture import Task
from archfit.catalogue import get_reference
from archfit.cost import Budget
from archfit.data import load_data
from archfit.errors import ArchfitError, InputError, RunError, WeightsError
from archfit.pipeline import Silent, recorded
from archfit.pipeline.initial import INIT, resolve_initial
from archfit.pipeline.plan import normalised
from archfit.study.search import SearchStatus

pytestmark = pytest.mark.slow

SMALL = {"params": "2M", "proxy_epochs": 0.1, "final_epochs": 1, "finalists": 1, "workers": 1, "width": 0.18}


def weights_file(name: str, folder: Path, task: Task | None = None) -> Path:
    torch.manual_seed(3)
    path = folder / f"{name}.safetensors"
    save_file(get_reference(name).build(task or Task(3, 224, 10)).state_dict(), path)
    return path


class Impatient(Silent):
    """Presses Ctrl-C when one trial has ended."""

    def searching(self, status: SearchStatus, budget: Budget) -> None:
        if any(trial.state != "running" for trial in status.trials):
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["mnasnet-b1", "efficientnet-lite0", "mobilenet-v2-0.5", "proxylessnas-mobile"])
def test_a_file_says_by_its_shapes_what_network_it_is_of(name: str, tmp_path: Path) -> None:
    path = weights_file(name, tmp_path)
    found = resolve_initial(str(path))
    assert (found.name, found.classes, found.channels) == (name, 10, 3)
    assert found.statistics == get_reference(name).statistics
    assert len(found.layers()) == 7


def test_a_search_begins_with_the_network_nearest_to_the_trained_one(tmp_path: Path) -> None:
    path = weights_file("mnasnet-small", tmp_path, Task(1, 224, 5))
    folder = tmp_path / "run"
    result = archfit.search("digits", init=path, trials=4, seed=1, out=folder, **SMALL)
    assert [trial.origin for trial in result.trials] == ["source", "source", "random", "random"]
    nearest = result.trials[0].architecture
    assert nearest is not None
    assert [nearest[f"block{block}.kernel"] for block in (4, 5, 6)] == [5, 3, 5]
    assert result.record.search["init"] == str(path)
    assert f"--init {path}" in result.record.command
    mean, std = get_reference("mnasnet-small").statistics
    expected = normalised(load_data("digits"), (mean, std))
    written = json.loads((folder / "architecture.json").read_text())
    assert written["mean"] == pytest.approx(list(expected.mean))
    # What is on the disk rebuilds the network: nothing of it depends on where its weights began.
    assert archfit.load(folder).best.model()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_a_resumed_search_needs_the_file_no_more_and_repeats_exactly(tmp_path: Path) -> None:
    path = weights_file("mnasnet-small", tmp_path)
    whole = archfit.search("digits", init=path, trials=4, seed=1, out=tmp_path / "whole", **SMALL)
    with pytest.raises(KeyboardInterrupt):
        archfit.search("digits", init=path, trials=4, seed=1, out=tmp_path / "cut", watch=Impatient(), **SMALL)
    path.unlink()
    archfit.resume(tmp_path / "cut")
    known = [(t.number, t.architecture, t.accuracy, t.origin) for t in recorded(tmp_path / "cut")[1]]
    assert known == [(t.number, t.architecture, t.accuracy, t.origin) for t in whole.trials]


def test_a_run_can_be_inherited_from(tmp_path: Path) -> None:
    first = archfit.train("mnasnet-small", "digits", epochs=1, train_images=100, out=tmp_path / "first")
    found = resolve_initial(str(first.folder))
    assert found.statistics == (tuple(load_data("digits", train_images=100).mean), found.statistics[1])
    torch.testing.assert_close(found.weights["stem.0.weight"], first.model().state_dict()["stem.0.weight"])


def test_what_cannot_be_inherited_from_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def refused(init: str | Path, error: type[ArchfitError], match: str) -> None:
        with pytest.raises(error, match=match):
            archfit.search("digits", latency="1ms", init=init, out=out)
        assert not out.exists()

    refused("lite0.pth", WeightsError, "there is no weights file lite0.pth")
    refused("efficientnet-lite9", InputError, "did you mean 'efficientnet-lite4'")
    refused("timm:resnet18", InputError, "no network of the mnas space")
    refused("nasnet-a", InputError, "nasnet-a is no network of the mnas space")
    refused(weights_file("mobilenet-v1", tmp_path), InputError, "has 5 blocks, the mnas space 7")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3, 3)}, foreign)
    refused(foreign, WeightsError, "the weights of none of our networks")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", RunError, "has no architecture.json")
    pickled = tmp_path / "pickled.pth"
    torch.save({"code": Silent()}, pickled)
    refused(pickled, WeightsError, "was not opened")


def test_a_damaged_copy_in_the_run_is_named(tmp_path: Path) -> None:
    path = weights_file("mnasnet-small", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        archfit.search("digits", init=path, trials=3, out=tmp_path / "cut", watch=Impatient(), **SMALL)
    (tmp_path / "cut" / INIT).write_bytes(b"\0" * 100)
    with pytest.raises(RunError, match=r"init.safetensors cannot be read"):
        archfit.resume(tmp_path / "cut")


def test_a_space_from_python_takes_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only networks of the mnas space inherit"):
        archfit.search("digits", latency="1ms", space=archfit.MnasSpace(), init="lite0.pth", out=tmp_path / "run")
