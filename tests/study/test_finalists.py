from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from study_toy import DATA
from torch import nn

from archfit.errors import ArchfitError
from archfit.study.candidates import training_pool
from archfit.study.finalists import FullTraining, affordable_epochs, train_in_full
from archfit.study.workers import WorkerPool
from archfit.training import Recipe, fit, get_metric, score

pytestmark = pytest.mark.slow

RECIPE = Recipe(4, batch_size=8, learning_rate=0.05, ema_decay=0.5)


def test_affordable_epochs() -> None:
    # 32 images: 100 s at 16 images/s are 50 epochs, at 24 images/s 75.
    assert affordable_epochs(100, {"a": 16}, DATA, workers=2) == {"a": 50}
    assert affordable_epochs(100, {"a": 16, "b": 24}, DATA, workers=2) == {"a": 50, "b": 75}
    # Three networks on two workers take two rounds, each as long as the slowest's.
    assert affordable_epochs(100, {"a": 16, "b": 24, "c": 32}, DATA, workers=2) == {"a": 25, "b": 25, "c": 25}
    # All for 0.4 of theirs at 16 images/s, then one at 32: 100 s = N x 32 images x (0.4 / 16 + 0.6 / 32) = 1.4 N.
    last_rates = {"a": 32.0, "b": 32.0}
    both = {"a": 16.0, "b": 16.0}
    assert affordable_epochs(100, both, DATA, workers=2, last_rates=last_rates, share=0.4) == {"a": 71, "b": 71}
    # One after the other: 2 x 0.4 / 16 + 0.6 / 32, 2.2 s an epoch.
    assert affordable_epochs(100, both, DATA, workers=1, last_rates=last_rates, share=0.4) == {"a": 45, "b": 45}
    # 3.9 s at 16 images/s are 1.95 epochs, 39.9 s 19.95; 41 s are 20.5, of which the half is left out.
    assert [affordable_epochs(s, {"a": 16}, DATA, workers=1)["a"] for s in (3.9, 39.9, 41)] == [1.9, 19.9, 20]
    assert affordable_epochs(0, {"a": 16}, DATA, workers=1) == {"a": 1}
    assert affordable_epochs(1e6, {"a": 16}, DATA, workers=1) == {"a": 200}
    assert affordable_epochs(1e6, {"a": 16}, DATA, workers=1, most=7) == {"a": 7}


