"""Gradients that are quicker on a CPU and the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archfit.nn import cpu_gradients
from archfit.nn.cpu_gradients import CpuGradients
from archfit.nn.mbconv import Layer, LayerSpec, Style
from archfit.training import one_thread


def _gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    module.zero_grad()
    module(x).square().sum().backward()
    assert x.grad is not None
    return [x.grad, *(p.grad.clone() for p in module.parameters() if p.grad is not None)]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        *[(5, 1, 14), (5, 2, 14), (5, 2, 15), (7, 1, 9), (3, 1, 8)],
        *[(5, 1, 4), (5, 1, 5), (5, 2, 4), (5, 2, 3), (3, 1, 2), (3, 2, 2), (3, 1, 1), (7, 1, 3), (7, 2, 7)],
    ],
)
def test_a_depthwise_convolution_has_the_gradients_of_pytorch(
    kernel: int, stride: int, size: int, layout: torch.memory_format
) -> None:
    module = nn.Conv2d(12, 12, kernel, stride, kernel // 2, groups=12, bias=False)
    x = torch.randn(4, 12, size, size).to(memory_format=layout)
    expected = _gradients(module, x)
    with CpuGradients():
        found = _gradients(module, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "stride", "size", "bias"),
    [(16, 8, 1, 2, 8, False), (16, 24, 1, 2, 7, True), (16, 16, 4, 2, 8, False), (16, 8, 1, 3, 10, False)],
)
def test_a_strided_1x1_convolution_has_the_gradients_of_pytorch(
    inputs: int, outputs: int, groups: int, stride: int, size: int, bias: bool, layout: torch.memory_format
) -> None:
    module = nn.Conv2d(inputs, outputs, 1, stride, groups=groups, bias=bias)
    x = torch.randn(4, inputs, size, size).to(memory_format=layout)
    expected = _gradients(module, x)
    plain = module(x)
    with CpuGradients():
        found = _gradients(module, x)
        torch.testing.assert_close(module(x), plain)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_strided_1x1_convolution_of_few_channels_keeps_to_its_memory() -> None:
    # On some processors PyTorch's own ends the process within a few steps of these shapes on one thread.
    module = nn.Conv2d(4, 8, 1, 2, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(8, 4, 8, 8).to(memory_format=torch.channels_last)
    with one_thread():
        for _ in range(100):
            with CpuGradients():
                _, found = _gradients(module, x)
    seen = x[:, :, ::2, ::2]
    # The loss is the sum of squares: twice the output times what was seen.
    outputs = torch.einsum("oc,nchw->nohw", module.weight[:, :, 0, 0], seen)
    expected = torch.einsum("nohw,nchw->oc", 2 * outputs, seen)
    torch.testing.assert_close(found[:, :, 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_a_large_input_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_gradients, "_PIECE", 1000)
    module = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
    x = torch.randn(5, 8, 10, 10)
    expected = _gradients(module, x)
    with CpuGradients():
        found = _gradients(module, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 8, 5, padding="same", groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=(2, 1), groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=8, bias=False),
        nn.Conv2d(8, 16, 5, padding=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=2, groups=2, bias=False),
    ],
)
def test_other_convolutions_are_left_alone(convolution: nn.Conv2d) -> None:
    x = torch.randn(2, 8, 9, 9)
    expected = _gradients(convolution, x)
    with CpuGradients():
        found = _gradients(convolution, x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "mean",
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean([-1, -2], keepdim=True),
        lambda x: x.mean((2, 3), True),
        lambda x: x.mean(dim=(2, 3), keepdim=True),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: nn.AdaptiveAvgPool2d((1, 1))(x),
        lambda x: x.mean(1),
        lambda x: x.mean(),
        lambda x: x.mean((2, 3), dtype=torch.float64),
    ],
)
def test_a_mean_is_the_same_with_the_same_gradient(mean: Any) -> None:
    plain = torch.randn(3, 5, 4, 6).to(memory_format=torch.channels_last).requires_grad_()
    quick = plain.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    expected = mean(plain)
    with CpuGradients():
        found = mean(quick)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    expected.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(quick.grad, plain.grad)


@pytest.mark.parametrize(
    ("quick", "pool"),
    [
        (True, nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        (True, nn.AvgPool2d(3, 2, 1)),
        (True, nn.AvgPool2d(5, (1, 1), 2, count_include_pad=False)),
        (True, nn.AvgPool2d(3, 1)),
        (False, nn.AvgPool2d(2)),
        (False, nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        (False, nn.AvgPool2d(3, 1, divisor_override=2)),
        (False, nn.AvgPool2d((3, 1), 1)),
    ],
)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_mean_over_windows_is_the_same_with_the_same_gradient(
    quick: bool, pool: nn.Module, layout: torch.memory_format
) -> None:
    x = torch.randn(3, 12, 9, 7).to(memory_format=layout)
    expected, outcome = _gradients(pool, x), pool(x)
    with CpuGradients():
        found = _gradients(pool, x)
        pooled = pool(x.clone(memory_format=torch.preserve_format).requires_grad_())
    torch.testing.assert_close((pooled, found), (outcome, expected))
    assert ("WindowMeans" in str(pooled.grad_fn)) == (quick and layout == torch.channels_last)


class _Layouts(TorchDispatchMode):
    """Names the slow ones of those that get a gradient in another layout than what they computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.mixed: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in ("threshold_backward.default", "native_batch_norm_backward.default"):
            self.seen += 1
            images = [x for x in args if isinstance(x, Tensor) and x.dim() == 4 and min(x.shape[1:]) > 1]
            if len({x.is_contiguous(memory_format=torch.channels_last) for x in images[:2]}) > 1:
                self.mixed.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("op", ["conv", "dconv", "mbconv3"])
@pytest.mark.parametrize(("skip", "filters"), [("none", 12), ("identity", 12), ("pool", 8), ("pool", 16)])
def test_a_layer_has_all_its_gradients_in_channels_last(op: str, skip: str, filters: int) -> None:
    below = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.ReLU())
    network = nn.Sequential(below, Layer(12, LayerSpec(op, 5, 1, 0.25, skip, filters), Style()))
    network.to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    with _Layouts() as layouts:
        with CpuGradients():
            out = network(x).mean((2, 3))
        out.sum().backward()
    assert layouts.seen > 2
    assert layouts.mixed == []


@pytest.mark.parametrize("pool", [lambda x: x.mean((2, 3)), nn.AdaptiveAvgPool2d(1)])
def test_a_mean_over_the_image_keeps_the_layout(pool: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.ReLU()).to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    with _Layouts() as plain:
        pool(network(x)).sum().backward()
    with _Layouts() as quick:
        with CpuGradients():
            means = pool(network(x))
        means.sum().backward()
    assert plain.mixed
    assert quick.seen
    assert not quick.mixed
