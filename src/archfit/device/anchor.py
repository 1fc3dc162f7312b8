"""The anchor: the fixed network timed between candidates to cancel the machine's drift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archfit.architecture import Task

ANCHOR_TASK = Task(channels=3, image_size=32, classes=10)

ANCHOR_VERSION = 1
"""Part of the key of a stored reference: raise it with any change of the network below."""


def anchor_network() -> nn.Module:
    """A small inverted-residual network with the same weights on every call, in eval mode.

    It has to suffer from a busy neighbour as candidates do, so it has their layers and, with 2 MB of weights, their
    share of the caches: an anchor of 0.4 MB kept its speed in the second-level cache while a candidate lost 40 %.

    Returns:
        `(N, 3, 32, 32)` float in, `(N, 10)` logits out; about 0.2 ms on one desktop core.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = nn.Sequential(
            _convolution(3, 16, kernel=3, stride=1),
            _InvertedResidual(16, 16, kernel=3, stride=2, expansion=3),
            _InvertedResidual(16, 32, kernel=5, stride=2, expansion=3),
            _InvertedResidual(32, 48, kernel=3, stride=1, expansion=4),
            _InvertedResidual(48, 80, kernel=3, stride=2, expansion=6),
            _InvertedResidual(80, 80, kernel=5, stride=1, expansion=6),
            _InvertedResidual(80, 160, kernel=3, stride=1, expansion=6),
            _convolution(160, 1280, kernel=1, stride=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(1280, 10),
        )
    return network.eval()


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _InvertedResidual(nn.Module):
    """Expand, depthwise, squeeze and excite, project; added to its input where the shapes match."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _convolution(inputs, hidden, kernel=1, stride=1)
        self.depthwise = _convolution(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.squeeze = nn.Conv2d(hidden, max(4, inputs // 4), 1)
        self.excite = nn.Conv2d(max(4, inputs // 4), hidden, 1)
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.depthwise(self.expand(images))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(hidden.mean((2, 3), keepdim=True)))))
        output: Tensor = self.project(hidden * gate)
        return images + output if self.residual else output
