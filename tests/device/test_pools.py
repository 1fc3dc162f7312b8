"""Average pools as convolutions."""

from __future__ import annotations

import io

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from archfit.device.pools import convolve_average_pools


def exported(pool: nn.Module, channels: int) -> onnx.ModelProto:
    network = nn.Sequential(nn.Conv2d(3, channels, 1), pool, nn.Conv2d(channels, 4, 1)).eval()
    buffer = io.BytesIO()
    torch.onnx.export(network, (torch.zeros(1, 3, 9, 7),), buffer, dynamo=False, input_names=["images"])  # type: ignore[arg-type]
    return onnx.load_from_string(buffer.getvalue())


def answer(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(1, 3, 9, 7)).astype(np.float32)
    found: np.ndarray = session.run(None, {"images": images})[0]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("pool", "channels", "left"),
    [
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), 12, 0),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), 20, 0),
        (nn.AvgPool2d((5, 3), (1, 2), (2, 1), count_include_pad=False), 12, 0),
        (nn.AvgPool2d(3, 1, 1), 12, 0),
        (nn.AvgPool2d(2), 12, 0),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), 16, 1),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), 12, 1),
        (nn.MaxPool2d(3, 1, 1), 12, 0),
    ],
)
def test_the_same_is_computed_by_convolutions(pool: nn.Module, channels: int, left: int) -> None:
    model = exported(pool, channels)
    before = answer(model)
    convolve_average_pools(model)
    onnx.checker.check_model(model)
    assert sum("AveragePool" in node.op_type for node in model.graph.node) == left
    np.testing.assert_allclose(answer(model), before, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_pool_of_unknown_size_stays() -> None:
    model = exported(nn.AvgPool2d(3, 1, 1), 12)
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_param = "S"
    del model.graph.value_info[:]
    convolve_average_pools(model)
    assert any(node.op_type == "AveragePool" for node in model.graph.node)
