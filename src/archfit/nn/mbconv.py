"""The layers of the mnas space and the network made of them, in plain PyTorch.

This file imports torch and files of its kind alone: its text becomes part of the stand-alone `network.py` that goes
out with a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfit.nn.initialise import initialise

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish}
EXPANSIONS = {"dconv": 1, "separable": 1, "mbconv3": 3, "mbconv6": 6}


class LayerSpec(NamedTuple):
    """One layer of the network.

    Attributes:
        op: "conv" (kernel x kernel), "dconv" (depthwise, then 1x1 without activation), "separable" (the same with an
            activation after the 1x1 too, MobileNetV1's), or "mbconv3" and "mbconv6" (1x1 expansion, depthwise, 1x1
            projection).
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


class Style(NamedTuple):
    """What all layers of a network share.

    Attributes:
        activation: "relu", "relu6" or "hswish".
        eps: Added to the variance by batch norms.
    """

    activation: str = "relu"
    eps: float = 1e-5


class PaddedConv2d(nn.Conv2d):
    """Strided convolution that pads as TensorFlow's "same" does on images of `size` pixels.

    Where the padding is odd, the extra pixel goes right and below; PyTorch's own would put it left and above.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, size: int, groups: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)
        self.sides = same_sides(size, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.sides))


def same_sides(size: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Pixels that TensorFlow's "same" adds to a height and width of `size`: left, right, above, below."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2, total // 2, total - total // 2


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    style: Style,
    *,
    stride: int = 1,
    groups: int = 1,
    active: bool = True,
    size: int = 0,
) -> list[nn.Module]:
    """Convolution padded to ceil(size / stride), batch norm and, if `active`, an activation.

    `size` is that of the input where a strided convolution is to pad as TensorFlow does, else 0.
    """
    modules: list[nn.Module] = [
        PaddedConv2d(inputs, outputs, kernel, stride, size, groups)
        if size and stride > 1
        else nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=style.eps),
    ]
    if active:
        modules.append(ACTIVATIONS[style.activation](inplace=True))
    return modules


def reduced_channels(inputs: int, ratio: float) -> int:
    """Channels inside squeeze-and-excitation, for a layer's input channels; 0 for a ratio of 0."""
    return max(1, round(inputs * ratio)) if ratio else 0


def window(inputs: int) -> Tensor:
    """Weights of the "pool" skip, which are not learnt: a mean of 3x3 for each channel."""
    return torch.full((inputs, 1, 3, 3), 1 / 9)


def pooled(x: Tensor, weights: Tensor, stride: int, filters: int) -> Tensor:
    """The "pool" skip: `(N, inputs, H, W)` to `(N, filters, ceil(H / stride), ...)`, cut or filled up with zeros.

    A depthwise convolution with the weights of `window`: ONNX Runtime takes many times as long for an average pool
    whose channels do not fill its blocks of 16.
    """
    inputs = len(weights)
    means = F.conv2d(x, weights, None, stride, 1, groups=inputs)
    if filters < inputs:
        return means[:, :filters]
    return F.pad(means, (0, 0, 0, 0, 0, filters - inputs)) if filters > inputs else means


class Layer(nn.Module):
    """One `LayerSpec` on `inputs` channels: `(N, inputs, H, W)` to `(N, filters, ceil(H / stride), ...)`.

    `size` is H where its strided convolution is to pad as TensorFlow does, else 0.
    """

    window: Tensor

    def __init__(self, inputs: int, spec: LayerSpec, style: Style, size: int = 0) -> None:
        super().__init__()
        if spec.skip == "identity" and (spec.stride != 1 or spec.filters != inputs):
            raise ValueError(f"identity skip needs stride 1 and {inputs} filters; {spec} has neither or one of them")
        self.skip, self.stride, self.filters = spec.skip, spec.stride, spec.filters
        reduced = reduced_channels(inputs, spec.se)
        if spec.op == "conv":
            body = convolution(inputs, spec.filters, spec.kernel, style, stride=spec.stride, size=size)
            if reduced:
                body.append(SqueezeExcite(spec.filters, reduced))
        else:
            wide = inputs * EXPANSIONS[spec.op]
            body = convolution(inputs, wide, 1, style) if wide > inputs else []
            body += convolution(wide, wide, spec.kernel, style, stride=spec.stride, groups=wide, size=size)
            if reduced:
                body.append(SqueezeExcite(wide, reduced))
            body += convolution(wide, spec.filters, 1, style, active=spec.op == "separable")
        self.body = nn.Sequential(*body)
        if spec.skip == "pool":
            self.register_buffer("window", window(inputs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        if self.skip == "identity":
            return out + x
        if self.skip == "pool":
            return out + pooled(x, self.window, self.stride, self.filters)
        return out


class Network(nn.Module):
    """Stem, layers, 1x1 head, mean over the image, linear classifier.

    Args:
        channels: Of the input images.
        classes: Number of logits.
        stem: Output channels of the first 3x3 convolution.
        stem_stride: Its stride.
        layers: In order, each a `LayerSpec` or the same values as a plain tuple.
        head: Output channels of the last 1x1 convolution; 0 leaves it out.
        activation: "relu", "relu6" or "hswish".
        eps: Added to the variance by batch norms.
        same_padding: Height and width of the images for which strided convolutions pad as TensorFlow does; 0 for
            PyTorch's padding, which any size takes.
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
        eps: float = 1e-5,
        same_padding: int = 0,
    ) -> None:
        super().__init__()
        style = Style(activation, eps)
        size = same_padding
        self.stem = nn.Sequential(*convolution(channels, stem, 3, style, stride=stem_stride, size=size))
        inputs, size, modules = stem, -(-size // stem_stride), []
        for values in layers:
            spec = LayerSpec(*values)
            modules.append(Layer(inputs, spec, style, size))
            inputs, size = spec.filters, -(-size // spec.stride)
        self.layers = nn.Sequential(*modules)
        self.head = nn.Sequential(*convolution(inputs, head, 1, style) if head else [])
        self.classifier = nn.Linear(head or inputs, classes)
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(N, classes)` of normalised images `(N, channels, H, W)`."""
        features: Tensor = self.head(self.layers(self.stem(image)))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits
