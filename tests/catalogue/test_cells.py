from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from archfit.architecture import Task
from archfit.catalogue import get_reference
from archfit.catalogue.cells import CELL_REFERENCES
from archfit.cost import count_madds, count_params
from archfit.spaces import CellSpace

IMAGENET = Task(3, 224, 1000)
CIFAR = Task(3, 32, 10)


def params(name: str, task: Task, **settings: object) -> int:
    """Of the reference with other settings of its space, counted without weights."""
    reference = get_reference(name)
    assert isinstance(reference.space, CellSpace)
    with torch.device("meta"):
        return count_params(replace(reference.space, **settings).build(reference.architecture, task))  # type: ignore[arg-type]


def test_parameters_of_public_implementations() -> None:
    # pytorchcv: nasnet_4a1056 and darts; timm: nasnetalarge and pnasnet5large, of 168 and 216 filters, 18 normal cells
    # and 12 cells. quark0/darts at 36 filters and 20 layers without its auxiliary head: 3,349,342.
    assert params("nasnet-a", IMAGENET) == 5_289_978
    assert params("darts", IMAGENET) == 4_718_752
    assert params("nasnet-a", IMAGENET, filters=168, cells=20, stem_filters=96) == 88_753_150
    assert params("pnasnet-5", IMAGENET, filters=216, cells=12, stem_filters=96) == 86_057_668
    assert params("darts", CIFAR, filters=36, cells=20) == 3_349_342


def test_parameters_of_the_others() -> None:
    # Published with two digits: 5.1 M, 5.1 M; ENAS's note says why it has not the 4.6 M of the paper.
    assert params("amoebanet-a", IMAGENET) == 5_086_930
    assert params("pnasnet-5", IMAGENET) == 5_064_487
    assert params("enas-cifar", CIFAR) == 3_729_430


def test_darts_has_the_multiply_adds_that_its_note_says() -> None:
    assert count_madds(get_reference("darts").build(IMAGENET), IMAGENET) == pytest.approx(530e6, rel=0.001)


def test_darts_equals_pytorchcvs() -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    theirs, ours = provider.get_model("darts"), get_reference("darts").build(IMAGENET)
    torch.manual_seed(0)
    with torch.no_grad():
        for value in theirs.state_dict().values():
            if value.dim() == 1:
                value.uniform_(0.5, 1.5)
    mine, other = ([value for value in network.state_dict().values() if value.dim() > 0] for network in (ours, theirs))
    assert [value.shape for value in mine] == [value.shape for value in other]
    with torch.no_grad():
        for value, given in zip(mine, other, strict=True):
            value.copy_(given)
        images = torch.randn(2, 3, 224, 224)
        expected, logits = theirs.eval()(images), ours.eval()(images)
    assert expected.std() > 1e-2
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("reference", CELL_REFERENCES, ids=lambda reference: reference.name)
def test_what_a_reference_says_of_itself(reference: object) -> None:
    assert get_reference(reference.name) is reference  # type: ignore[attr-defined]
    assert reference.family  # type: ignore[attr-defined]
    searched = reference.space == CellSpace(reference.space.filters, reference.space.cells)  # type: ignore[attr-defined]
    assert searched == (not reference.extension)  # type: ignore[attr-defined]


def test_no_cell_of_a_reference_has_a_part_that_nothing_reads() -> None:
    for reference in CELL_REFERENCES:
        network = reference.build(Task(1, 66, 2)).train()
        network(torch.randn(4, 1, 66, 66)).sum().backward()
        assert all(weight.grad is not None for weight in network.parameters())
        assert not any(isinstance(module, nn.Dropout) for module in network.modules())
