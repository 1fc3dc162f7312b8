from __future__ import annotations

import torch
from torch import nn

from archfit.architecture import Task, from_indices
from archfit.cost import count_params
from archfit.spaces import MacroSpace
from archfit.testing.supernets import check_supernet

TASK = Task(channels=3, image_size=8, classes=5)


def test_conforms() -> None:
    check_supernet(MacroSpace(filters=4, depth=6), TASK, samples=6)


def test_odd_sizes_conform() -> None:
    check_supernet(MacroSpace(filters=4, depth=4, operations=("sep3", "avg3")), Task(1, 7, 2), samples=4)


def test_parameters_by_hand() -> None:
    # Of 2 filters. Stem 9*2 + 4 = 22. Operations: conv 3 and 5 8 + 36 + 4 = 48 and 8 + 100 + 4 = 112, sep 3 and 5
    # 8 + 18 + 8 = 34 and 8 + 50 + 8 = 66, pools 8 each: 276, in 3 layers 828. Batch norms after sums 2 * 4 = 8.
    # Reductions of stem and layer 1, then of these and layer 2: 5 * 8 = 40. Classifier 9.
    supernet = MacroSpace(filters=2, depth=3).supernet(Task(1, 8, 3))
    assert count_params(supernet) == 22 + 828 + 8 + 40 + 9


def test_a_step_touches_its_path_alone() -> None:
    space = MacroSpace(filters=4, depth=3, operations=("conv3", "max3"))
    supernet = space.supernet(TASK)
    # conv 3; max, no skip; conv 3 and the stem
    supernet(torch.randn(2, 3, 8, 8), from_indices(space, [0, *(1, 0), *(0, 1, 0)])).sum().backward()
    touched = {name.rsplit(".", 2)[0] for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert {name for name in touched if name.startswith("operations")} == {
        "operations.0.conv3", "operations.1.max3", "operations.2.conv3",
    }  # fmt: skip
    # The stem is wanted by layer 3 alone, and halved twice for it.
    assert {name for name in touched if name.startswith("reductions")} == {
        "reductions.1_0", "reductions.1_1", "reductions.2_0", "reductions.2_2",
    }  # fmt: skip


def test_cutting_draws_nothing_and_shares_nothing() -> None:
    space = MacroSpace(filters=4, depth=3)
    supernet = space.supernet(TASK)
    before = torch.get_rng_state()
    network = supernet.cut(from_indices(space, [0] * len(space.choices)))
    assert torch.equal(torch.get_rng_state(), before)
    nn.init.zeros_(network.classifier.weight)
    assert supernet.classifier.weight.any()
