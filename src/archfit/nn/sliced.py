"""Layers that hold the weights of their largest option and run with a part of them.

A smaller option has the first channels of a larger one and the centre of its kernels. Batch norms normalise by the
batch always: running averages would mix the options.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfit.nn.mbconv import ACTIVATIONS, Style, same_sides


def sliced(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """A view of the first outputs and inputs, and of the centre of the kernel.

    Args:
        weight: `(outputs,)`, `(outputs, inputs)` or `(outputs, inputs, k, k)`.
        shape: What is wanted of it, nowhere more than there is; kernels are odd.
    """
    if weight.shape == torch.Size(shape):
        return weight
    channels = tuple(slice(count) for count in shape[:2])
    margins = ((have - wanted) // 2 for have, wanted in zip(weight.shape[2:], shape[2:], strict=True))
    kernel = tuple(slice(margin, margin + wanted) for margin, wanted in zip(margins, shape[2:], strict=True))
    return weight[channels + kernel]


class SlicedConvolution(nn.Module):
    """`archfit.nn.mbconv.convolution` with up to so many inputs and outputs, and kernels up to such a size.

    Args:
        inputs: At most; a depthwise convolution has one filter for each.
        outputs: At most.
        kernel: The largest, odd.
        style: Of the network.
        stride: Of every option.
        depthwise: Each input has a filter of its own.
        active: An activation follows.
        size: Of the input where a strided convolution is to pad as TensorFlow does, else 0.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style: Style,
        *,
        stride: int = 1,
        depthwise: bool = False,
        active: bool = True,
        size: int = 0,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, groups=inputs if depthwise else 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=style.eps, track_running_stats=False)
        self.activation = ACTIVATIONS[style.activation](inplace=True) if active else None
        self.stride, self.depthwise = stride, depthwise
        self.size = size if stride > 1 else 0

    def forward(self, x: Tensor, outputs: int, kernel: int) -> Tensor:
        """`(N, inputs, H, W)` to `(N, outputs, ceil(H / stride), ...)` with kernels of this size."""
        inputs = x.shape[1]
        weight = sliced(self.convolution.weight, (outputs, 1 if self.depthwise else inputs, kernel, kernel))
        if self.size:
            x = F.pad(x, same_sides(self.size, kernel, self.stride))
        padding = 0 if self.size else kernel // 2
        x = F.conv2d(x, weight, None, self.stride, padding, groups=inputs if self.depthwise else 1)
        scale, shift = sliced(self.norm.weight, (outputs,)), sliced(self.norm.bias, (outputs,))
        x = F.batch_norm(x, None, None, scale, shift, training=True, eps=self.norm.eps)
        return x if self.activation is None else self.activation(x)


class SlicedExcite(nn.Module):
    """`archfit.nn.mbconv.SqueezeExcite` with up to so many channels outside and inside."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor, reduced: int) -> Tensor:
        """`(N, channels, H, W)` in and out, with so many channels inside."""
        gate = F.relu(_pointwise(self.reduce, x.mean((2, 3), keepdim=True), reduced))
        return x * torch.sigmoid(_pointwise(self.expand, gate, x.shape[1]))


class SlicedLinear(nn.Linear):
    """A linear layer with up to `in_features` inputs."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, inputs)` to `(N, out_features)`."""
        return F.linear(x, sliced(self.weight, (self.out_features, x.shape[1])), self.bias)


def _pointwise(convolution: nn.Conv2d, x: Tensor, outputs: int) -> Tensor:
    assert convolution.bias is not None
    return F.conv2d(x, sliced(convolution.weight, (outputs, x.shape[1], 1, 1)), sliced(convolution.bias, (outputs,)))
