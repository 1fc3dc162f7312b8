from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from archfit.cost import count_params
from archfit.nn.cell_operations import OPERATIONS, FactorisedReduction, operation, reads_plain


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("size", "stride", "inputs"), [(8, 1, 6), (8, 2, 6), (7, 2, 6), (8, 1, 4)])
def test_shapes(name: str, size: int, stride: int, inputs: int) -> None:
    module = operation(name, inputs, 6, stride, 1e-5)
    after = -(-size // stride)
    assert module(torch.randn(2, inputs, size, size)).shape == (2, 6, after, after)


@pytest.mark.parametrize(
    ("name", "inputs", "stride", "params"),
    [
        # twice: depthwise 3 * 3 * 8, 1x1 8 * 8, batch norm 2 * 8
        ("sep3", 8, 1, 2 * (72 + 64 + 16)),
        # once from 4 channels: 25 * 4 + 4 * 8 + 16, then 25 * 8 + 64 + 16
        ("sep5", 4, 2, 148 + 280),
        ("dil5", 8, 1, 200 + 64 + 16),
        ("conv3", 8, 1, 9 * 64 + 16),
        # to 2 filters (16 + 4), 1x7 (28 + 4), 7x1 (28 + 4), back (16 + 16)
        ("conv1x7", 8, 2, 20 + 32 + 32 + 32),
        ("max3", 8, 2, 0),
        # a pool that changes the channels: 4 * 8 + 16
        ("avg3", 4, 2, 48),
        ("identity", 8, 1, 0),
        # two halves of 8 * 4, batch norm 16
        ("identity", 8, 2, 80),
    ],
)
def test_parameters(name: str, inputs: int, stride: int, params: int) -> None:
    assert count_params(operation(name, inputs, 8, stride, 1e-5)) == params


def test_what_has_weights_leaves_its_first_relu_to_the_cell() -> None:
    plain = {name for name in OPERATIONS if reads_plain(operation(name, 4, 4, 1, 1e-5))}
    assert plain == {"identity", "avg3", "max3"}
    assert not reads_plain(operation("identity", 4, 4, 2, 1e-5))


def test_pools_leave_the_padding_out() -> None:
    x = torch.full((1, 1, 3, 3), -2.0)
    for name in ("avg3", "max3"):
        assert torch.equal(operation(name, 1, 1, 1, 1e-5)(x), x)


def test_a_factorised_reduction_sees_even_and_odd_pixels() -> None:
    module = FactorisedReduction(1, 2, 0.0).eval()
    with torch.no_grad():
        module.even.weight.fill_(1.0)
        module.odd.weight.fill_(1.0)
        out = module(torch.arange(9.0).reshape(1, 1, 3, 3))
    # Of 0 1 2 / 3 4 5 / 6 7 8: pixels (0, 0), (0, 2), (2, 0), (2, 2); then (1, 1) and beyond the border
    assert out.tolist() == [[[[0, 2], [6, 8]], [[4, 0], [0, 0]]]]


def test_a_dilated_convolution_reaches_further() -> None:
    module = operation("dil3", 1, 1, 1, 1e-5).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(1.0)
        module[2].bias.zero_()
        point = F.pad(torch.ones(1, 1, 1, 1), (3, 3, 3, 3))
        reached = torch.nonzero(module(point)[0, 0]).tolist()
    assert reached == [[y, x] for y in (1, 3, 5) for x in (1, 3, 5)]
