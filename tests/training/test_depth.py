from __future__ import annotations

import pytest
import torch
from torch import nn

from archfit.training.depth import rate_factors, stages
from archfit.training.unfreezing import GradualUnfreezing


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))


def test_parts_are_quarters_and_the_classifier() -> None:
    network = _network()
    parts = stages(network)
    # 8 modules with weights: two in each quarter.
    assert [[network.get_submodule(str(i)) for i in pair] for pair in ((0, 1), (3, 4), (6, 7), (9, 10))] == parts[:4]
    assert parts[4] == [network[14]]


def test_rates_fall_with_the_distance_from_the_classifier() -> None:
    network = _network()
    factors = rate_factors(network, 0.5)
    found = {name: factors[id(weight)] for name, weight in network.named_parameters()}
    assert found["14.weight"] == found["14.bias"] == 1
    assert (found["9.weight"], found["6.weight"], found["4.bias"], found["0.weight"]) == (0.5, 0.25, 0.125, 0.0625)
    assert len(found) == len(factors)


@pytest.mark.parametrize(("step", "opened"), [(0, 0), (24, 0), (25, 1), (50, 2), (75, 3), (99, 3), (100, 4), (500, 4)])
def test_layers_open_from_the_classifier_down(step: int, opened: int) -> None:
    network = _network().train()
    GradualUnfreezing(network, 100).apply(step)
    for position, (convolution, norm) in enumerate(((0, 1), (3, 4), (6, 7), (9, 10))):
        is_open = position >= 4 - opened
        assert network[convolution].weight.requires_grad == is_open
        assert network[norm].weight.requires_grad == network[norm].training == is_open
    assert network[14].weight.requires_grad


def test_a_closed_part_does_not_change() -> None:
    network = _network().train()
    GradualUnfreezing(network, 100).apply(25)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        network(torch.randn(4, 2, 3, 3)).square().sum().backward()
        optimiser.step()
    changed = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"9", "10", "14"}
