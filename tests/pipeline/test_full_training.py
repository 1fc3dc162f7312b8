"""Finalists of which one alone is trained to the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from archfit.architecture import random_architecture
from archfit.data import load_data
from archfit.errors import ArchfitError
from archfit.pipeline import SearchRequest, Silent
from archfit.pipeline.full_training import FullTrainings
from archfit.spaces import MnasSpace, Skeleton
from archfit.study.candidates import training_pool
from archfit.study.limits import Limits
from archfit.study.run_folder import RunFolder
from archfit.study.workers import WorkerPool

pytestmark = pytest.mark.slow

SPACE = MnasSpace(skeleton=Skeleton(stem=8, filters=(8, 16), layers=(1, 1), strides=(1, 2), head=32))
DATA = load_data("digits")


class Notes(Silent):
    """Keeps what it is told; presses Ctrl-C when the best one is about to go on, if told so."""

    def __init__(self, *, interrupts: bool = False) -> None:
        self.notes: list[str] = []
        self.steps: list[str] = []
        self._interrupts = interrupts

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, text: str) -> None:
        self.steps.append(text)
        if self._interrupts and text.startswith("training 1 finalist "):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with training_pool(DATA.without_test(), 2) as workers:
        yield workers


def _trainings(run: RunFolder, pool: Any, watch: Notes, **limits: Any) -> FullTrainings:
    request = SearchRequest("digits", limits=Limits(**limits))
    return FullTrainings(run, request, request.limits, DATA, False, pool, "cpu", "channels_last", watch)


def _networks() -> dict[str, Callable[[], nn.Module]]:
    return {
        f"trial {number}": partial(SPACE.build, random_architecture(SPACE, random.Random(number)), DATA.task)
        for number in range(2)
    }


def _decided(path: Path) -> RunFolder:
    """As if the time had been limited, so that nothing hangs on this machine's speed."""
    run = RunFolder.create(path, {}, "0")
    names = ("trial 0", "trial 1")
    run.decide("stops", dict.fromkeys(names, 2))
    run.decide("final_epochs", dict.fromkeys(names, 6))
    return run


