from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfit.cost import count_params
from archfit.nn.macro import OPERATIONS, LayerSpec, Network, Reduction, last_output, operation, reduced_after, stem


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv3", 176),  # 1x1 4*4, batch norm 8; 9*4*4 = 144, 8
        ("conv5", 432),  # 24; 25*4*4 = 400, 8
        ("sep3", 84),  # 24; depthwise 9*4 = 36, 1x1 16, batch norm 8
        ("sep5", 148),  # 24; 25*4 = 100, 16, 8
        ("avg3", 24),
        ("max3", 24),
    ],
)
def test_parameters_of_an_operation_by_hand(name: str, expected: int) -> None:
    assert count_params(operation(name, 4)) == expected


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_the_shape(name: str) -> None:
    assert operation(name, 4)(torch.randn(2, 4, 5, 3)).shape == (2, 4, 5, 3)


def test_pools_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    # Every 3x3 window sees all four pixels and no padding: mean 3, maximum 6.
    assert operation("avg3", 1)[-1](x).unique().tolist() == [3]
    assert operation("max3", 1)[-1](x).unique().tolist() == [6]


def test_stem_halves_once_per_stride_of_two() -> None:
    assert stem(3, 4, (1,))(torch.randn(2, 3, 9, 9)).shape == (2, 4, 9, 9)
    assert stem(3, 4, (2, 2))(torch.randn(2, 3, 9, 9)).shape == (2, 4, 3, 3)


def test_reduction_by_hand() -> None:
    reduction = Reduction(2).eval()
    assert count_params(reduction) == 2 + 2 + 4  # 1x1 from 2 to 1, twice; batch norm
    nn.init.ones_(reduction.even.weight)
    nn.init.ones_(reduction.odd.weight)
    first = torch.arange(16.0).view(1, 1, 4, 4)
    image = torch.cat([first, torch.zeros_like(first)], 1)
    even, odd = reduction(image)[0]
    # Rows and columns 0 and 2; rows and columns 1 and 3.
    assert even.flatten().tolist() == pytest.approx([0, 2, 8, 10], rel=1e-4)
    assert odd.flatten().tolist() == pytest.approx([5, 7, 13, 15], rel=1e-4)
    even, odd = reduction(image[:, :, :3, :3])[0]
    # Rows and columns 0 and 2; only row 1 and column 1 are left of the odd ones, beyond the image there are zeros.
    assert even.flatten().tolist() == pytest.approx([0, 2, 8, 10], rel=1e-4)
    assert odd.flatten().tolist() == pytest.approx([5, 0, 0, 0], rel=1e-4)


def test_only_what_is_read_later_is_reduced() -> None:
    plain = [LayerSpec("avg3", ())] * 6
    assert reduced_after(plain) == {2: (2,), 4: (4,)}
    # Layer 4 reads output 1, layer 5 output 0, layer 6 outputs 2 and 4.
    skipping = [*plain[:3], LayerSpec("avg3", (1,)), LayerSpec("avg3", (0,)), LayerSpec("avg3", (2, 4))]
    assert reduced_after(skipping) == {2: (0, 1, 2), 4: (0, 2, 4)}


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_layers_by_hand() -> None:
    layers = [LayerSpec("avg3", ()), LayerSpec("avg3", (0,)), LayerSpec("avg3", (0, 1))]
    reductions = nn.ModuleDict({name: Times(10) for name in ("1_0", "1_1", "2_0", "2_1", "2_2")})
    # Stem 1. Layer 1: 2 * 1 = 2. All times 10: 10, 20. Layer 2: 3 * 20 + 10 = 70, norm 700. All times 10: 100, 200,
    # 7000. Layer 3: 4 * 7000 + 100 + 200 = 28300, norm 283000.
    x = last_output(torch.ones(1), layers, [Times(2), Times(3), Times(4)], [Times(10), Times(10)], reductions)
    assert x.tolist() == [283_000]


def test_resolution_halves_after_a_third_and_two_thirds() -> None:
    layers = [("avg3", tuple(range(layer - 1))) for layer in range(1, 8)]
    network = Network(channels=1, classes=3, filters=4, stem_strides=(1,), layers=layers)
    sizes: list[tuple[int, ...]] = []
    for each in network.operations:
        each.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape[2:])))
    network(torch.randn(2, 1, 9, 8))
    # 7 layers: 7 // 3 = 2, so after layers 2 and 4
    assert sizes == [(9, 8), (9, 8), (5, 4), (5, 4), (3, 2), (3, 2), (3, 2)]


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    layers = [(name, tuple(range(layer - 1))) for layer, name in enumerate(OPERATIONS, 1)]
    network = Network(channels=3, classes=2, filters=4, stem_strides=(2, 1), layers=layers)
    network(torch.randn(4, 3, 16, 16)).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert without == []


def test_dropout_is_of_the_features_in_training_alone() -> None:
    layers = [("avg3", ())] * 3
    network = Network(channels=1, classes=2, filters=4, stem_strides=(1,), layers=layers, dropout=0.5)
    nn.init.ones_(network.classifier.weight)
    images = torch.randn(64, 1, 4, 4)
    with torch.no_grad():
        assert not torch.equal(network(images), network(images))
        assert torch.equal(network.eval()(images), network(images))
