"""What the nodes of a cell do (NASNet, arXiv:1707.07012, section 3.1), in plain PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OPERATIONS = ("identity", "sep3", "sep5", "sep7", "avg3", "max3", "dil3", "dil5", "conv1", "conv3", "conv1x7")
POOLS = ("avg3", "max3")


class Pool(nn.Module):
    """3x3 pooling, and a 1x1 convolution where it changes the channels: only NASNet's first stem cell does."""

    def __init__(self, name: str, inputs: int, filters: int, stride: int, eps: float) -> None:
        super().__init__()
        self.name, self.stride = name, stride
        self.fit: nn.Module = nn.Identity() if inputs == filters else convolution(inputs, filters, 1, 1, eps)

    def forward(self, x: Tensor) -> Tensor:
        if self.name == "max3":
            pooled = F.max_pool2d(x, 3, self.stride, padding=1)
        else:
            pooled = F.avg_pool2d(x, 3, self.stride, padding=1, count_include_pad=False)
        fitted: Tensor = self.fit(pooled)
        return fitted


class FactorisedReduction(nn.Module):
    """Half height and width without loss: half of the filters see the even pixels, the others the odd ones."""

    def __init__(self, inputs: int, filters: int, eps: float) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, filters - filters // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(inputs, filters // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(filters, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduced(x, self.even.weight, self.odd.weight)

    def reduced(self, x: Tensor, even: Tensor, odd: Tensor) -> Tensor:
        """With these filters, `(filters / 2, inputs, 1, 1)`."""
        halves = [F.conv2d(x, even, None, 2), F.conv2d(F.pad(x, (-1, 1, -1, 1)), odd, None, 2)]
        reduced: Tensor = self.norm(torch.cat(halves, 1))
        return reduced


def convolution(inputs: int, filters: int, kernel: int, stride: int, eps: float) -> nn.Sequential:
    """Convolution and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(filters, eps=eps)
    )


class Separable(nn.Sequential):
    """Depthwise, 1x1 convolution and batch norm, `times` over with ReLUs between; the first has the stride."""

    def __init__(
        self, inputs: int, filters: int, kernel: int, stride: int, eps: float, *, dilation: int = 1, times: int = 2
    ) -> None:
        modules: list[nn.Module] = []
        for number in range(times):
            modules += [nn.ReLU(inplace=True)] if number else []
            padding = dilation * (kernel // 2)
            modules += [
                nn.Conv2d(inputs, inputs, kernel, stride, padding, dilation, groups=inputs, bias=False),
                *convolution(inputs, filters, 1, 1, eps),
            ]
            inputs, stride = filters, 1
        super().__init__(*modules)


def factorised(inputs: int, filters: int, stride: int, eps: float) -> nn.Sequential:
    """1x7 and 7x1 convolution on a quarter of the filters, as AmoebaNet's code has it."""
    narrow = max(1, filters // 4)
    return nn.Sequential(
        *convolution(inputs, narrow, 1, 1, eps),
        nn.ReLU(inplace=True),
        nn.Conv2d(narrow, narrow, (1, 7), (1, stride), (0, 3), bias=False),
        nn.BatchNorm2d(narrow, eps=eps),
        nn.ReLU(inplace=True),
        nn.Conv2d(narrow, narrow, (7, 1), (stride, 1), (3, 0), bias=False),
        nn.BatchNorm2d(narrow, eps=eps),
        nn.ReLU(inplace=True),
        *convolution(narrow, filters, 1, 1, eps),
    )


class Kit(NamedTuple):
    """The modules that operations are made of, for variants that compute the same."""

    separable: type[Separable] = Separable
    pool: type[Pool] = Pool


PLAIN = Kit()


def operation(name: str, inputs: int, filters: int, stride: int, eps: float, kit: Kit = PLAIN) -> nn.Module:
    """`(N, inputs, H, W)` to `(N, filters, ceil(H / stride), ...)`.

    Args:
        name: "sep" are separable convolutions twice over, "dil" separable ones once with dilation 2, "avg3" and
            "max3" pools, "conv" plain convolutions; "identity" with a stride is a factorised reduction.
        inputs: Channels.
        filters: Output channels.
        stride: 1 or 2.
        eps: Added to the variance by batch norms.
        kit: What it is made of.
    """
    if name == "identity":
        if stride == 2:
            return FactorisedReduction(inputs, filters, eps)
        return nn.Identity() if inputs == filters else convolution(inputs, filters, 1, 1, eps)
    if name in POOLS:
        return kit.pool(name, inputs, filters, stride, eps)
    if name == "conv1x7":
        return factorised(inputs, filters, stride, eps)
    kind, kernel = name[:-1], int(name[-1])
    if kind == "conv":
        return convolution(inputs, filters, kernel, stride, eps)
    dilation, times = (2, 1) if kind == "dil" else (1, 2)
    return kit.separable(inputs, filters, kernel, stride, eps, dilation=dilation, times=times)


def reads_plain(module: nn.Module) -> bool:
    """Whether an operation takes its input as it is; those with weights take it after a ReLU, which they leave out."""
    return isinstance(module, nn.Identity | Pool)
