from __future__ import annotations

import random

import pytest
import torch

from archfit.architecture import Architecture, Task, random_architecture
from archfit.spaces import CellSpace
from archfit.testing import check_supernet

TASK = Task(3, 8, 5)
SPACE = CellSpace(filters=4, cells=4, nodes=3)


@pytest.mark.parametrize(
    ("space", "task"),
    [
        (SPACE, TASK),
        (CellSpace(filters=4, cells=3, nodes=2), Task(1, 66, 2)),
        (CellSpace(filters=8, cells=3, nodes=2, operations=("identity", "sep7", "max3", "conv1x7"), stem="cells",
                   stem_filters=6, outputs=((1, 2), (2, 3)), last_relu=False), Task(1, 69, 2)),
    ],
)  # fmt: skip
def test_conforms(space: CellSpace, task: Task) -> None:
    check_supernet(space, task, samples=2)


def reads(first: int, second: int) -> Architecture:
    """Two cells of separable convolutions on the inputs alone; the second node of the normal one reads these."""
    ops, inputs = (("sep3", 0), ("sep3", 1)), (("sep3", first), ("sep3", second))
    return CellSpace(filters=4, cells=3, nodes=2).architecture((ops, inputs), (ops, ops))


def test_weights_belong_to_what_they_read() -> None:
    supernet = CellSpace(filters=4, cells=3, nodes=2).supernet(TASK)
    images = torch.randn(4, 3, 8, 8)

    def used(architecture: Architecture) -> set[str]:
        supernet.zero_grad(set_to_none=True)
        supernet(images, architecture).sum().backward()
        return {name for name, weight in supernet.named_parameters() if weight.grad is not None}

    zeros, ones = used(reads(0, 1)), used(reads(0, 2))
    node2 = {name.split(".")[3] for name in zeros ^ ones if name.startswith("cells.0.operations")}
    assert node2 == {"node2_2_sep3_of_1", "node2_2_sep3_of_2"}
    # The other weights are the same ones, but for the cells after the first, where they are of other loose ends.
    assert all(".operations." in name for name in zeros ^ ones)


def test_a_loose_end_has_a_slice_of_the_entries() -> None:
    supernet = CellSpace(filters=4, cells=3, nodes=2).supernet(TASK)
    images = torch.randn(4, 3, 8, 8)
    supernet(images, reads(0, 2)).sum().backward()  # node 1 is read: the normal cell's output is node 2
    gradient = supernet.cells[1].last.inner[0].weight.grad
    assert gradient.shape == (8, 2 * 4, 1, 1)
    assert float(gradient[:, :4].abs().max()) == 0
    assert float(gradient[:, 4:].abs().min()) > 0


def test_cutting_draws_no_random_numbers() -> None:
    supernet = SPACE.supernet(TASK)
    architecture = SPACE.canonical(random_architecture(SPACE, random.Random(0)), TASK)
    before = torch.random.get_rng_state()
    network = supernet.cut(architecture)
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        assert all(weight.any() for weight in supernet.parameters() if weight.dim() > 1)
