"""Memory of a network, read off its ONNX graph: the peak of live activations, and the weights."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from archfit.errors import DeviceError

_FLOAT_BYTES = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.BFLOAT16: 2,
    onnx.TensorProto.DOUBLE: 8,
}

# Operators whose output only looks at the input's buffer in another shape.
_VIEWS = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze"})

# Operators that compute each output element from the input element at the same place, so may overwrite it.
# fmt: off
_ELEMENTWISE = frozenset({
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu",
    "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh",
})
# fmt: on


def peak_activation_bytes(model: bytes) -> int:
    """The largest sum of float tensors alive at once while nodes are executed one by one in graph order.

    Inputs and outputs of a node are alive together, except that the output of an element-wise operator takes the
    place of an equally large input that nothing reads later. A tensor dies after its last reader; graph outputs stay.
    Weights and what is computed from them alone are no activations. Scratch memory of the runtime's own is not seen.

    Args:
        model: Serialised ONNX with static shapes, as of `export_candidate`.

    Raises:
        DeviceError: The model cannot be parsed, or the shape of a float tensor is not fixed.
    """
    graph = inferred_graph(model)
    sizes = _float_sizes(graph)
    constants = {weight.name for weight in graph.initializer}
    activations: list[onnx.NodeProto] = []
    for node in graph.node:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
        else:
            activations.append(node)

    inputs = [value.name for value in graph.input if value.name not in constants]
    owner = {name: name for name in inputs}  # tensor -> the tensor in whose buffer it lies
    for node in activations:
        for name in node.output:
            owner[name] = owner[node.input[0]] if node.op_type in _VIEWS and node.input[0] in owner else name
    last_reader = {owner[name]: -1 for name in owner}
    for index, node in enumerate(activations):
        last_reader.update({owner[name]: index for name in node.input if name in owner})
    last_reader.update({owner[value.name]: len(activations) for value in graph.output if value.name in owner})

    def size(name: str) -> int:
        if name not in sizes:
            raise DeviceError(f"tensor {name!r} of the exported network has no fixed shape; export with a fixed batch")
        return sizes[name]

    live = {name: size(name) for name in inputs}
    peak = sum(live.values())
    for index, node in enumerate(activations):
        dying = {owner[name] for name in node.input if name in owner and last_reader[owner[name]] == index}
        overwritten: set[str] = set()
        for name in node.output:
            if not name or owner[name] in live:
                continue
            live[name] = size(name)
            if node.op_type in _ELEMENTWISE:
                spare = (old for old in sorted(dying - overwritten) if live[old] == live[name])
                overwritten.update([old] if (old := next(spare, None)) else [])
        peak = max(peak, sum(live.values()) - sum(live[old] for old in overwritten))
        for name in [*dying, *(owner[name] for name in node.output if name)]:
            if last_reader[name] <= index:
                live.pop(name, None)
    return peak


def weights_bytes(model: bytes) -> int:
    """Bytes of all weights stored in a serialised ONNX model. Raises `DeviceError` if it cannot be parsed."""
    return sum(
        math.prod(weight.dims) * onnx.helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize
        for weight in parse_model(model).graph.initializer
    )


def parse_model(model: bytes) -> onnx.ModelProto:
    """Inverse of serialising. Raises `DeviceError` where the bytes are no ONNX model."""
    try:
        return onnx.load_from_string(model)
    except Exception as error:
        raise DeviceError(f"{len(model)} bytes are no ONNX model: {error}; export the network again") from error


def inferred_graph(model: bytes) -> onnx.GraphProto:
    """The graph of a serialised model with all shapes that can be known.

    What is computed from constants or from known shapes alone is folded first: the tracing exporter computes the
    amounts of a padding so, and whatever a module derives from `x.shape`.
    """
    proto = parse_model(model)
    while True:
        _fold_constants(proto)
        del proto.graph.value_info[:]  # the exporter wrote unknown dimensions there
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        if not _fold_shapes(proto, inferred.graph):
            return inferred.graph


def _fold_constants(proto: onnx.ModelProto) -> None:
    """Replaces nodes whose inputs are all constant by their values, in place."""
    graph = proto.graph
    values = {weight.name: weight for weight in graph.initializer}
    kept = []
    for node in graph.node:
        if not all(name in values for name in node.input if name):
            kept.append(node)
            continue
        inputs = {name: onnx.numpy_helper.to_array(values[name]) for name in node.input if name}
        results = ReferenceEvaluator(node, opsets={"": _opset(proto)}).run(None, inputs)
        for name, value in zip(node.output, results, strict=True):
            values[name] = onnx.numpy_helper.from_array(np.asarray(value), name)
            graph.initializer.append(values[name])
    del graph.node[:]
    graph.node.extend(kept)


def _fold_shapes(proto: onnx.ModelProto, inferred: onnx.GraphProto) -> bool:
    """Replaces `Shape` of tensors whose shape is known by its value, in place; says whether there were any."""
    known = {}
    for value in (*inferred.input, *inferred.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            known[value.name] = np.array([dim.dim_value for dim in dims], dtype=np.int64)
    graph = proto.graph
    kept = []
    for node in graph.node:
        if node.op_type != "Shape" or node.input[0] not in known:
            kept.append(node)
            continue
        span = {attribute.name: attribute.i for attribute in node.attribute}
        value = known[node.input[0]][span.get("start") : span.get("end")]
        graph.initializer.append(onnx.numpy_helper.from_array(value, node.output[0]))
    folded = len(kept) < len(graph.node)
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _opset(proto: onnx.ModelProto) -> int:
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def _float_sizes(graph: onnx.GraphProto) -> dict[str, int]:
    """Bytes of each tensor with a fixed shape; 0 for those that are not float."""
    sizes: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type not in _FLOAT_BYTES:
            sizes[value.name] = 0
        elif tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            sizes[value.name] = _FLOAT_BYTES[tensor.elem_type] * math.prod(dim.dim_value for dim in tensor.shape.dim)
    return sizes
