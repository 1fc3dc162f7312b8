from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from archfit.nn.cell_operations import Pool, Separable, operation
from archfit.nn.cells import join
from archfit.nn.thrifty import THRIFTY, ThriftyPool, ThriftySeparable, thrifty_join


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, its gradient in `x`, and those in the weights, for a loss that is no plain sum."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = module(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=x.dtype).reshape(out.shape)).sum().backward()
    assert x.grad is not None
    return [out.detach(), x.grad, *(weight.grad for weight in module.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["sep3", "sep5", "sep7", "dil3", "dil5", "avg3", "max3"])
def test_the_same_is_computed(name: str, stride: int, size: int, last: bool) -> None:
    torch.manual_seed(0)
    plain = operation(name, 4, 4, stride, 1e-3).double()
    thrifty = operation(name, 4, 4, stride, 1e-3, THRIFTY).double()
    thrifty.load_state_dict(plain.state_dict())
    assert type(thrifty) in THRIFTY
    x = torch.randn(3, 4, size, size, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    for mine, other in zip(gradients(thrifty, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, other)


def test_other_channels() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 8, 8)
    for thrifty, plain in (
        (ThriftySeparable(5, 4, 5, 2, 1e-5), Separable(5, 4, 5, 2, 1e-5)),
        (ThriftyPool("avg3", 5, 4, 2, 1e-5), Pool("avg3", 5, 4, 2, 1e-5)),
    ):
        thrifty.load_state_dict(plain.state_dict())
        for mine, other in zip(gradients(thrifty, x), gradients(plain, x), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("active", [False, True])
def test_states_are_joined(active: bool) -> None:
    class Both(nn.Module):
        def __init__(self, joins: object) -> None:
            super().__init__()
            self.joins = joins

        def forward(self, x: Tensor) -> Tensor:
            return self.joins([x * 2, x[:, :1] * 3], active)  # type: ignore[operator, no-any-return]

    x = torch.randn(2, 3, 4, 4)
    for mine, other in zip(gradients(Both(thrifty_join), x), gradients(Both(join), x), strict=True):
        torch.testing.assert_close(mine, other)


def test_less_is_kept_for_the_way_back() -> None:
    def kept(module: nn.Module) -> int:
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda value: sizes.update({value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()}) or value,
            lambda value: value,
        ):
            out = module(x.clone().requires_grad_())
        assert out.grad_fn is not None
        return sum(sizes.values())

    x = torch.randn(2, 8, 32, 32)
    activation = x.numel() * 4
    for name, plain, thrifty in (("sep3", 6, 3), ("max3", 3, 0.5), ("avg3", 1, 0)):
        assert kept(operation(name, 8, 8, 1, 1e-5)) == pytest.approx(plain * activation, rel=0.1)
        less = operation(name, 8, 8, 1, 1e-5, THRIFTY)
        assert kept(less) == pytest.approx(thrifty * activation, abs=0.1 * activation)


def test_without_gradients_the_plain_ones_run() -> None:
    torch.manual_seed(0)
    thrifty = ThriftySeparable(4, 4, 3, 1, 1e-5)
    plain = copy.deepcopy(thrifty)
    plain.__class__ = Separable
    with torch.no_grad():
        x = torch.randn(2, 4, 6, 6)
        assert torch.equal(thrifty(x), plain(x))
    assert torch.equal(thrifty[2].running_mean, plain[2].running_mean)
