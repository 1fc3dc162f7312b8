"""The preprocessing of an ONNX graph: raw pixels in place of normalised images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node, make_tensor_type_proto


def take_pixels(model: onnx.ModelProto, mean: Sequence[float], std: Sequence[float]) -> None:
    """Makes a graph of float images `(N, C, H, W)` one of uint8 images `(N, H, W, C)`, in place; names stay.

    A pixel is scaled to [0, 1], less the mean, over the deviation: one difference and one product, since each node
    costs a small network as much as a layer of it.

    Args:
        mean: Per channel, of pixels scaled to [0, 1].
        std: Per channel, of the same.
    """
    graph = model.graph
    (images,) = graph.input
    normalised, offset, scale = (f"{images.name}_{part}" for part in ("normalised", "offset", "scale"))
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == images.name:
                node.input[place] = normalised
    batch, channels, height, width = images.type.tensor_type.shape.dim
    sides = [batch.dim_param or batch.dim_value, height.dim_value, width.dim_value, channels.dim_value]
    images.type.CopyFrom(make_tensor_type_proto(onnx.TensorProto.UINT8, sides))
    constants = {
        offset: 255 * np.asarray(mean, np.float64),
        scale: 1 / (255 * np.asarray(std, np.float64)),
    }
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32).reshape(1, -1, 1, 1), name))
    planes, floats, centred = (f"{images.name}_{part}" for part in ("planes", "floats", "centred"))
    nodes = [
        make_node("Transpose", [images.name], [planes], planes, perm=[0, 3, 1, 2]),
        make_node("Cast", [planes], [floats], floats, to=onnx.TensorProto.FLOAT),
        make_node("Sub", [floats, offset], [centred], centred),
        make_node("Mul", [centred, scale], [normalised], normalised),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)