def test_the_best_by_then_goes_on_alone(tmp_path: Path, pool: WorkerPool) -> None:
    watch = Notes()
    trained = _trainings(_decided(tmp_path / "whole"), pool, watch).finalists(_networks())
    [kept] = [name for name, training in trained.items() if not training.stopped]
    [other] = [name for name, training in trained.items() if training.stopped]
    assert (trained[kept].epochs, trained[other].epochs) == (6, 2)
    assert [epoch for epoch, _, _ in trained[kept].curve] == [1, 2, 3, 4, 5, 6]
    assert [epoch for epoch, _, _ in trained[other].curve] == [1, 2]
    assert trained[kept].curve[1][2] >= trained[other].curve[1][2]
    [note] = watch.notes
    assert note.startswith(f"{kept} alone is trained to the end: ")
    assert f"; stopped: {other} " in note
    # Two workers: one for each finalist, then both for the one that is left.
    assert watch.steps == [
        "training 2 finalists for the first 2 of 6 epochs",
        "training 1 finalist for 6 epochs, each in 2 processes",
    ]

    # Ctrl-C between the two: what is trained already is read back, and nothing is chosen anew.
    run = _decided(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        _trainings(run, pool, Notes(interrupts=True)).finalists(_networks())
    watch = Notes()
    again = _trainings(run, pool, watch).finalists(_networks())
    assert watch.notes == []
    assert {name: training.stopped for name, training in again.items()} == {kept: False, other: True}
    for name, training in trained.items():
        assert again[name].curve == training.curve
        assert all(torch.equal(again[name].weights[key], value) for key, value in training.weights.items())


def test_the_next_one_goes_on_if_the_best_fails(
    tmp_path: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, tried = FullTrainings.train, []

    def fails_once(self: FullTrainings, title: str, networks: Any, *rest: Any, **others: Any) -> Any:
        if title == "finalist":
            tried.extend(networks)
            if len(tried) == 1:
                raise ArchfitError("it ran out of memory")
        return train(self, title, networks, *rest, **others)

    monkeypatch.setattr(FullTrainings, "train", fails_once)
    run = _decided(tmp_path / "run")
    trained = _trainings(run, pool, Notes()).finalists(_networks())
    assert set(tried) == {"trial 0", "trial 1"}
    assert {name: training.stopped for name, training in trained.items()} == {tried[1]: False}
    assert run.decision("kept") == tried[1]


def _broken() -> nn.Module:
    raise RuntimeError("it cannot be built")


def test_a_finalist_that_fails_every_time_does_not_keep_the_best_from_going_on(
    tmp_path: Path, pool: WorkerPool
) -> None:
    networks = _networks() | {"trial 1": _broken}
    run = _decided(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        _trainings(run, pool, Notes(interrupts=True)).finalists(networks)
    assert run.decision("kept") == "trial 0"
    trained = _trainings(run, pool, Notes()).finalists(networks)
    assert {name: training.stopped for name, training in trained.items()} == {"trial 0": False}
    all_broken = dict.fromkeys(networks, _broken)
    with pytest.raises(ArchfitError, match="it cannot be built"):
        _trainings(_decided(tmp_path / "broken"), pool, Notes()).finalists(all_broken)


@pytest.mark.parametrize(
    ("workers", "together", "seconds", "stops"),
    [
        # 1,000 s at 10 images/s of 1,259 or so: alone 0.3 of N at 10, then 0.7 of N at 20 images/s.
        (2, 20.0, 1000, True),
        # Together they are hardly faster: both are trained to the end.
        (2, 10.5, 1000, False),
        # One after the other in one worker: 2 x 0.3 + 0.7 in place of 2.
        (1, 10.0, 2000, True),
        # Too short for four epochs.
        (2, 20.0, 300, False),
    ],
)
def test_who_is_stopped(
    workers: int, together: float, seconds: float, stops: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = RunFolder.create(tmp_path / "run", {}, "0")
    # 12 s are kept for the deployment.
    trainings = _trainings(run, SimpleNamespace(size=workers), Notes(), seconds=seconds + 12.0)
    asked: list[int] = []

    def rates(self: FullTrainings, networks: Mapping[str, Any], processes: int, _: int) -> dict[str, float]:
        asked.append(processes)
        return dict.fromkeys(networks, 10.0 if processes == 1 else together)

    monkeypatch.setattr(FullTrainings, "_rates", rates)
    chosen, stopped = trainings._epochs(dict.fromkeys(("a", "b"), cast(Any, None)))
    images = len(DATA.train)
    plain = seconds * 10 / images / (1 if workers == 2 else 2)
    if stops:
        halved = (seconds - 5) / images / (0.3 * (1 if workers == 2 else 2) / 10 + 0.7 / together)
        assert chosen["a"] == pytest.approx(halved, abs=0.1)
        assert chosen["a"] > 1.15 * plain
        assert stopped == dict.fromkeys(("a", "b"), int(0.3 * chosen["a"]))
    else:
        assert stopped == {}
        assert chosen["a"] == pytest.approx(plain, abs=0.1)


def test_a_training_so_long_that_its_batches_are_larger_is_timed_with_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rates(self: FullTrainings, networks: Mapping[str, Any], processes: int, batch_size: int) -> dict[str, float]:
        return dict.fromkeys(networks, {64: 1_000.0, 128: 1_200.0}[batch_size])

    monkeypatch.setattr(FullTrainings, "_rates", rates)
    monkeypatch.setattr("archfit.training.recipes.batch_size_for", lambda images: 128 if images >= 1e5 else 64)
    for seconds, images in ((60, 60_000), (150, 180_000)):
        run = RunFolder.create(tmp_path / str(seconds), {}, "0")
        trainings = _trainings(run, SimpleNamespace(size=1), Notes(), seconds=seconds + 12.0)
        assert trainings._epochs({"a": cast(Any, None)})[0]["a"] == pytest.approx(images / len(DATA.train), abs=1)


def test_nobody_is_stopped_where_the_epochs_are_asked_for(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", {}, "0")
    trainings = _trainings(run, SimpleNamespace(size=2), Notes(), seconds=1000)
    trainings = replace(trainings, request=replace(trainings.request, final_epochs=9))
    assert trainings._epochs(dict.fromkeys(("a", "b"), cast(Any, None))) == ({"a": 9, "b": 9}, {})
