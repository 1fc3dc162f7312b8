from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from archfit.nn.mbconv import EXPANSIONS, Layer, LayerSpec, Style
from archfit.nn.shared_mbconv import SharedLayer, SharedSpec
from archfit.nn.sliced import sliced

OPS = ("conv", *EXPANSIONS)


def params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("ops", "ratio", "expected"),
    [
        # 25*8*12 = 2400, batch norm 24
        (("conv",), 0.0, 2424),
        # and SE on the 12 outputs, reduced from the 8 inputs to 2: 12*2 + 2 + 2*12 + 12 = 62
        (("conv",), 0.25, 2486),
        # depthwise 25*8 = 200, bn 16, pointwise 8*12 = 96, bn 24
        (("dconv",), 0.0, 336),
        # that twice: "separable" has its own
        (("dconv", "separable"), 0.0, 672),
        # expand 8*24 = 192, bn 48, depthwise 25*24 = 600, bn 48, project 24*12 = 288, bn 24
        (("mbconv3",), 0.0, 1200),
        # expand 8*48 = 384, bn 96, depthwise 25*48 = 1200, bn 96, project 48*12 = 576, bn 24: mbconv3 adds nothing
        (("mbconv3", "mbconv6"), 0.0, 2376),
        (("mbconv6", "mbconv3"), 0.0, 2376),
    ],
)
def test_it_has_one_set_of_weights_for_each_operation(ops: tuple[str, ...], ratio: float, expected: int) -> None:
    assert params(SharedLayer(SharedSpec(ops, 5, 1, ratio, 8, 12), Style())) == expected


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_option_is_the_layer_that_has_its_slices(op: str, stride: int) -> None:
    shared = SharedLayer(SharedSpec(OPS, 5, stride, 0.25, 8, 12), Style("hswish"))
    for kernel, ratio, skip, inputs, filters in itertools.product(
        (3, 5), (0.0, 0.25), ("none", "identity", "pool"), (4, 8), (4, 12)
    ):
        if skip == "identity" and (stride == 2 or inputs != filters):
            continue
        spec = LayerSpec(op, kernel, stride, ratio, skip, filters)
        alone = Layer(inputs, spec, Style("hswish"))
        weights = [weight for part, _ in shared.parts(spec, inputs) for weight in part.parameters()]
        with torch.no_grad():
            for own, weight in zip(alone.parameters(), weights, strict=True):
                own.copy_(sliced(weight, own.shape))
        x = torch.randn(3, inputs, 5, 5)
        torch.testing.assert_close(shared(x, spec), alone(x))


def used(spec: LayerSpec, inputs: int) -> dict[str, Tensor]:
    """Where the gradient of a path is not zero, by the name of its weights."""
    shared = SharedLayer(SharedSpec(OPS, 5, 1, 0.25, 4, 8), Style("hswish"))
    for parameter in shared.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    (shared(torch.randn(4, inputs, 6, 6), spec) * torch.randn(4, spec.filters, 6, 6)).sum().backward()
    return {name: weight.grad != 0 for name, weight in shared.named_parameters() if weight.grad is not None}


def test_a_blended_layer_is_the_mean_of_all_operations() -> None:
    layer = SharedLayer(SharedSpec(("conv", "dconv", "mbconv3", "mbconv6"), 5, 1, 0.25, 8, 8), Style())
    x = torch.randn(4, 8, 6, 6)
    spec = LayerSpec("mbconv6", 3, 1, 0.25, "none", 8)
    each = {op: layer(x, spec._replace(op=op)) for op in ("conv", "dconv", "mbconv3", "mbconv6")}
    of_three = (each["mbconv6"] + each["conv"] + each["dconv"]) / 3
    torch.testing.assert_close(layer(x, spec, blended=True), of_three)
    torch.testing.assert_close(layer(x, spec._replace(skip="identity"), blended=True), of_three + x)
    narrow = layer(x, spec._replace(op="conv"), blended=True)
    torch.testing.assert_close(narrow, (each["conv"] + each["dconv"] + each["mbconv3"]) / 3)


@pytest.mark.parametrize("ops", [("conv", "dconv", "mbconv6"), ("dconv", "conv", "separable"), ("conv", "mbconv3")])
def test_operations_begin_with_features_that_have_much_in_common(ops: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    layer = SharedLayer(SharedSpec(ops, 3, 1, 0.0, 16, 16), Style())
    x = torch.randn(64, 16, 8, 8)

    @torch.no_grad()
    def likeness() -> float:
        flat = [layer(x, LayerSpec(op, 3, 1, 0.0, "none", 16)).transpose(0, 1).flatten(1) for op in ops]
        # the mean correlation of equal channels, of the first operation with each other one
        return min(
            float(
                torch.stack(
                    [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(flat[0], other, strict=True)]
                ).mean()
            )
            for other in flat[1:]
        )

    before = likeness()
    layer.begin_alike()
    assert abs(before) < 0.1
    assert likeness() > 0.2


def test_mbconv3_has_the_first_half_of_mbconv6() -> None:
    found = used(LayerSpec("mbconv3", 3, 1, 0.0, "none", 6), 4)
    assert {name.rsplit(".", 2)[0] for name in found} == {"ops.mbconv.expand", "ops.mbconv.depthwise", "ops.mbconv.out"}
    expand, depthwise, out = (found[f"ops.mbconv.{name}.convolution.weight"] for name in ("expand", "depthwise", "out"))
    # 4 inputs are widened to 12 of 24, 3x3 lies within 5x5, 6 outputs are taken of 8
    assert expand[:12].all()
    assert not expand[12:].any()
    assert depthwise[:12, :, 1:4, 1:4].all()
    assert int(depthwise.sum()) == 12 * 9
    assert out[:6, :12].all()
    assert int(out.sum()) == 6 * 12


@pytest.mark.parametrize("op", OPS)
def test_operations_that_are_not_taken_get_no_gradient(op: str) -> None:
    found = used(LayerSpec(op, 5, 1, 0.25, "identity", 4), 4)
    own = "mbconv" if op.startswith("mbconv") else op
    assert {name.split(".")[1] for name in found} == {own}
    assert any("gate" in name for name in found)
    assert not any("gate" in name for name in used(LayerSpec(op, 5, 1, 0.0, "pool", 4), 4))
