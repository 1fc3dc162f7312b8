"""Modules as ONNX: quickly in memory for measuring, completely as a file for the winner."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from archfit._files import write_whole
from archfit.architecture import Task
from archfit.device.memory import parse_model
from archfit.device.pixels import take_pixels
from archfit.device.pools import convolve_average_pools
from archfit.errors import DeviceError

_MEAN, _STD = 0.5, 0.25  # of no dataset; a runtime leaves out what subtracts 0 or multiplies by 1


def export_candidate(module: nn.Module, task: Task) -> bytes:
    """A network as serialised ONNX for measuring; the module itself is not touched.

    The tracing exporter is used although it is the older one: it takes 0.2 s where the other takes 5 s, and after
    graph optimisation both run at the same speed. Batch norms are folded into the convolutions before them.

    Args:
        module: `(N, channels, image_size, image_size)` float in, `(N, classes)` logits out.
        task: Decides the input, `(1, channels, image_size, image_size)` float32 with a fixed batch of 1.

    Raises:
        DeviceError: The module cannot be run or has no counterpart in ONNX.
    """
    image = torch.zeros(1, task.channels, task.image_size, task.image_size)
    buffer = io.BytesIO()
    with _exporting(), torch.no_grad():
        torch.onnx.export(
            _evaluation_copy(module),
            (image,),
            buffer,  # type: ignore[arg-type]  # accepted by the tracing exporter, not in its signature
            dynamo=False,
            input_names=["images"],
            output_names=["logits"],
        )
    model = onnx.load_from_string(buffer.getvalue())
    convolve_average_pools(model)
    return bytes(model.SerializeToString())


def as_deployed(candidate: bytes) -> bytes:
    """The ONNX of `export_candidate` with a preprocessing inside: what `export_winner` costs, in a tenth of the time.

    It takes `(1, image_size, image_size, channels)` uint8 and has neither the dataset's statistics nor class names.

    Raises:
        DeviceError: The bytes are no ONNX model.
    """
    model = parse_model(candidate)
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    take_pixels(model, [_MEAN] * channels, [_STD] * channels)
    return bytes(model.SerializeToString())


def export_winner(
    module: nn.Module,
    task: Task,
    path: Path,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str],
    metadata: Mapping[str, str],
) -> None:
    """One ONNX file that takes raw pixels: preprocessing, weights and class names are inside.

    Input `images` is uint8 `(N, image_size, image_size, channels)`, output `logits` float32 `(N, classes)`, any N.
    The file appears complete or not at all; the module itself is not touched.

    Args:
        mean: Per channel, of pixels scaled to [0, 1].
        std: Per channel, of the same.
        classes: Names in the order of the logits.
        metadata: Further entries for the file's metadata, beside `classes`, `mean` and `std` (JSON lists),
            `image_size`, `channels` and `archfit_version`.

    Raises:
        DeviceError: The module cannot be exported, or the file cannot be written.
    """
    if len(classes) != task.classes or not len(mean) == len(std) == task.channels:
        raise DeviceError(
            f"cannot export: {len(classes)} class names, {len(mean)} means and {len(std)} deviations were given for "
            f"{task.classes} classes and {task.channels} channels; give one each"
        )
    # Two images, since the exporter would take an example of one for a batch that is always one.
    images = torch.zeros(2, task.channels, task.image_size, task.image_size)
    with _exporting(), torch.no_grad():
        program = torch.onnx.export(
            _evaluation_copy(module),
            (images,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
        )
    assert program is not None
    model = program.model_proto
    _drop_traces(model)
    convolve_average_pools(model)
    take_pixels(model, mean, std)
    entries = {
        "archfit_version": version("archfit"),
        "classes": json.dumps(list(classes)),
        "mean": json.dumps([float(value) for value in mean]),
        "std": json.dumps([float(value) for value in std]),
        "image_size": str(task.image_size),
        "channels": str(task.channels),
        **metadata,
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries)
    _write(path, model.SerializeToString())


def _evaluation_copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU in eval mode: moving the module itself and back could fail half-way.

    Nothing in it works in place: an activation that does is taken apart by the newer exporter, and put together again,
    in more than half of its time.
    """
    try:
        copied = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:
        raise DeviceError(f"cannot export {type(module).__name__}: it cannot be copied: {error}") from error
    for part in copied.modules():
        if getattr(part, "inplace", None) is True:
            part.inplace = False  # type: ignore[assignment]
    return copied


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """The exporters' chatter is held back, and their many errors become one."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DeviceError(f"the network cannot be exported to ONNX: {reason}; use operations that ONNX has") from error
    finally:
        logger.setLevel(level)


def _drop_traces(model: onnx.ModelProto) -> None:
    """Take out what the exporter writes for its own debugging, paths of source files among it."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
    values: list[Any] = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    for value in values:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise DeviceError(
            f"cannot write {path}: {error.strerror}; free some space or choose a folder that can be written"
        ) from error
