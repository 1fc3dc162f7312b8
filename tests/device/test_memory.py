"""Peaks worked out by hand: a float takes 4 bytes, so a (1, C, H, W) tensor takes 4*C*H*W."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.device import export_candidate, peak_activation_bytes, weights_bytes
from archfit.errors import DeviceError

TASK = Task(channels=3, image_size=8, classes=4)  # input: 3*8*8 = 192 floats, 768 bytes


class Residual(nn.Module):
    """The input lives until the addition."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 10, 1)
        self.project = nn.Conv2d(10, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(images + self.project(torch.relu(self.expand(images))))


def _model(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...] | tuple[str | int, ...], weights: dict[str, int]
) -> bytes:
    """One input `x`, one output `y` of unknown shape; 1x1 convolution weights by name -> (outputs, inputs)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros((n, c, 1, 1), np.float32), name) for name, (n, c) in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def test_chain_peaks_at_the_widest_pair() -> None:
    # conv 3->8 at 8x8:  768 in + 2048 out = 2816 bytes
    # conv 8->16 at 4x4: 2048 in + 4*16*16 = 1024 out = 3072 bytes  <- peak
    # conv 16->4 at 4x4: 1024 in + 256 out = 1280 bytes
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 2, stride=2), nn.Conv2d(16, 4, 1))
    assert peak_activation_bytes(export_candidate(network, TASK)) == 3072


def test_relu_overwrites_its_input() -> None:
    # conv 3->8: 768 + 2048 = 2816; relu in place: 2048
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
    assert peak_activation_bytes(export_candidate(network, TASK)) == 2816


def test_skip_connection_keeps_the_input_alive() -> None:
    # expand:  input 768 + hidden 4*10*64 = 2560                 = 3328
    # relu:    in place, input still alive                       = 3328
    # project: input 768 + hidden 2560 + output 768              = 4096  <- peak
    # add and relu: two tensors of 768, output over one of them  = 1536
    assert peak_activation_bytes(export_candidate(Residual(), TASK)) == 4096


def test_element_wise_output_needs_room_while_its_input_is_still_read() -> None:
    # x is 1*2*4*4 floats = 128 bytes
    # a = relu(x): x is read again, so x + a = 256;  b = conv(a) 2->2: x + a + b = 384  <- peak
    # y = x + b: over one of them, 256
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("Add", ["x", "b"], ["y"]),
    ]
    assert peak_activation_bytes(_model(nodes, (1, 2, 4, 4), {"w": (2, 2)})) == 384


def test_broadcast_gate_overwrites_the_large_operand_only() -> None:
    # x 128 bytes; gate g = GlobalAveragePool(x): 2 floats = 8 bytes: 136; y = x * g over x: 128 + 8 = 136
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["g"]), helper.make_node("Mul", ["g", "x"], ["y"])]
    assert peak_activation_bytes(_model(nodes, (1, 2, 4, 4), {})) == 136


def test_flatten_is_a_view_that_keeps_its_buffer_alive() -> None:
    # f looks at x (128 bytes) and is the output's operand later, so x's buffer stays through the convolution:
    # c = conv(x) 2->2: 128 + 128 = 256; g = flatten(c): a view; y = f + g: over one of the two, 256
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Flatten", ["c"], ["g"]),
        helper.make_node("Add", ["f", "g"], ["y"]),
    ]
    assert peak_activation_bytes(_model(nodes, (1, 2, 4, 4), {"w": (2, 2)})) == 256


def test_what_is_computed_from_weights_alone_is_no_activation() -> None:
    # The large weight v (64*64 floats) goes through Identity: only x (128) and y (64*16*4 = 4096) count.
    nodes = [helper.make_node("Identity", ["v"], ["u"]), helper.make_node("Conv", ["x", "u"], ["y"])]
    assert peak_activation_bytes(_model(nodes, (1, 2, 4, 4), {"v": (64, 2)})) == 128 + 4096


def test_weights_are_those_of_the_folded_network() -> None:
    # conv 3->8, 3x3, and the bias that batch norm folds into: 3*8*9 + 8 = 224 floats; linear 8->4: 36 floats
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    assert weights_bytes(export_candidate(network, TASK)) == 4 * (224 + 36)


def test_free_dimensions_are_refused() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(DeviceError, match="fixed shape"):
        peak_activation_bytes(_model(nodes, ("N", 2, 4, 4), {}))


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(DeviceError, match="no ONNX model"):
        weights_bytes(b"\xff\xffnot a model")


class _Shuffle(nn.Module):
    """Channels interleaved by groups of two, with sizes read off the tensor as many networks do."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = images.shape
        grouped = images.view(count, 2, channels // 2, height, width).transpose(1, 2)
        return grouped.reshape(count, channels, height, width).mean((2, 3))


def test_sizes_read_off_a_tensor_are_known() -> None:
    task = Task(channels=4, image_size=8, classes=4)
    model = export_candidate(nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), _Shuffle()), task)
    # Input 4 * 8 * 8 = 256 floats with the convolution's output 6 * 64 = 384: 640 floats. The transposition then holds
    # its input and output, 2 * 384 = 768 floats of 4 bytes; the views take none.
    assert peak_activation_bytes(model) == 768 * 4
