"""Runtimes: what executes a network on this machine."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from archfit.device.memory import parse_model
from archfit.errors import DeviceError, unknown_name

Call = Callable[[], object]


@runtime_checkable
class Runtime(Protocol):
    """Prepares networks so that one inference is one call without arguments."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def load(self, model: bytes, module: nn.Module | None, threads: int) -> Call:
        """One inference of batch 1 on a fixed random image, to be called within `running(threads)`.

        Args:
            model: Serialised ONNX; its input decides the image.
            module: The same network with the same input, for a runtime that runs modules; it is not changed.
            threads: That one inference may use.

        Raises:
            DeviceError: The runtime cannot take the network, or needs the module and got None.
        """
        ...

    def running(self, threads: int) -> AbstractContextManager[None]:
        """What must hold while calls run; everything is as before on leaving."""
        ...


class OnnxRuntime:
    """ONNX Runtime on the CPU, all graph optimisations, one operator after the other."""

    name = "onnxruntime"
    version: str = onnxruntime.__version__

    def load(self, model: bytes, module: nn.Module | None, threads: int) -> Call:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # Threads spin within an inference, as by default, but not after it: the next block is another network's.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # Its messages have several lines; the first begins with a status and the place in its own source.
            line = str(error).partition("\n")[0].split(" : ", 3)[-1]
            reason = re.sub(r"^/\S+\.cc:\d+ .*?\) ", "", line)[:200]
            raise DeviceError(
                f"onnxruntime {self.version} cannot load the network ({reason}); give a whole ONNX file of image input"
            ) from error
        # A plain run with everything prepared takes the same time as IOBinding (no difference seen at 0.3 ms).
        outputs = [output.name for output in session.get_outputs()]
        image = example_input(model)
        feed = {session.get_inputs()[0].name: image}
        return lambda: session.run(outputs, feed)

    def running(self, threads: int) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


class TorchRuntime:
    """Eager PyTorch on the CPU, in inference mode."""

    name = "torch"
    version: str = torch.__version__

    def load(self, model: bytes, module: nn.Module | None, threads: int) -> Call:
        if module is None:
            raise DeviceError("runtime torch runs modules, and got only the exported network; use onnxruntime")
        network = copy.deepcopy(module).cpu().eval()
        image = torch.from_numpy(example_input(model))
        return lambda: network(image)

    @contextlib.contextmanager
    def running(self, threads: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)


RUNTIMES: dict[str, Callable[[], Runtime]] = {"onnxruntime": OnnxRuntime, "torch": TorchRuntime}


def get_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises `InputError` with the nearest name."""
    if name not in RUNTIMES:
        raise unknown_name("runtime", name, RUNTIMES)
    return RUNTIMES[name]()


def runtime_label(runtime: Runtime) -> str:
    """Name and version, as in "onnxruntime 1.31.1"; part of the cost cache's key."""
    return f"{runtime.name} {runtime.version}"


def example_input(model: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32 | np.uint8]]:
    """What a serialised ONNX model takes: the same random image every time, a free dimension being 1.

    Returns:
        Standard normal for a float32 input, uniform for a uint8 one.

    Raises:
        DeviceError: The model is no ONNX, or its input is of another type.
    """
    inputs = parse_model(model).graph.input
    if len(inputs) != 1:
        raise DeviceError(f"the network has {len(inputs)} inputs; a network is measured with one image")
    tensor = inputs[0].type.tensor_type
    shape = tuple(dim.dim_value or 1 for dim in tensor.shape.dim)
    generator = np.random.default_rng(0)
    if tensor.elem_type == onnx.TensorProto.FLOAT:
        return generator.standard_normal(shape, dtype=np.float32)
    if tensor.elem_type == onnx.TensorProto.UINT8:
        return generator.integers(0, 256, shape, dtype=np.uint8)
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    raise DeviceError(f"the network's input is {kind}; a network is measured with a FLOAT or UINT8 image")
