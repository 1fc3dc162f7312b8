"""The layers of the mnas space and the network made of them, in plain PyTorch.

This file imports torch alone: its text becomes part of the stand-alone `network.py` that goes out with a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish}
EXPANSIONS = {"dconv": 1, "mbconv3": 3, "mbconv6": 6}


class LayerSpec(NamedTuple):
    """One layer of the network.

    Attributes:
        op: "conv" (kernel x kernel), "dconv" (depthwise, then 1x1), or "mbconv3" and "mbconv6" (1x1 expansion,
            depthwise, 1x1 projection).
        kernel: Height and width of the spatial convolution.
        stride: Of the spatial convolution.
        se: Channels inside squeeze-and-excitation over the layer's input channels; 0 for none.
        skip: "none", "identity" (stride 1 and equal channels only) or "pool" (3x3 average).
        filters: Output channels.
    """

    op: str
    kernel: int
    stride: int
    se: float
    skip: str
    filters: int


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from the image's channel means (arXiv:1709.01507)."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` in and out."""
        gate = F.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.expand(gate))


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: str | None = None
) -> list[nn.Module]:
    """Convolution padded to ceil(size / stride), batch norm and, unless None, an activation."""
    modules: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if activation is not None:
        modules.append(ACTIVATIONS[activation](inplace=True))
    return modules


class Layer(nn.Module):
    """One `LayerSpec` on `inputs` channels: `(N, inputs, H, W)` to `(N, filters, ceil(H / stride), ...)`."""

    def __init__(self, inputs: int, spec: LayerSpec, activation: str) -> None:
        super().__init__()
        if spec.skip == "identity" and (spec.stride != 1 or spec.filters != inputs):
            raise ValueError(f"identity skip needs stride 1 and {inputs} filters; {spec} has neither or one of them")
        self.skip, self.stride, self.filters = spec.skip, spec.stride, spec.filters
        self.missing = spec.filters - inputs
        reduced = max(1, round(inputs * spec.se)) if spec.se else 0
        if spec.op == "conv":
            body = convolution(inputs, spec.filters, spec.kernel, stride=spec.stride, activation=activation)
            if reduced:
                body.append(SqueezeExcite(spec.filters, reduced))
        else:
            wide = inputs * EXPANSIONS[spec.op]
            body = convolution(inputs, wide, 1, activation=activation) if wide > inputs else []
            body += convolution(wide, wide, spec.kernel, stride=spec.stride, groups=wide, activation=activation)
            if reduced:
                body.append(SqueezeExcite(wide, reduced))
            body += convolution(wide, spec.filters, 1)
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        if self.skip == "identity":
            return out + x
        if self.skip == "pool":
            return out + self._pooled(x)
        return out

    def _pooled(self, x: Tensor) -> Tensor:
        if self.missing < 0:
            x = x[:, : self.filters]
        pooled = F.avg_pool2d(x, 3, self.stride, padding=1, count_include_pad=False)
        return F.pad(pooled, (0, 0, 0, 0, 0, self.missing)) if self.missing > 0 else pooled


class Network(nn.Module):
    """Stem, layers, 1x1 head, mean over the image, linear classifier.

    Args:
        channels: Of the input images.
        classes: Number of logits.
        stem: Output channels of the first 3x3 convolution.
        stem_stride: Its stride.
        layers: In order, each a `LayerSpec` or the same values as a plain tuple.
        head: Output channels of the last 1x1 convolution.
        activation: "relu", "relu6" or "hswish".
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        stem: int,
        stem_stride: int,
        layers: Sequence[tuple[str, int, int, float, str, int]],
        head: int,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(channels, stem, 3, stride=stem_stride, activation=activation))
        inputs, modules = stem, []
        for values in layers:
            spec = LayerSpec(*values)
            modules.append(Layer(inputs, spec, activation))
            inputs = spec.filters
        self.layers = nn.Sequential(*modules)
        self.head = nn.Sequential(*convolution(inputs, head, 1, activation=activation))
        self.classifier = nn.Linear(head, classes)
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(N, classes)` of normalised images `(N, channels, H, W)`."""
        features: Tensor = self.head(self.layers(self.stem(image)))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits


def initialise(module: nn.Module) -> None:
    """Variance-keeping weights: He's over the outgoing connections, per group, so that depthwise kernels count too."""
    if isinstance(module, nn.Conv2d):
        outgoing = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / outgoing))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
