"""The cost of a network that lies in an ONNX file, as it would be deployed."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

from archfit.cost import Cost
from archfit.device.memory import inferred_graph, parse_model, peak_activation_bytes, weights_bytes
from archfit.device.protocol import Device, Quiet
from archfit.errors import DeviceError


def measure_file(path: Path, device: Device, *, runtime: str, threads: int = 1, quiet: Quiet = nullcontext) -> Cost:
    """Everything that an ONNX file tells of itself, and its latency at batch 1; nothing is cached.

    Parameters are the numbers stored as weights (batch norms are folded in by the exporter, so they can be fewer than
    the module's), multiply-adds those of its convolutions and matrix products.

    Raises:
        DeviceError: The file is missing or no network that the runtime takes.
    """
    model = _with_batch_of_one(read_network(path))
    # First, because the runtime knows best what is wrong with a file.
    latency = device.measure(model, None, runtime=runtime, threads=threads, quiet=quiet)
    return Cost(
        params=sum(math.prod(weight.dims) for weight in parse_model(model).graph.initializer),
        madds=_madds(model),
        memory_bytes=peak_activation_bytes(model) + weights_bytes(model),
        latency=latency,
        file_bytes=path.stat().st_size,
    )


def read_network(path: Path) -> bytes:
    """An ONNX file as it lies there. Raises `DeviceError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path} cannot be read ({error.strerror}); give an ONNX file") from None


def _with_batch_of_one(content: bytes) -> bytes:
    """The same model with its free dimensions set to 1, so that all shapes can be inferred."""
    model = parse_model(content)
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _madds(content: bytes) -> int:
    graph = inferred_graph(content)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {weight.name: list(weight.dims) for weight in graph.initializer}
    total = 0
    try:
        for node in graph.node:
            if node.op_type == "Conv":
                total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
            elif node.op_type in ("Gemm", "MatMul"):
                transposed = any(a.name == "transA" and a.i for a in node.attribute)
                inner = shapes[node.input[0]][-2 if transposed else -1]
                total += math.prod(shapes[node.output[0]]) * inner
    except KeyError as missing:
        raise DeviceError(
            f"the shape of {missing} cannot be told, so its multiply-adds cannot be counted; give the network as it "
            "was exported, not as a runtime has optimised it"
        ) from None
    return total
