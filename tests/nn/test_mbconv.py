from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from archfit.nn.mbconv import Layer, LayerSpec, Network, PaddedConv2d, SqueezeExcite, Style


def params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # 3*3*8*12 = 864, batch norm 2*12 = 24
        (LayerSpec("conv", 3, 1, 0.0, "none", 12), 888),
        # and SE on the 12 outputs, reduced from the 8 inputs to 2: 12*2 + 2 + 2*12 + 12 = 62
        (LayerSpec("conv", 3, 1, 0.25, "none", 12), 950),
        # depthwise 25*8 = 200, bn 16, pointwise 8*12 = 96, bn 24
        (LayerSpec("dconv", 5, 2, 0.0, "none", 12), 336),
        # the same, whatever follows its 1x1
        (LayerSpec("separable", 5, 2, 0.0, "none", 12), 336),
        # expand 8*24 = 192, bn 48, depthwise 9*24 = 216, bn 48, SE 24*2+2 + 2*24+24 = 122, project 24*8 = 192, bn 16
        (LayerSpec("mbconv3", 3, 1, 0.25, "identity", 8), 834),
        # expand 8*48 = 384, bn 96, depthwise 9*48 = 432, bn 96, project 48*12 = 576, bn 24
        (LayerSpec("mbconv6", 3, 1, 0.0, "pool", 12), 1608),
    ],
)
def test_layer_parameters_by_hand(spec: LayerSpec, expected: int) -> None:
    assert params(Layer(8, spec, Style())) == expected


@pytest.mark.parametrize("op", ["conv", "dconv", "mbconv3", "mbconv6"])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("filters", [4, 8, 12])
def test_output_is_the_input_size_over_the_stride_rounded_up(op: str, kernel: int, stride: int, filters: int) -> None:
    layer = Layer(8, LayerSpec(op, kernel, stride, 0.25, "pool", filters), Style("relu6"))
    assert layer(torch.randn(2, 8, 7, 1)).shape == (2, filters, math.ceil(7 / stride), 1)


def silent(spec: LayerSpec, inputs: int) -> Layer:
    """A layer whose body gives zero, so that only the skip is seen."""
    layer = Layer(inputs, spec, Style()).eval()
    norm = [module for module in layer.body if isinstance(module, nn.BatchNorm2d)][-1]
    nn.init.zeros_(norm.weight)
    return layer


def test_identity_skip_adds_the_input() -> None:
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(silent(LayerSpec("mbconv3", 3, 1, 0.0, "identity", 4), 4)(x), x)
    assert not silent(LayerSpec("mbconv3", 3, 1, 0.0, "none", 4), 4)(x).any()


@pytest.mark.parametrize(("stride", "filters"), [(2, 4), (1, 6)])
def test_identity_skip_needs_equal_shapes(stride: int, filters: int) -> None:
    with pytest.raises(ValueError, match="identity skip needs stride 1 and 4 filters"):
        Layer(4, LayerSpec("dconv", 3, stride, 0.0, "identity", filters), Style())


def test_pool_skip_averages_and_pads_or_cuts_channels() -> None:
    # Two channels of a 3x3 image: 1..9, and the same times 10.
    first = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    x = torch.cat([first, 10 * first], dim=1)
    # Stride 2 puts the 3x3 windows on the corners; of each, four pixels are inside the image, the others count as 0:
    # (1+2+4+5)/9 = 12/9, (2+3+5+6)/9 = 16/9, (4+5+7+8)/9 = 24/9, (5+6+8+9)/9 = 28/9.
    pooled = torch.tensor([[12.0, 16.0], [24.0, 28.0]]) / 9
    padded = silent(LayerSpec("dconv", 3, 2, 0.0, "pool", 3), 2)(x)[0]
    torch.testing.assert_close(padded, torch.stack([pooled, 10 * pooled, torch.zeros(2, 2)]))
    cut = silent(LayerSpec("dconv", 3, 2, 0.0, "pool", 1), 2)(x)[0]
    torch.testing.assert_close(cut, pooled[None])


