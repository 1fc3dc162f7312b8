"""A network of cells as a table of its cells, and the cells as graphs, for pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from archfit.architecture import Task
from archfit.cost import count_params
from archfit.nn.cells import Cell, CellNetwork, CellSpec, Node
from archfit.spaces.mnas_layers import LayerRow

_STEMS = {"small": "3x3", "cells": "3x3, stride 2", "strided": "3x3, stride 2, twice"}


@dataclass(frozen=True)
class CellGraph:
    """A cell as it is drawn.

    Attributes:
        name: "normal cell" or "reduction cell".
        nodes: Of each node two (operation, state); 0 and 1 are the inputs, 2 is the first node.
        outputs: The states that are concatenated.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]


def cell_rows(literals: Mapping[str, Any], task: Task) -> list[LayerRow]:
    """Stem, cells and classifier with the mean before it, from shapes alone: no weights are made.

    Args:
        literals: The arguments of `CellNetwork`.
        task: What it is built for.
    """
    from torch.utils.flop_counter import FlopCounterMode  # late: it takes 75 MB with triton

    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        network = CellNetwork(**literals).eval()
        image = torch.empty(1, task.channels, task.image_size, task.image_size)
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    flops = {name.partition(".")[2]: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}

    def row(module: str, name: str, kind: str, detail: str) -> LayerRow:
        params = count_params(network.get_submodule(module))
        return LayerRow(name, kind, detail, shapes[module], params, int(flops.get(module, 0)) // 2)

    rows = [row("stem", "stem", "conv", _STEMS[literals["stem"]])]
    if network.second_stem is not None:
        rows.append(row("second_stem", "second stem", "conv", "3x3, stride 2"))
    for number, cell in enumerate(network.cells):
        assert isinstance(cell, Cell)
        kind = "reduction" if cell.place.reduces else "normal"
        rows.append(row(f"cells.{number}", f"cell {number + 1}", kind, _detail(cell.spec, cell.place.filters)))
    return [*rows, row("classifier", "classifier", "linear", f"mean over the image, {task.classes} classes")]


def _detail(spec: CellSpec, filters: int) -> str:
    """As in "20 filters, 3 sep3, 2 max3, 5 outputs"."""
    counts = Counter(name for node in spec.nodes for name, _ in node)
    operations = [f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1])]
    outputs = len(spec.outputs)
    return ", ".join([f"{filters} filters", *operations, f"{outputs} output{'' if outputs == 1 else 's'}"])
