from __future__ import annotations

import random

import torch
from torch import nn

from archfit.architecture import Task, random_architecture
from archfit.nn.folding import folded
from archfit.spaces import MnasSpace


def test_outputs_stay_and_batch_norms_go() -> None:
    space, task = MnasSpace(0.25), Task(channels=3, image_size=32, classes=5)
    network = space.build(random_architecture(space, random.Random(0)), task)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    network.train()
    quick = folded(network)
    assert network.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    images = torch.randn(2, 3, 32, 32)
    expected = network.eval()(images)
    assert torch.allclose(quick(images), expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))


def test_what_does_not_follow_a_convolution_is_kept() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.BatchNorm2d(3))
    kinds = [type(module) for module in folded(network)]
    assert kinds == [nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
