"""What comes after the finalists: networks that the winner is compared with."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from archfit.architecture import random_architecture
from archfit.catalogue import build_named
from archfit.cost import Cost
from archfit.data import load_data
from archfit.errors import ArchfitError, DeviceError
from archfit.pipeline import SearchRequest, Silent
from archfit.pipeline.finals import Finals
from archfit.reward import absolute
from archfit.spaces import MnasSpace
from archfit.study.finalists import FullTraining
from archfit.study.limits import Limits
from archfit.study.record import TrialRecord
from archfit.study.run_folder import RunFolder

DATA = load_data("digits")
NAME = "mnasnet-small"


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Trainings:
    """Stands in for trainings in full: they give the weights that a network begins with, or fail."""

    memory_format = "channels_last"

    def __init__(self, failure: str | None = None) -> None:
        self.failure = failure

    def train(self, title: str, networks: dict[str, Any], epochs: dict[str, float]) -> dict[str, FullTraining]:
        if self.failure is not None:
            raise ArchfitError(self.failure)
        torch.manual_seed(0)
        return {
            name: FullTraining(name, build_named(name, DATA.task).state_dict(), ((1, 1.0, 0.5),), epochs[name], 1.0)
            for name in networks
        }


class Meter:
    """Stands in for a device that cannot export a network."""

    def exported(self, network: nn.Module) -> None:
        raise DeviceError("it cannot be exported")


class Again:
    """Stands in for a device on which everything is as it was at first."""

    def again(self, space: Any, architecture: Any) -> Cost:
        return Cost(params=1, madds=1)


# 269 validation images: four standard errors of 0.9 are 0.073.
@pytest.mark.parametrize(
    ("limits", "final_epochs", "rungs", "accuracies", "chosen"),
    [
        (Limits(seconds=60), None, (1, 1, 1), (0.9, 0.83, 0.7), [0, 1]),
        (Limits(seconds=60), None, (1, 1, 1), (0.9, 0.8, 0.7), [0]),
        (Limits(), None, (1, 1, 1), (0.9, 0.8, 0.7), [0]),  # which is half an hour
        (Limits(seconds=60), None, (1, 0, 0), (0.9, 0.8, 0.7), [0, 1]),  # trained less long, which says little
        (Limits(seconds=60), 2, (1, 1, 1), (0.9, 0.8, 0.7), [0, 1]),
        (Limits(trials=3), None, (1, 1, 1), (0.9, 0.8, 0.7), [0, 1]),
    ],
)
def test_the_best_gives_no_time_to_what_is_far_behind(
    tmp_path: Path,
    limits: Limits,
    final_epochs: int | None,
    rungs: tuple[int, ...],
    accuracies: tuple[float, ...],
    chosen: list[int],
) -> None:
    assert len(DATA.validation) == 269
    space, watch, rng = MnasSpace(width=0.18), Notes(), random.Random(0)
    trials = [
        TrialRecord(
            number=number,
            state="complete",
            architecture=space.canonical(random_architecture(space, rng), DATA.task),
            origin="random",
            cost=Cost(params=1, madds=1),
            accuracy=accuracy,
            reward=accuracy,
            within_budget=True,
            rung=rung,
        )
        for number, (rung, accuracy) in enumerate(zip(rungs, accuracies, strict=True))
    ]
    request = SearchRequest("digits", limits=limits, final_epochs=final_epochs)
    run = RunFolder.create(tmp_path / "run", request.to_json(), "0")
    meter, training = cast(Any, Again()), cast(Any, Trainings())
    finals = Finals(run, request, DATA, space, absolute, meter, training, watch)
    assert [trial.number for trial in finals.choose(trials)] == chosen
    said = (
        "1 finalist, not 2: after equally long trainings the others are behind by over 4 standard errors (trial 1 has"
    )
    assert [note.startswith(said) for note in watch.notes] == [True] * (len(chosen) == 1)
    run.close()


@pytest.mark.parametrize(
    ("trainings", "note"),
    [
        (Trainings("it diverged"), "the winner stands without references: it diverged"),
        (Trainings(), f"{NAME} could not be measured: it cannot be exported"),
    ],
)
def test_a_reference_that_fails_does_not_withhold_the_winner(trainings: Trainings, note: str) -> None:
    watch = Notes()
    request = SearchRequest("digits", references=(NAME,))
    run, meter, training = cast(Any, None), cast(Any, Meter()), cast(Any, trainings)
    finals = Finals(run, request, DATA, MnasSpace(width=0.18), absolute, meter, training, watch)
    assert finals.references(2.0) == []
    assert watch.notes == [note]
