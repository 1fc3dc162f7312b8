"""A network of cells in parts whose latencies add up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from archfit.architecture import Task
from archfit.cost import Piece, count_params
from archfit.nn.cell_operations import FactorisedReduction, Pool, operation
from archfit.nn.cells import CellSpec, places, states_read, stems

_KEPT = 2**14


def cell_pieces(literals: Mapping[str, Any], task: Task) -> list[Piece]:
    """Stem, classifier with the mean before it, and of each cell its entries, operations, sums and concatenation.

    Args:
        literals: The arguments of `CellNetwork`.
        task: What it is built for.
    """
    stem, stem_filters = literals["stem"], literals["stem_filters"]
    pieces, sizes = _stem(stem, task.channels, stem_filters, task.image_size)
    specs = {
        False: CellSpec(literals["normal"], literals["normal_outputs"]),
        True: CellSpec(literals["reduction"], literals["reduction_outputs"]),
    }
    channels, found = [stem_filters, stem_filters], list(pieces)
    for place in places(stem, literals["filters"], literals["cells"], last_relu=literals["last_relu"]):
        spec, filters = specs[place.reduces], place.filters
        size = sizes[-1]
        after, read = -(-size // 2) if place.reduces else size, states_read(spec)
        parts = []
        if 0 in read and not place.bare:
            name = "identity" if place.shrink else "conv1"
            parts.append(_operation(name, channels[-2], filters, 1 + place.shrink, sizes[-2]))
        if 1 in read:
            parts.append(_operation("conv1", channels[-1], filters, 1, size))
        for node in spec.nodes:
            for name, state in node:
                inputs = channels[-2] if place.bare and state == 0 else filters
                stride = 2 if place.reduces and state < 2 else 1
                parts.append(_operation(name, inputs, filters, stride, size if state < 2 else after))
            parts.append(_passing("sum", f"{filters}", 3 * filters, after))
        outputs = len(spec.outputs)
        parts.append(_passing("concatenation", f"{outputs}x{filters}", 2 * outputs * filters, after))
        found += [piece for piece in parts if piece is not None]
        channels.append(filters * len(spec.outputs))
        sizes = (size, after)
    return [*found, _classifier(channels[-1], task.classes, sizes[-1])]


@lru_cache(_KEPT)
def _stem(stem: str, inputs: int, filters: int, size: int) -> tuple[tuple[Piece, ...], tuple[int, int]]:
    """With the height and width of the first cell's two inputs."""
    with torch.device("meta"):
        modules = [module for module in stems(stem, inputs, filters, 1e-5) if module is not None]
    pieces, sizes = [], []
    for number, module in enumerate(modules):
        madds, elements, (after, _) = _work(module, filters if number else inputs, (size, size))
        key = f"{size}x{size} stem {stem} {filters if number else inputs}>{filters}"
        pieces.append(Piece(key, "stem", count_params(module), madds, elements))
        sizes.append(after)
        size = after
    return tuple(pieces), (sizes[0], sizes[-1])


@lru_cache(_KEPT)
def _operation(name: str, inputs: int, filters: int, stride: int, size: int) -> Piece | None:
    """None where nothing is computed."""
    with torch.device("meta"):
        module = operation(name, inputs, filters, stride, 1e-5)
    if isinstance(module, nn.Identity):
        return None
    madds, elements, _ = _work(module, inputs, (size, size))
    return Piece(f"{size}x{size} {name} s{stride} {inputs}>{filters}", name, count_params(module), madds, elements)


def _passing(kind: str, detail: str, channels: int, size: int) -> Piece:
    """What only reads and writes so many channels."""
    return Piece(f"{size}x{size} {kind} {detail}", kind, 0, 0, channels * size**2)


def _classifier(inputs: int, classes: int, size: int) -> Piece:
    weights = inputs * classes
    key = f"{size}x{size} mean {inputs}>{classes}"
    return Piece(key, "linear", weights + classes, weights, inputs * (size**2 + 2) + classes)


def _work(module: nn.Module, inputs: int, size: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
    """Multiply-adds of a module, activations it reads and writes, and the size of its output.

    Batch norms and ReLUs count nothing: runtimes fold them into the convolutions.
    """
    if isinstance(module, nn.Conv2d):
        assert not isinstance(module.padding, str)
        geometry = zip(size, module.padding, module.dilation, module.kernel_size, module.stride, strict=True)
        high, wide = ((extent + 2 * pad - gap * (k - 1) - 1) // step + 1 for extent, pad, gap, k, step in geometry)
        elements = module.in_channels * size[0] * size[1] + module.out_channels * high * wide
        return module.weight.numel() * high * wide, elements, (high, wide)
    if isinstance(module, FactorisedReduction):
        one, other = (_work(each, inputs, size) for each in (module.even, module.odd))
        return one[0] + other[0], one[1] + other[1], one[2]
    madds, elements = 0, 0
    if isinstance(module, Pool):
        before, size = size, (-(-size[0] // module.stride), -(-size[1] // module.stride))
        elements += inputs * (before[0] * before[1] + size[0] * size[1])
    for child in module.children():
        more, others, size = _work(child, inputs, size)
        madds, elements = madds + more, elements + others
    return madds, elements, size
