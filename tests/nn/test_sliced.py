from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfit.nn.mbconv import SqueezeExcite, Style, convolution
from archfit.nn.sliced import SlicedConvolution, SlicedExcite, SlicedLinear, sliced

PLAIN = Style()


def numbered(*shape: int) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).view(shape)


def test_a_slice_is_of_the_first_channels_and_the_centre_of_the_kernel() -> None:
    # the rows of a 5x5 kernel begin with 0, 5, 10, 15, 20
    assert sliced(numbered(1, 1, 5, 5), (1, 1, 3, 3)).flatten().tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert sliced(numbered(1, 1, 7, 7), (1, 1, 1, 1)).item() == 24
    assert sliced(numbered(3, 2), (2, 1)).tolist() == [[0], [2]]
    assert sliced(numbered(3), (2,)).tolist() == [0, 1]


def test_a_slice_copies_nothing() -> None:
    weight = numbered(4, 3, 5, 5)
    assert sliced(weight, weight.shape) is weight
    assert sliced(weight, (2, 3, 3, 3)).untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()


@pytest.mark.parametrize("training", [True, False])
def test_convolution_by_hand(training: bool) -> None:
    layer = SlicedConvolution(2, 3, 1, Style(eps=1e-9)).train(training)
    with torch.no_grad():
        layer.convolution.weight.copy_(torch.tensor([[3.0, 9], [9, 9], [9, 9]])[:, :, None, None])
        layer.norm.weight.copy_(torch.tensor([2.0, 9, 9]))
        layer.norm.bias.copy_(torch.tensor([1.0, 9, 9]))
    # 0 and 2 times 3 are 0 and 6: mean 3, deviation 3, so -1 and 1; times 2 plus 1 gives -1 and 3, and ReLU 0 and 3
    out = layer(torch.tensor([0.0, 2.0]).view(2, 1, 1, 1), 1, 1)
    torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 3.0]))


def test_what_runs_leaves_no_trace() -> None:
    layer = SlicedConvolution(2, 3, 3, PLAIN)
    assert {name for name, _ in layer.named_parameters()} == {"convolution.weight", "norm.weight", "norm.bias"}
    assert not list(layer.buffers())


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("stride", "size"), [(1, 0), (2, 0), (2, 6), (2, 7)])
def test_a_slice_is_the_layer_of_its_size(kernel: int, depthwise: bool, stride: int, size: int) -> None:
    inputs, outputs = (4, 4) if depthwise else (3, 4)
    most = 6 if depthwise else 5
    layer = SlicedConvolution(most, 6, 5, PLAIN, stride=stride, depthwise=depthwise, active=False, size=size)
    groups = inputs if depthwise else 1
    alone = nn.Sequential(
        *convolution(inputs, outputs, kernel, PLAIN, stride=stride, groups=groups, active=False, size=size)
    )
    with torch.no_grad():
        for own, shared in zip(alone.parameters(), layer.parameters(), strict=True):
            nn.init.normal_(shared)
            own.copy_(sliced(shared, own.shape))
    x = torch.randn(2, inputs, size or 7, size or 7)
    torch.testing.assert_close(layer(x, outputs, kernel), alone(x))


def test_the_gradient_is_zero_outside_the_slice() -> None:
    layer = SlicedConvolution(4, 6, 5, PLAIN, active=False)
    layer(torch.randn(2, 3, 4, 4), 2, 3).square().sum().backward()
    weight = layer.convolution.weight.grad
    assert weight is not None
    assert weight[:2, :3, 1:4, 1:4].all()
    weight[:2, :3, 1:4, 1:4] = 0
    assert not weight.any()
    assert layer.norm.weight.grad is not None
    assert layer.norm.weight.grad[:2].all()
    assert not layer.norm.weight.grad[2:].any()


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_last_stays(depthwise: bool, stride: int) -> None:
    layer = SlicedConvolution(8, 8, 5, PLAIN, stride=stride, depthwise=depthwise)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(2, 6, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    out = layer(x, 6, 3)
    assert out.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_excite_is_the_one_of_its_size() -> None:
    shared, alone = SlicedExcite(6, 3), SqueezeExcite(4, 2)
    with torch.no_grad():
        for own, weight in zip(alone.parameters(), shared.parameters(), strict=True):
            own.copy_(sliced(weight, own.shape))
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(shared(x, 2), alone(x))


def test_excite_by_hand() -> None:
    layer = SlicedExcite(2, 2)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    # a gate of sigmoid(0) = 1/2
    assert layer(torch.full((1, 1, 2, 2), 6.0), 1).flatten().tolist() == [3, 3, 3, 3]


def test_linear_takes_the_first_inputs() -> None:
    layer = SlicedLinear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2, 9], [3, 4, 9]]))
        layer.bias.copy_(torch.tensor([10.0, 20]))
    # 1*1 + 2*2 + 10 and 3*1 + 4*2 + 20
    assert layer(torch.tensor([[1.0, 2]])).tolist() == [[15, 31]]
    whole = torch.randn(4, 3)
    assert torch.equal(layer(whole), F.linear(whole, layer.weight, layer.bias))
