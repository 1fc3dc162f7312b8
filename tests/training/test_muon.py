from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archfit.training.muon import Muon, orthogonal_weights, orthogonalised


def _matrix(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("rows", "columns"), [(8, 40), (40, 8), (16, 16), (1, 9)])
def test_every_direction_counts_alike(rows: int, columns: int) -> None:
    matrix = _matrix(rows, columns)
    result = orthogonalised(matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = torch.diagonal(left.T @ result @ right.T)
    assert result.shape == matrix.shape
    kept = values > 0.01 * values.norm()
    assert found[kept].min() > 0.73
    assert found.max() < 1.27
    assert torch.allclose(left @ torch.diag(found) @ right, result, atol=1e-4)


def test_the_scale_of_a_gradient_makes_no_difference() -> None:
    matrix = _matrix(4, 6)
    assert torch.allclose(orthogonalised(matrix), orthogonalised(1000 * matrix), atol=1e-4)
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_plain_groups_are_nesterov_sgd() -> None:
    ours, theirs = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([1.0, -2.0]))
    muon = Muon([{"params": [ours], "lr": 0.1, "weight_decay": 0.01}], momentum=0.9)
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    for step in range(4):
        for weight, optimiser in ((ours, muon), (theirs, sgd)):
            optimiser.zero_grad()
            (weight**2 * (step + 1)).sum().backward()
            optimiser.step()
    assert torch.allclose(ours, theirs)


def test_a_step_of_a_filter_by_hand() -> None:
    # A 2x1 filter of gradient (3, 4): one direction, so U V^T = (0.6, 0.8) whatever its length. sqrt(out / in) is
    # sqrt(2); the weight first shrinks by lr * weight_decay = 0.1 * 0.5.
    weight = nn.Parameter(torch.tensor([[[[1.0]]], [[[2.0]]]]))
    weight.grad = torch.tensor([[[[3.0]]], [[[4.0]]]])
    Muon([{"params": [weight], "lr": 0.1, "weight_decay": 0.5, "orthogonal": True}]).step()
    unit = float(orthogonalised(torch.tensor([[1.0]])))
    assert unit == pytest.approx(1.0, abs=0.27)
    step = 0.1 * math.sqrt(2) * unit
    assert weight.flatten().tolist() == pytest.approx([0.95 - 0.6 * step, 1.9 - 0.8 * step], abs=1e-5)


def test_a_resumed_optimiser_goes_on_as_it_was() -> None:
    def run(stop: int | None) -> Tensor:
        weight = nn.Parameter(_matrix(3, 4))
        optimiser = Muon([{"params": [weight], "lr": 0.1, "orthogonal": True}])
        for step in range(4):
            if step == stop:
                state = optimiser.state_dict()
                optimiser = Muon([{"params": [weight], "lr": 0.1, "orthogonal": True}])
                optimiser.load_state_dict(state)
            optimiser.zero_grad()
            (weight - step).pow(3).sum().backward()
            optimiser.step()
        return weight.detach()

    assert torch.equal(run(None), run(2))


def test_which_weights_are_orthogonalised() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),  # sees the image
        nn.Conv2d(8, 8, 3, groups=8, bias=False),  # depthwise
        nn.Conv2d(8, 16, 1, bias=False),
        nn.Conv2d(16, 2, 1),  # as in squeeze-and-excitation
        nn.Conv2d(2, 4, 3, bias=False),
        nn.Linear(4, 2),
    )
    chosen = {id(weight) for weight in orthogonal_weights(network)}
    assert [name for name, p in network.named_parameters() if id(p) in chosen] == ["2.weight", "4.weight"]