def _builder(width: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


def _broken() -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        raise ValueError("it cannot be built")

    return build


def _train(
    networks: Mapping[str, Callable[[], nn.Module]], pool: WorkerPool, folder: Path, **others: Any
) -> tuple[dict[str, FullTraining], dict[str, str], list[dict[str, dict[str, Any]]]]:
    told: list[dict[str, dict[str, Any]]] = []
    trained, failures = train_in_full(
        networks,
        dict.fromkeys(networks, RECIPE),
        pool,
        seed=5,
        accelerator="cpu",
        memory_format="contiguous",
        metric="accuracy",
        folder=folder,
        on_progress=told.append,
        **others,
    )
    return trained, failures, told


def test_networks_are_trained_and_read_back(tmp_path: Path, one_worker: WorkerPool) -> None:
    networks = {"trial 2": _builder(8), "broken": _broken(), "timm:other/one": _builder(3)}
    trained, failures, told = _train(networks, one_worker, tmp_path)
    assert list(trained) == ["trial 2", "timm:other/one"]
    assert failures == {"broken": "ValueError: it cannot be built"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["timm-other-one", "trial-2"]
    for name, training in trained.items():
        assert training.name == name
        assert training.epochs == 4
        assert [epoch for epoch, _, _ in training.curve] == [1, 2, 3, 4]
        network = networks[name]()
        network.load_state_dict(training.weights)
        accuracy = score(network, DATA.validation, DATA, get_metric("accuracy"))
        assert training.validation_accuracy == training.curve[-1][2] == accuracy
    last = told[-1]["trial 2"]
    # 32 images in steps of 8: 4 steps in each of 4 epochs.
    assert (last["step"], last["steps"], last["epoch"], last["epochs"]) == (16, 16, 4, 4)

    again, _, _ = _train(networks, one_worker, tmp_path)
    for name, training in trained.items():
        assert again[name].curve == training.curve
        assert all(torch.equal(again[name].weights[key], value) for key, value in training.weights.items())


def test_a_training_repeats_exactly(tmp_path: Path, one_worker: WorkerPool) -> None:
    one, _, _ = _train({"a": _builder(4)}, one_worker, tmp_path / "one")
    # The name and what else is trained make no difference.
    other, _, _ = _train({"b": _builder(2), "c": _builder(4)}, one_worker, tmp_path / "other")
    assert other["c"].curve == one["a"].curve
    assert all(torch.equal(other["c"].weights[key], value) for key, value in one["a"].weights.items())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_stopped_for_now_goes_on(processes: int, tmp_path: Path, two_workers: WorkerPool) -> None:
    whole, _, _ = _train({"a": _builder(4)}, two_workers, tmp_path / "whole")
    first, _, told = _train({"a": _builder(4)}, two_workers, tmp_path / "parts", until={"a": 3})
    assert (first["a"].epochs, first["a"].stopped) == (3, True)
    assert first["a"].curve == whole["a"].curve[:3]
    assert (told[-1]["a"]["step"], told[-1]["a"]["steps"], told[-1]["a"]["epochs"]) == (12, 12, 3)
    again, _, _ = _train({"a": _builder(4)}, two_workers, tmp_path / "parts", until={"a": 3})
    assert again["a"].curve == first["a"].curve
    rest, _, _ = _train({"a": _builder(4)}, two_workers, tmp_path / "parts", processes=processes)
    assert (rest["a"].epochs, rest["a"].stopped) == (4, False)
    assert [epoch for epoch, _, _ in rest["a"].curve] == [1, 2, 3, 4]
    exact = {"rtol": 0, "atol": 0} if processes == 1 else {"rtol": 1e-3, "atol": 1e-4}
    for key, value in whole["a"].weights.items():
        torch.testing.assert_close(rest["a"].weights[key], value, **exact)


def _fragile(bound: float) -> Callable[[], nn.Module]:
    """A network that has no finite answer once a weight has moved further than by the bound."""

    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)
            nn.init.zeros_(self.linear.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            broken = self.linear.weight.abs().amax() > bound
            return self.linear(x.flatten(1)) + torch.where(broken, torch.nan, 0.0)

    return Fragile


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_diverges_is_begun_anew_once(processes: int, tmp_path: Path, two_workers: WorkerPool) -> None:
    slow, fast = _farthest(RECIPE.slower()), _farthest(RECIPE)
    networks = {"once": _fragile((slow + fast) / 2), "twice": _fragile(slow / 2), "never": _fragile(2 * fast)}
    trained, failures, _ = _train(networks, two_workers, tmp_path, processes=processes)
    assert {name: training.slower for name, training in trained.items()} == {"once": True, "never": False}
    assert list(failures) == ["twice"]
    assert failures["twice"].startswith("DivergedError: training diverged: the loss is nan")
    again, failures, _ = _train(networks, two_workers, tmp_path, processes=processes)
    assert again["once"].curve == trained["once"].curve
    assert again["once"].slower
    assert list(failures) == ["twice"]


def _farthest(recipe: Recipe) -> float:
    """How far a weight of that network moves from zero."""
    moved: list[float] = []
    torch.manual_seed(5)
    network = _fragile(math.inf)()
    network.register_forward_hook(lambda module, *_: moved.append(float(module.linear.weight.detach().abs().amax())))
    fit(network, DATA, recipe, seed=5)
    return max(moved)


def _deadly(marker: Path, times: int) -> Callable[[], nn.Module]:
    network = _builder(3)  # a name of this module would be looked up in the worker, which cannot import it

    def build() -> nn.Module:
        deaths = len(list(marker.parent.glob(f"{marker.name}*")))
        if deaths < times:
            marker.with_name(f"{marker.name}{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return network()

    return build


def test_a_training_whose_process_dies_goes_on_once(tmp_path: Path, one_worker: WorkerPool) -> None:
    networks = {"once": _deadly(tmp_path / "once", 1), "twice": _deadly(tmp_path / "twice", 2)}
    trained, failures, _ = _train(networks, one_worker, tmp_path / "training")
    assert list(trained) == ["once"]
    assert failures == {"twice": "killed by SIGKILL"}


def test_nothing_trained(tmp_path: Path, one_worker: WorkerPool) -> None:
    with pytest.raises(ArchfitError, match="no full training succeeded; the last reason: ValueError: it cannot be"):
        _train({"a": _broken(), "b": _broken()}, one_worker, tmp_path)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[WorkerPool]:
    with training_pool(DATA, 2) as pool:
        yield pool


def test_two_processes_train_one_network_together(tmp_path: Path, two_workers: WorkerPool) -> None:
    networks = {"a": _builder(6), "broken": _broken(), "b": _builder(4)}
    alone, _, _ = _train(networks, two_workers, tmp_path / "alone")
    together, failures, told = _train(networks, two_workers, tmp_path / "together", processes=2)
    assert failures == {"broken": "ValueError: it cannot be built"}
    assert list(together) == ["a", "b"]
    for name, training in together.items():
        assert [epoch for epoch, _, _ in training.curve] == [1, 2, 3, 4]
        for key, value in alone[name].weights.items():
            torch.testing.assert_close(training.weights[key], value, rtol=1e-3, atol=1e-4)
    assert told[-1]["b"]["step"] == 16
    again, _, _ = _train({"b": _builder(4)}, two_workers, tmp_path / "together")
    assert again["b"].curve == together["b"].curve


def test_the_others_do_not_wait_for_a_process_that_died(tmp_path: Path, two_workers: WorkerPool) -> None:
    networks = {"once": _deadly(tmp_path / "once", 1), "ever": _deadly(tmp_path / "ever", 9)}
    trained, failures, _ = _train(networks, two_workers, tmp_path / "training", processes=2)
    assert list(trained) == ["once"]
    assert failures == {"ever": "killed by SIGKILL"}
    assert two_workers.busy == 0
