"""A network of the macro space in steps: rows of a table for pictures, and pieces for a latency table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archfit.architecture import Task
from archfit.cost import Piece
from archfit.nn.macro import LayerSpec, reduced_after
from archfit.spaces.mnas_layers import LayerRow

_KINDS = {"conv": "conv", "sep": "separable", "avg": "pool", "max": "pool"}


@dataclass(frozen=True)
class Step:
    """A row of the table, and the pieces that make it up."""

    row: LayerRow
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class _Work:
    """What a part of the network does; fields as in `LayerRow` and `Piece`."""

    params: int = 0
    madds: int = 0
    elements: int = 0

    def __add__(self, other: _Work) -> _Work:
        return _Work(self.params + other.params, self.madds + other.madds, self.elements + other.elements)


def network_steps(literals: Mapping[str, Any], task: Task) -> list[Step]:
    """Stem, layers, each followed by the reductions after it, mean and classifier.

    Worked out from the shapes: a search asks for the pieces of every architecture that it samples.

    Args:
        literals: The arguments of `Network`.
        task: What it is built for.
    """
    filters, specs = literals["filters"], [LayerSpec(*values) for values in literals["layers"]]
    size, step = _stem(literals, task)
    steps, plan = [step], reduced_after(specs)
    for number, spec in enumerate(specs, 1):
        steps.append(_layer(number, spec, filters, size))
        for each in plan.get(number, ()):
            steps.append(_reduction(each, number, filters, size))
        if number in plan:
            size = -(-size // 2)
    return [*steps, *_classifier(filters, size, task.classes)]


def _stem(literals: Mapping[str, Any], task: Task) -> tuple[int, Step]:
    """Height and width of its output, and the stem."""
    size, inputs, filters, work = task.image_size, task.channels, literals["filters"], _Work()
    for stride in literals["stem_strides"]:
        work += _Work(elements=inputs * size**2)
        size = -(-size // stride)
        work += _Work(9 * inputs * filters, 9 * inputs * filters * size**2, filters * size**2) + _norm(filters)
        inputs = filters
    key = f"{task.image_size}x{task.image_size} stem {task.channels}>{filters}"
    detail = ", ".join("3x3" if stride == 1 else f"3x3, stride {stride}" for stride in literals["stem_strides"])
    return size, Step(_row("stem", "conv", detail, (filters, size, size), work), (_piece(key, "stem", work),))


def _layer(number: int, spec: LayerSpec, filters: int, size: int) -> Step:
    area = filters * size**2
    work, key = _operation(spec.op, filters, size), f"{size}x{size} {spec.op} {filters}"
    if number > 1:  # the batch norm after the sum has no convolution to merge with
        work, key = work + _norm(filters) + _Work(elements=2 * area), f"{size}x{size} {spec.op} norm {filters}"
    sums = [_Work(elements=3 * area)] * len(spec.skips)
    pieces = [_piece(key, spec.op, work)] + [_piece(f"{size}x{size} sum {filters}", "sum", each) for each in sums]
    kind, kernel = _KINDS[spec.op[:-1]], f"{spec.op[-1]}x{spec.op[-1]}"
    detail = {"avg": "mean ", "max": "maximum "}.get(spec.op[:-1], "") + kernel
    if spec.skips:
        detail += ", skips from " + ", ".join(_output(each) for each in spec.skips)
    row = _row(f"layer {number}", kind, detail, (filters, size, size), sum(sums, work))
    return Step(row, tuple(pieces))


def _operation(name: str, filters: int, size: int) -> _Work:
    """1x1 convolution first; activations and the batch norms of convolutions pass over nothing on their own."""
    area, kernel = filters * size**2, int(name[-1])
    mixing = _Work(filters**2, filters * area, 2 * area) + _norm(filters)
    if name.startswith("conv"):
        return mixing + _Work(kernel**2 * filters**2, kernel**2 * filters * area, 2 * area) + _norm(filters)
    if name.startswith("sep"):
        return mixing + _Work(kernel**2 * filters, kernel**2 * area, 2 * area) + mixing
    return mixing + _Work(elements=2 * area)


def _reduction(output: int, after: int, filters: int, size: int) -> Step:
    """Its second convolution computes a row and a column more than are kept."""
    half, small = filters // 2, -(-size // 2)
    work = _Work(elements=2 * filters * size**2) + _norm(filters)
    for computed in (small, small + 1):
        work += _Work(filters * half, filters * half * computed**2, half * computed**2)
    work += _Work(elements=4 * filters * small**2)  # the halves are put together, then normalised
    row = _row(f"{_output(output)} reduced", "reduction", f"after layer {after}", (filters, small, small), work)
    return Step(row, (_piece(f"{size}x{size} reduction {filters}", "reduction", work),))


def _classifier(filters: int, size: int, classes: int) -> list[Step]:
    mean = _Work(elements=filters * size**2 + filters)
    linear = _Work(filters * classes + classes, filters * classes, filters + classes)
    pieces = (_piece(f"{size}x{size} mean {filters}>{classes}", "linear", mean + linear),)
    return [
        Step(_row("pool", "pool", "mean over the image", (filters,), mean), ()),
        Step(_row("classifier", "linear", f"{classes} classes", (classes,), linear), pieces),
    ]


def _norm(filters: int) -> _Work:
    return _Work(2 * filters)


def _output(number: int) -> str:
    return f"layer {number}" if number else "stem"


def _row(name: str, kind: str, detail: str, shape: tuple[int, ...], work: _Work) -> LayerRow:
    return LayerRow(name, kind, detail, shape, work.params, work.madds)


def _piece(key: str, kind: str, work: _Work) -> Piece:
    return Piece(key, kind, work.params, work.madds, work.elements)
