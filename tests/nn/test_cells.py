from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archfit.cost import count_params
from archfit.nn.cells import Cell, CellNetwork, CellSpec, Place, places, without

CHAIN = ((("sep3", 0), ("avg3", 1)), (("identity", 2), ("max3", 2)))
NORMAL = ((("sep3", 0), ("identity", 1)), (("sep5", 2), ("max3", 0)))
REDUCTION = ((("max3", 0), ("sep3", 1)), (("identity", 1), ("conv1", 2)))
SMALL = {
    "channels": 3,
    "classes": 4,
    "stem": "small",
    "stem_filters": 9,
    "filters": 4,
    "cells": 5,
    "normal": NORMAL,
    "normal_outputs": (3,),
    "reduction": REDUCTION,
    "reduction_outputs": (2, 3),
}


def plainly(cell: Cell, before: Tensor, last: Tensor) -> Tensor:
    """The cell as NASNet writes it: a ReLU of its own before every convolution, nothing in place.

    But for the one before what reads the cell's output, which is the cell's here.
    """
    assert cell.before is not None
    assert cell.last is not None
    states = [cell.before(F.relu(before)), cell.last(F.relu(last))]
    operations = iter(cell.operations)
    for node in cell.spec.nodes:
        terms = []
        for name, state in node:
            plain = name in ("avg3", "max3") or (name == "identity" and not (cell.place.reduces and state < 2))
            terms.append(next(operations)(states[state] if plain else F.relu(states[state])))
        states.append(terms[0] + terms[1])
    joined = torch.cat([states[state] for state in cell.spec.outputs], 1)
    return F.relu(joined) if cell.place.active else joined


@pytest.mark.parametrize("outputs", [(3,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("nodes", [CHAIN, NORMAL, REDUCTION])
@pytest.mark.parametrize("active", [False, True])
def test_a_cell_is_what_the_paper_says(nodes: tuple, outputs: tuple[int, ...], active: bool) -> None:  # type: ignore[type-arg]
    torch.manual_seed(0)
    cell = Cell(CellSpec(nodes, outputs), Place(False, 4, shrink=True, active=active), before=3, last=5, eps=1e-5)
    before, last = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)
    expected = plainly(copy.deepcopy(cell), before, last)
    found = cell(F.relu(before), F.relu(last))
    torch.testing.assert_close(found, expected)


def test_gradients_survive_what_is_done_in_place() -> None:
    torch.manual_seed(0)
    ours = Cell(CellSpec(NORMAL, (2, 3)), Place(False, 4), before=3, last=5, eps=1e-5)
    theirs = copy.deepcopy(ours)
    before, last = torch.randn(2, 3, 6, 6).relu(), torch.randn(2, 5, 6, 6).relu()
    ours(before, last).sin().sum().backward()
    plainly(theirs, before, last).sin().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_an_input_that_nothing_reads_is_left_out() -> None:
    only_last = ((("sep3", 1), ("avg3", 1)),)
    cell = Cell(CellSpec(only_last, (2,)), Place(False, 4), before=3, last=5, eps=1e-5)
    assert cell.before is None
    # 1x1 from 5: 20 + 8; sep3: 2 * (36 + 16 + 8)
    assert count_params(cell) == 28 + 120
    with_it = Cell(CellSpec(only_last, (0, 2)), Place(False, 4), before=3, last=5, eps=1e-5)
    assert count_params(with_it) == 28 + 120 + 12 + 8


def test_reductions_stand_at_a_third_and_two_thirds() -> None:
    # ENAS's and DARTS's networks on CIFAR-10: 15 and 18 normal cells, reductions between equal thirds of them.
    for cells, reductions in ((17, [5, 11]), (20, [6, 13]), (3, [1, 2])):
        plan = places("small", 36, cells, last_relu=True)
        assert [number for number, place in enumerate(plan) if place.reduces] == reductions
        assert [place.filters for place in plan].count(144) == cells - reductions[1]
        assert [number for number, place in enumerate(plan) if place.shrink] == [
            at + 1 for at in reductions if at + 1 < cells
        ]
    # NASNet-A mobile: 12 normal cells, two reductions, two more in the stem at 44 / 4 and 44 / 2 filters.
    plan = places("cells", 44, 14, last_relu=True)
    assert [(place.filters, place.reduces) for place in plan[:3]] == [(11, True), (22, True), (44, False)]
    assert [number for number, place in enumerate(plan) if place.reduces] == [0, 1, 6, 11]
    assert [place.bare for place in plan] == [True] + [False] * 15


@pytest.mark.parametrize(
    ("stem", "size", "last"), [("small", 8, 2), ("small", 9, 3), ("strided", 64, 2), ("cells", 65, 2)]
)
def test_networks_run(stem: str, size: int, last: int) -> None:
    network = CellNetwork(**{**SMALL, "stem": stem, "filters": 8})
    shapes = []
    network.cells[-1].register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[2:])))
    assert network(torch.randn(2, 3, size, size)).shape == (2, 4)
    assert shapes == [(last, last)]


def test_auxiliary_logits_come_from_after_the_second_reduction() -> None:
    torch.manual_seed(0)
    network = CellNetwork(**SMALL)
    head = network.auxiliary()
    images = torch.randn(3, 3, 16, 16)
    before = count_params(network)
    logits, helping = network.train().with_auxiliary(images, head)
    assert logits.shape == helping.shape == (3, 4)
    assert count_params(network) == before
    # Cell 4 of 5 is the second reduction, of 4 * 4 filters and two outputs.
    assert head.features[1].in_channels == 32
    helping.sum().backward()
    reached = [any(p.grad is not None for p in cell.parameters()) for cell in network.cells]
    assert reached == [True, True, True, True, False]
    with torch.no_grad():
        network.eval()
        torch.testing.assert_close(network(images), network.with_auxiliary(images, head.eval())[0])


def test_drop_path_acts_while_training_alone() -> None:
    torch.manual_seed(0)
    network = CellNetwork(**SMALL).train()
    images = torch.randn(3, 3, 16, 16)
    network.drop_path = 0.5
    first, second = network(images), network(images)
    assert not torch.allclose(first, second)
    network.eval()
    assert torch.equal(network(images), network(images))


def test_drop_path_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = without(torch.ones(10_000, 1, 1, 1), 0.2)
    assert set(dropped.flatten().tolist()) == {0.0, 1.25}
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)  # standard error 0.005
    assert without(dropped, 0.0) is dropped
