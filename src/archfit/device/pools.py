"""Average pools of an ONNX graph as convolutions, which ONNX Runtime computes in a fraction of the time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import get_attribute_value, make_node

_BLOCK = 16
"""ONNX Runtime's quick average pool takes channels in blocks of 8 or 16, by the processor; all else is slow."""


def convolve_average_pools(model: onnx.ModelProto) -> None:
    """Replaces, in place, each average pool whose channels do not fill blocks by a depthwise convolution.

    It has the same weight for every pixel of the window; where the padding does not count, a product with a constant
    image corrects the margins. Pools of other kinds than `(N, C, H, W)` with known C, H and W stay.
    """
    graph = model.graph
    if not any(node.op_type == "AveragePool" for node in graph.node):
        return
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: _sides(value) for value in [*inferred.input, *inferred.value_info]}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        replaced = _convolved(node, shapes.get(node.input[0])) if node.op_type == "AveragePool" else None
        if replaced is None:
            nodes.append(node)
            continue
        found, constants = replaced
        nodes += found
        graph.initializer.extend(constants)
    del graph.node[:]
    graph.node.extend(nodes)


def _sides(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """(C, H, W) of a tensor of images, if they are known."""
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
    return tuple(sides[1:]) if len(sides) == 4 and all(sides[1:]) else None


def _convolved(
    node: onnx.NodeProto, sides: tuple[int, ...] | None
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None:
    given = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    unusual = (
        given.get("ceil_mode")
        or given.get("auto_pad", b"NOTSET") != b"NOTSET"
        or set(given.get("dilations", [1])) != {1}
    )
    if sides is None or sides[0] % _BLOCK == 0 or len(given["kernel_shape"]) != 2 or unusual:
        return None
    (source,), (target,) = node.input, node.output
    kernel, pads = list(given["kernel_shape"]), list(given.get("pads", [0] * 4))
    strides = list(given.get("strides", [1, 1]))
    weights = np.full((sides[0], 1, *kernel), 1 / (kernel[0] * kernel[1]), np.float32)
    weight, margins, summed = f"{target}_weights", f"{target}_margins", f"{target}_summed"
    constants = [numpy_helper.from_array(weights, weight)]
    corrected = any(pads) and not given.get("count_include_pad", 0)
    convolution = make_node(
        "Conv",
        [source, weight],
        [summed if corrected else target],
        kernel_shape=kernel,
        pads=pads,
        strides=strides,
        group=sides[0],
    )
    if not corrected:
        return [convolution], constants
    rows, columns = (
        _inside(sides[1 + axis], kernel[axis], strides[axis], pads[axis], pads[axis + 2]) for axis in (0, 1)
    )
    factors = (kernel[0] * kernel[1] / np.outer(rows, columns)).astype(np.float32)[None, None]
    constants.append(numpy_helper.from_array(factors, margins))
    return [convolution, make_node("Mul", [summed, margins], [target])], constants


def _inside(side: int, kernel: int, stride: int, before: int, after: int) -> list[int]:
    """How many pixels of each window along an axis are in the image."""
    firsts: Iterable[int] = range(-before, side + after - kernel + 1, stride)
    return [min(side, first + kernel) - max(0, first) for first in firsts]
