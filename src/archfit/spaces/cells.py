"""The space of cells of ENAS (arXiv:1802.03268, section 2.4) and NASNet (arXiv:1707.07012)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from archfit.architecture import Architecture, Choice, Task, check_member
from archfit.cost import Piece
from archfit.errors import InputError, unknown_name
from archfit.nn.cell_operations import OPERATIONS
from archfit.nn.cells import CellNetwork, CellSpec, Node
from archfit.spaces.cells_forms import first_form, loose_ends
from archfit.spaces.cells_layers import CellGraph, cell_rows
from archfit.spaces.cells_pieces import cell_pieces
from archfit.spaces.cells_source import network_source
from archfit.spaces.cells_supernet import CellSupernet
from archfit.spaces.mnas_layers import LayerRow
from archfit.spaces.skeleton import SMALL_IMAGE

ENAS_OPERATIONS = ("identity", "sep3", "sep5", "avg3", "max3")
FILTERS = (36, 28, 24, 20, 16, 12, 8, 6, 4)
KINDS = ("normal", "reduce")
STEMS = ("strided", "cells")


@dataclass(frozen=True)
class CellSpace:
    """Two cells, one of them a reduction, of which the whole network is made.

    A node adds up two operations on earlier outputs: 0 is the output of the cell before last, 1 that of the last one,
    2 that of node 1, and so on. What no later node reads, the loose ends, are concatenated and are the cell's output.
    Differences from ENAS's code: there an input that no node reads is a loose end too; in its search the inputs of a
    reduction are halved before the cell, here by its operations, as in its final networks.

    Attributes:
        filters: Channels of a node before the first reduction; each of the two reductions doubles them.
        cells: Number of them, the two reductions among them.
        nodes: In a cell.
        operations: To choose from.
        stem: For images above 64 pixels "strided" (three convolutions of stride 2, as in DARTS) or "cells" (one and
            two reduction cells, as in NASNet); for others it is one convolution of 3 * `filters` channels.
        stem_filters: Of the stem for images above 64 pixels; None is `filters`.
        outputs: Of the normal and of the reduction cell, where they are not the loose ends.
        eps: Added to the variance by batch norms.
        last_relu: Whether there is one before the mean over the image.
    """

    filters: int = 20
    cells: int = 8
    nodes: int = 5
    operations: tuple[str, ...] = ENAS_OPERATIONS
    stem: str = "strided"
    stem_filters: int | None = None
    outputs: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    eps: float = 1e-5
    last_relu: bool = True

    def __post_init__(self) -> None:
        for name, value, least in (
            ("filters", self.filters, 4),
            ("cells", self.cells, 3),
            ("nodes", self.nodes, 1),
            ("stem_filters", self.stem_filters or 4, 2),
        ):
            if value < least:
                raise InputError(f"{name} is {value}; it must be at least {least}")
        for name in self.operations:
            if name not in OPERATIONS:
                raise unknown_name("operation of a cell", name, OPERATIONS)
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise InputError(f"operations is {list(self.operations)}; give at least one, each once")
        if self.stem not in STEMS:
            raise unknown_name("stem", self.stem, STEMS)
        if self.outputs is not None and not all(
            each and list(each) == sorted(set(each)) and each[0] >= 0 and each[-1] < self.nodes + 2
            for each in self.outputs
        ):
            raise InputError(
                f"outputs is {self.outputs}; for each cell, give ascending numbers from 0 to {self.nodes + 1}"
            )
        if not 0 < self.eps < 1:
            raise InputError(f"eps is {self.eps}; it must be a small positive number, as 1e-5")

    @property
    def name(self) -> str:
        return "enas-micro"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        return tuple(
            Choice(f"{kind}.node{node}.{what}{side}", options)
            for kind in KINDS
            for node in range(1, self.nodes + 1)
            for side in (1, 2)
            for what, options in (("input", tuple(range(node + 1))), ("op", self.operations))
        )

    def settings(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "cells": self.cells,
            "nodes": self.nodes,
            "operations": list(self.operations),
            "stem": self.stem,
            "stem_filters": self.stem_filters,
            "outputs": None if self.outputs is None else [list(each) for each in self.outputs],
            "eps": self.eps,
            "last_relu": self.last_relu,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> CellSpace:
        """Inverse of `settings`."""
        given = {**settings, "operations": tuple(settings["operations"])}
        if settings["outputs"] is not None:
            normal, reduction = settings["outputs"]
            given["outputs"] = (tuple(normal), tuple(reduction))
        return cls(**given)

    def build(self, architecture: Architecture, task: Task) -> CellNetwork:
        return CellNetwork(**self.literals(architecture, task))

    def literals(self, architecture: Architecture, task: Task) -> dict[str, Any]:
        """The arguments of `CellNetwork`, all of them plain Python values."""
        normal, reduction = self.specs(architecture)
        return {
            **self.frame(task),
            "normal": list(normal.nodes),
            "normal_outputs": list(normal.outputs),
            "reduction": list(reduction.nodes),
            "reduction_outputs": list(reduction.outputs),
        }

    def frame(self, task: Task) -> dict[str, Any]:
        """Those arguments that are the same for all architectures."""
        small = task.image_size <= SMALL_IMAGE
        return {
            "channels": task.channels,
            "classes": task.classes,
            "stem": "small" if small else self.stem,
            "stem_filters": 3 * self.filters if small else self.stem_filters or self.filters,
            "filters": self.filters,
            "cells": self.cells,
            "eps": self.eps,
            "last_relu": self.last_relu,
        }

    def specs(self, architecture: Architecture) -> tuple[CellSpec, CellSpec]:
        """The normal and the reduction cell."""
        check_member(self, architecture)
        normal, reduction = (self._nodes(architecture, kind) for kind in KINDS)
        ends = self.outputs or (loose_ends(normal), loose_ends(reduction))
        return CellSpec(normal, ends[0]), CellSpec(reduction, ends[1])

    def architecture(self, normal: Sequence[Node], reduction: Sequence[Node]) -> Architecture:
        """From the nodes of both cells. Raises `InputError` for an option that is none of the space's."""
        values = [
            value for nodes in (normal, reduction) for node in nodes for op, state in node for value in (state, op)
        ]
        pairs = zip(self.choices, values, strict=True)
        return Architecture(self.name, tuple((each.name, each.options[each.index(value)]) for each, value in pairs))

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        """Sums commute, and so does the order of nodes where loose ends are the output."""
        free = self.outputs is None
        normal, reduction = (first_form(spec.nodes, self.operations, free=free) for spec in self.specs(architecture))
        return self.architecture(normal, reduction)

    def smaller(self) -> CellSpace | None:
        """The next cheaper space: fewer filters, down to 4, then three cells less at a time, down to 3."""
        if narrower := [filters for filters in FILTERS if filters < self.filters]:
            return replace(self, filters=narrower[0])
        return replace(self, cells=max(3, self.cells - 3)) if self.cells > 3 else None

    def source(
        self,
        architecture: Architecture,
        task: Task,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> str:
        """The text of a Python module that rebuilds the network without archfit; see `MnasSpace.source`."""
        return network_source(self.literals(architecture, task), task, mean=mean, std=std, class_names=class_names)

    def layers(self, architecture: Architecture, task: Task) -> list[LayerRow]:
        """The network as rows of a table, a cell in each."""
        return cell_rows(self.literals(architecture, task), task)

    def graphs(self, architecture: Architecture) -> list[CellGraph]:
        """The two cells, for their pictures."""
        names = ("normal cell", "reduction cell")
        specs = zip(names, self.specs(architecture), strict=True)
        return [CellGraph(name, tuple(spec.nodes), tuple(spec.outputs)) for name, spec in specs]

    def supernet(self, task: Task) -> CellSupernet:
        """The shared weights of all architectures."""
        return CellSupernet(self, task)

    def pieces(self, architecture: Architecture, task: Task) -> list[Piece]:
        """Stem, classifier, and of each cell its entries, operations, sums and concatenation."""
        return cell_pieces(self.literals(architecture, task), task)

    def _nodes(self, architecture: Architecture, kind: str) -> tuple[Node, ...]:
        def side(node: int, number: int) -> tuple[str, int]:
            prefix = f"{kind}.node{node}"
            return str(architecture[f"{prefix}.op{number}"]), int(architecture[f"{prefix}.input{number}"])

        return tuple((side(node, 1), side(node, 2)) for node in range(1, self.nodes + 1))
