"""A network of the mnas space in parts whose latencies add up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from archfit.architecture import Task
from archfit.cost import Piece
from archfit.nn.mbconv import EXPANSIONS, LayerSpec, reduced_channels

_KEPT = 2**14


def network_pieces(literals: Mapping[str, Any], task: Task) -> list[Piece]:
    """The stem, every layer, and head with classifier.

    Args:
        literals: The arguments of `Network`.
        task: What it is built for.
    """
    activation, same = literals["activation"], bool(literals["same_padding"])
    channels, size = literals["stem"], task.image_size
    pieces = [_stem(size, literals["stem_stride"], task.channels, channels, activation, same)]
    size = -(-size // literals["stem_stride"])
    for values in literals["layers"]:
        spec = LayerSpec(*values)
        pieces.append(_layer(size, spec, channels, activation, same))
        channels, size = spec.filters, -(-size // spec.stride)
    return [*pieces, _head(size, channels, literals["head"], task.classes, activation)]


@lru_cache(_KEPT)
def _stem(size: int, stride: int, inputs: int, outputs: int, activation: str, same: bool) -> Piece:
    area = (-(-size // stride)) ** 2
    key = f"{size}x{size} stem k3 s{stride} {inputs}>{outputs}{_manner(activation, same and stride > 1)}"
    weights = 9 * inputs * outputs
    return Piece(key, "stem", weights + 2 * outputs, area * weights, size**2 * inputs + area * outputs)


@lru_cache(_KEPT)
def _layer(size: int, spec: LayerSpec, inputs: int, activation: str, same: bool) -> Piece:
    """Batch norms and activations count nothing: runtimes fold them into the convolutions."""
    before, after = size**2, (-(-size // spec.stride)) ** 2
    reduced = reduced_channels(inputs, spec.se)
    kernel, filters = spec.kernel**2, spec.filters
    if spec.op == "conv":
        gated = filters
        params = kernel * inputs * filters + 2 * filters
        madds = after * kernel * inputs * filters
        elements = before * inputs + after * filters
    else:
        gated = wide = inputs * EXPANSIONS[spec.op]
        params = wide * (kernel + filters + 2) + 2 * filters
        madds = after * wide * (kernel + filters)
        elements = before * wide + 2 * after * wide + after * filters
        if wide > inputs:
            params += inputs * wide + 2 * wide
            madds += before * inputs * wide
            elements += before * (inputs + wide)
    if reduced:  # the mean reads, the product reads and writes; two convolutions of one pixel between them
        params += 2 * gated * reduced + gated + reduced
        madds += 2 * gated * reduced
        elements += 3 * after * gated + 2 * (gated + reduced)
    if spec.skip == "pool":  # a depthwise convolution
        madds += 9 * after * inputs
        elements += (before + after) * inputs
    if spec.skip != "none":  # the sum
        elements += 3 * after * filters
    options = [f"{size}x{size} {spec.op} k{spec.kernel} s{spec.stride}"]
    options += [f"se{spec.se:g}"] if reduced else []
    options += [spec.skip] if spec.skip != "none" else []
    key = f"{' '.join(options)} {inputs}>{filters}{_manner(activation, same and spec.stride > 1)}"
    return Piece(key, spec.op, params, madds, elements)


@lru_cache(_KEPT)
def _head(size: int, inputs: int, head: int, classes: int, activation: str) -> Piece:
    """With the mean over the image."""
    area, features = size**2, head or inputs
    outputs = f"{head}>{classes}{_manner(activation, False)}" if head else f"{classes}"
    key = f"{size}x{size} head {inputs}>{outputs}"
    params = inputs * head + 2 * head + features * classes + classes
    madds = area * inputs * head + features * classes
    elements = (area * (inputs + head) if head else 0) + area * features + features + classes
    return Piece(key, "head", params, madds, elements)


def _manner(activation: str, same: bool) -> str:
    """What else makes a difference to the time, where it is not the usual: "" for relu and PyTorch's padding."""
    return (f" {activation}" if activation != "relu" else "") + (" same" if same else "")