def test_squeeze_excite_gates_by_sigmoid_of_relu_of_means() -> None:
    module = SqueezeExcite(2, 1)
    with torch.no_grad():
        for layer, weight, bias in ((module.reduce, 1.0, 0.5), (module.expand, 2.0, -1.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]]])
    # Means 2 and -1; reduced 2 - 1 + 0.5 = 1.5; expanded 3 - 1 = 2; the gate of both channels is sigmoid(2).
    assert torch.allclose(module(x), x / (1 + math.exp(-2)))
    # Means -2 and 1; reduced -0.5, ReLU 0; expanded -1; the gate is sigmoid(-1).
    assert torch.allclose(module(-x), -x / (1 + math.exp(1)))


def test_network_from_plain_values() -> None:
    layers = [
        ("dconv", 3, 1, 0.0, "none", 4),
        ("mbconv3", 5, 2, 0.25, "pool", 8),
        ("mbconv3", 5, 1, 0.25, "identity", 8),
    ]
    network = Network(channels=1, classes=3, stem=4, stem_stride=2, layers=layers, head=16, activation="hswish")
    assert network(torch.randn(2, 1, 9, 9)).shape == (2, 3)
    assert sum(isinstance(module, nn.Hardswish) for module in network.modules()) == 1 + 1 + 2 + 2 + 1


def test_initial_weights_keep_the_signal() -> None:
    torch.manual_seed(0)
    layers = [("mbconv6", 3, 1, 0.0, "none", 64)]
    network = Network(channels=3, classes=10, stem=64, stem_stride=1, layers=layers, head=128)
    expand, depthwise, project = (module for module in network.layers[0].body if isinstance(module, nn.Conv2d))
    # He's deviation sqrt(2 / outgoing): 1x1 to 384; 3x3 to one channel of its group; 1x1 to 64.
    assert expand.weight.std().item() == pytest.approx(math.sqrt(2 / 384), rel=0.05)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.05)
    assert project.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not network.classifier.bias.any()


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    layers = [("conv", 3, 2, 0.25, "pool", 8), ("mbconv3", 5, 1, 0.25, "identity", 8)]
    network = Network(channels=3, classes=2, stem=8, stem_stride=1, layers=layers, head=16)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert without == []


def test_padding_like_tensorflow_by_hand() -> None:
    # 4 pixels, kernel 3, stride 2: 2 outputs need 2 * 1 + 3 = 5 pixels, so one zero goes to the right and below.
    network = Network(channels=1, classes=2, stem=1, stem_stride=2, layers=[], head=0, same_padding=4)
    stem = network.stem[0]
    assert isinstance(stem, PaddedConv2d)
    assert stem.sides == (0, 1, 0, 1)
    nn.init.ones_(stem.weight)
    image = torch.arange(16.0).view(1, 1, 4, 4)
    # Rows 0-2 and columns 0-2: 0+1+2+4+5+6+8+9+10 = 45; columns 2-4: 2+3+6+7+10+11 = 39; rows 2-4:
    # 8+9+10+12+13+14 = 66; the corner: 10+11+14+15 = 50.
    assert stem(image).flatten().tolist() == [45, 39, 66, 50]


@pytest.mark.parametrize("size", [5, 32, 33])
def test_padding_keeps_the_sizes(size: int) -> None:
    layers = [("mbconv3", 5, 2, 0.0, "none", 8), ("conv", 3, 2, 0.0, "pool", 8), ("separable", 3, 1, 0.0, "none", 4)]
    arguments = {"channels": 1, "classes": 2, "stem": 4, "stem_stride": 2, "layers": layers, "head": 0}
    image = torch.randn(1, 1, size, size)
    plain = Network(**arguments).eval()  # type: ignore[arg-type]
    padded = Network(**arguments, same_padding=size).eval()  # type: ignore[arg-type]
    assert plain.layers(plain.stem(image)).shape == padded.layers(padded.stem(image)).shape


def test_a_network_without_head() -> None:
    network = Network(channels=3, classes=5, stem=8, stem_stride=1, layers=[], head=0)
    # Stem 3*3*3*8 + 16, classifier 8*5 + 5.
    assert params(network) == 216 + 16 + 45
    assert network(torch.randn(2, 3, 6, 6)).shape == (2, 5)
