"""Gradients that take less time on a CPU than PyTorch's own, and are the same.

That of a depthwise kernel of more than three columns takes oneDNN up to ten times as long as one of three, and so do
more than three rows on an image that is smaller than the kernel: it is taken in parts. A mean over overlapping windows
is a depthwise convolution, which takes a third of the time.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

_STRIP = 3
_PIECE = 2**18  # values; what is padded stays in the cache

Geometry = tuple[int, int, int, int]
"""Stride, padding, dilation and groups of a convolution."""


def is_for_plain(x: Tensor) -> bool:
    """Where there is no way back, or another kind of device."""
    return x.device.type != "cpu" or not torch.is_grad_enabled()


class CpuGradients(TorchFunctionMode):
    """Within it, what networks of any package compute on a CPU takes its gradients in less time.

    Depthwise convolutions take theirs in parts, means over windows as convolutions, 1x1 convolutions with a stride as
    such without one. Means over the image give theirs in the layout of the image; in the other one, which PyTorch
    chooses, a ReLU before them would take 10 to 40 times as long for its own.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.conv2d:
            return _convolution(*args, **kwargs)
        if func is F.avg_pool2d:
            return _average_pool(*args, **kwargs)
        if func is Tensor.mean and _is_of_image(*args, **kwargs):
            keepdim = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
            return _ImageMean.apply(args[0], keepdim)
        if func is F.adaptive_avg_pool2d and args[1:] in ((1,), ((1, 1),)) and _is_of_image(args[0], (2, 3)):
            return _ImageMean.apply(args[0], True)
        return func(*args, **kwargs)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    slow = weight.shape[-1] > min(_STRIP, *x.shape[2:])
    quick = groups == len(weight) and weight.shape[1] == 1 and slow and bias is None
    square = [_square(value) for value in (stride, padding, dilation)]
    plain = is_for_plain(x) or torch.is_autocast_enabled("cpu")
    if not plain and x.dim() == 4 and weight.shape[2:] == (1, 1) and square[0] not in (None, 1) and square[1] == 0:
        # With one thread and no AVX-512, PyTorch 2.14 writes past its memory for the gradient of such a kernel with
        # four input channels (with eight it does not): the pixels that are skipped are left out first.
        seen = x[:, :, :: square[0], :: square[0]].contiguous(memory_format=_layout(x))
        return F.conv2d(seen, weight, bias, groups=groups)
    if plain or not quick or None in square or x.dim() != 4:
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    convolved: Tensor = _Depthwise.apply(x, weight, (*square, groups))
    return convolved


def _square(value: Any) -> int | None:
    """The number that stands for height and width, if one does."""
    if isinstance(value, int):
        return value
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else None


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = gradients(grad, x, weight, ctx.geometry, kernel=False)[0] if ctx.needs_input_grad[0] else None
        grad_weight = depthwise_gradient(grad, x, weight, ctx.geometry) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None


def _average_pool(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    kernel, step, margin = _square(kernel_size), _square(stride or kernel_size), _square(padding)
    plain = is_for_plain(x) or torch.is_autocast_enabled("cpu") or ceil_mode or divisor_override is not None
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    if last and not plain and kernel is not None and step is not None and margin is not None and kernel > step:
        return window_means(x, kernel, step, margin, count_include_pad)
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def window_means(x: Tensor, kernel: int, stride: int, padding: int, count_include_pad: bool) -> Tensor:
    """As `F.avg_pool2d` of square windows; keeps nothing for its way back."""
    pooled: Tensor = _WindowMeans.apply(x, kernel, stride, padding, count_include_pad)
    return pooled


class _WindowMeans(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int, padding: int, count_include_pad: bool) -> Tensor:
        channels = x.shape[1]
        ones = x.new_ones(channels, 1, kernel, kernel)
        if count_include_pad:
            shares = x.new_full((1, 1, 1, 1), 1 / kernel**2)
        else:
            shares = 1 / F.conv2d(x.new_ones(1, 1, *x.shape[2:]), ones[:1], None, stride, padding)
        ctx.save_for_backward(ones, shares)
        ctx.geometry, ctx.shape, ctx.layout = (stride, padding, 1, channels), x.shape, _layout(x)
        return F.conv2d(x, ones, None, *ctx.geometry).mul_(shares)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ones, shares = ctx.saved_tensors
        shared = (grad * shares).contiguous(memory_format=ctx.layout)
        found = gradients(shared, stand_in(shared, ctx.shape), ones, ctx.geometry, kernel=False)
        return found[0], None, None, None, None


def stand_in(grad: Tensor, shape: torch.Size) -> Tensor:
    """Memory in the layout of `grad` that stands for an input whose values make no difference."""
    return torch.empty(shape, dtype=grad.dtype, memory_format=_layout(grad))


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def _is_of_image(x: Tensor, dim: Any = None, keepdim: bool = False, **others: Any) -> bool:
    """Whether a call of `Tensor.mean` takes the means over images in channels last."""
    axes = sorted(axis % 4 for axis in dim) if isinstance(dim, tuple | list) else []
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return last and axes == [2, 3] and not others and not is_for_plain(x)


class _ImageMean(Function):
    """Of `(N, C, H, W)` in channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keepdim: bool) -> Tensor:
        ctx.shape = x.shape
        return x.mean((2, 3), keepdim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        spread = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=torch.channels_last)
        return spread.copy_((grad / (ctx.shape[2] * ctx.shape[3])).view(*ctx.shape[:2], 1, 1)), None


def depthwise_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Of a kernel `(channels, 1, k, k)`, from those of its output `(N, channels, H, W)`."""
    stride, padding, dilation, groups = geometry
    size, smallest = weight.shape[-1], min(x.shape[2:])
    if dilation > 1 or size <= min(_STRIP, smallest):
        return gradients(grad, x, weight, geometry, inputs=False)[1]
    height = size if size < smallest else _STRIP
    gradient = torch.zeros_like(weight)
    pieces = max(1, round(x.numel() / _PIECE))
    for grad_piece, piece in zip(grad.chunk(pieces), x.chunk(pieces), strict=True):
        for top, left in product(range(0, size, height), range(0, size, _STRIP)):
            place = (..., slice(top, top + height), slice(left, left + _STRIP))
            part = weight[place]
            margins: tuple[int, ...] = _margins(x.shape[3], grad.shape[3], part.shape[3], stride, padding - left)
            down = padding
            if height == _STRIP:
                margins += _margins(x.shape[2], grad.shape[2], part.shape[2], stride, padding - top)
                down = 0
            within = (stride, down, 1, groups)
            found = gradients(grad_piece, F.pad(piece, margins), part, within, inputs=False, across=0)
            gradient[place] += found[1]
    return gradient


def _margins(seen: int, out: int, kernel: int, stride: int, before: int) -> tuple[int, int]:
    """What is added on both sides of an input, or cut off, so that a part of a kernel gives `out` values."""
    return before, stride * (out - 1) + kernel - before - seen


def gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    *,
    inputs: bool = True,
    kernel: bool = True,
    across: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Of a convolution's input and kernel, where wanted. `across` is the padding of the width if it differs."""
    stride, padding, dilation, groups = geometry
    pads = [padding, padding if across is None else across]
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, pads, [dilation] * 2, False, [0, 0], groups, [inputs, kernel, False]
    )
    return found[:2]
