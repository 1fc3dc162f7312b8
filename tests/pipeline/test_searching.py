"""What a search delivers."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from archfit.architecture import random_architecture
from archfit.cost import Budget, Cost
from archfit.data import load_data
from archfit.pipeline import SearchRequest, Silent
from archfit.pipeline.plan import Objects
from archfit.pipeline.searching import SearchRun
from archfit.report.record import TrainedNetwork
from archfit.spaces import MnasSpace
from archfit.study.run_folder import RunFolder


class Meter:
    """Stands in for a device: every file has twice the multiply-adds that the budget allows."""

    def file(self, path: Path, network: nn.Module) -> Cost:
        assert path.is_file()
        return Cost(params=1, madds=2)


def test_a_network_that_was_stopped_early_is_not_delivered_even_if_no_other_holds_the_budget(tmp_path: Path) -> None:
    data, space = load_data("digits"), MnasSpace(width=0.18)
    architecture = space.canonical(random_architecture(space, random.Random(0)), data.task)
    torch.manual_seed(0)
    network = space.build(architecture, data.task).eval()
    finalist = TrainedNetwork(
        "trial 0", "finalist", architecture, Cost(1, 2), False, 0.9, None, 9.0, 1.0, ((1, 1.0, 0.9),)
    )
    stopped = replace(finalist, name="trial 1", role="stopped", within_budget=True)
    run = RunFolder.create(tmp_path / "run", {}, "0")
    search = SearchRun(run, SearchRequest("digits", budget=Budget(madds=1)), data, Objects(), Silent())
    row, delivered, cost = search._written(space, [(finalist, network), (stopped, network)], cast(Any, Meter()))
    assert (row.name, delivered, cost.madds) == ("trial 0", network, 2)
