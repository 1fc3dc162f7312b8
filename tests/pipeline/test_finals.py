"""What comes after the finalists: networks that the winner is compared with."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from archfit.catalogue import build_named
from archfit.data import load_data
from archfit.errors import ArchfitError, DeviceError
from archfit.pipeline import SearchRequest, Silent
from archfit.pipeline.finals import Finals
from archfit.reward import absolute
from archfit.spaces import MnasSpace
from archfit.study.finalists import FullTraining

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
