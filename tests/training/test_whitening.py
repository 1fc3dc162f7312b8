from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from archfit.data import Batches, MemorySplit
from archfit.training.whitening import whiten_first_convolution


def _batches(channels: int) -> Batches:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, channels, 12, 12), generator=generator).float()
    images = functional.avg_pool2d(images, 3, 1, 1).to(torch.uint8)  # neighbours are alike, as in pictures
    labels = torch.zeros(64, dtype=torch.int64)
    return Batches(MemorySplit(images, labels), (0.5,) * channels, (0.1,) * channels, 16)


def test_filters_answer_independently_and_in_pairs() -> None:
    network = nn.Sequential(nn.Conv2d(1, 18, 3, bias=False), nn.ReLU(), nn.Conv2d(18, 4, 3))
    before = network[2].weight.clone()
    batches = _batches(1)
    whiten_first_convolution(network, batches)
    filters = network[0].weight.detach()
    assert torch.equal(filters[1::2], -filters[::2])
    images = torch.cat([images for images, _ in batches])
    answers = functional.conv2d(images, filters[::2], stride=2).transpose(0, 1).flatten(1)
    moments = answers @ answers.T / answers.shape[1]
    # Unit variance but for the damping of weak components, the strongest first, none correlated with another.
    assert torch.all(moments.diagonal() <= 1.01)
    assert moments[0, 0] > 0.95
    assert torch.all(moments.diagonal()[:-1] >= moments.diagonal()[1:] - 0.01)
    assert (moments - torch.diag(moments.diagonal())).abs().max() < 0.01
    assert torch.equal(network[2].weight, before)


def test_filters_beyond_the_components_stay_random() -> None:
    network = nn.Conv2d(1, 30, 3)
    before = network.weight.detach().clone()
    whiten_first_convolution(network, _batches(1))
    assert torch.equal(network.weight[18:], before[18:])  # 9 components, two signs
    assert not torch.equal(network.weight[:18], before[:18])


def test_fewer_filters_keep_the_strongest() -> None:
    many, few = nn.Conv2d(3, 54, 3), nn.Conv2d(3, 5, 3)
    for network in (many, few):
        whiten_first_convolution(network, _batches(3))
    assert torch.equal(few.weight, many.weight[:5])


def test_networks_without_a_full_first_convolution_are_left_alone() -> None:
    grouped = nn.Conv2d(3, 6, 3, groups=3)
    before = grouped.weight.detach().clone()
    whiten_first_convolution(grouped, _batches(3))
    whiten_first_convolution(nn.Linear(4, 2), _batches(3))
    assert torch.equal(grouped.weight, before)
