"""The weights of all networks of a space of cells (ENAS, arXiv:1802.03268, section 2.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from archfit.architecture import Architecture, Task
from archfit.nn.cells import Cell, CellNetwork, CellSpec, outputs_of, places, stems
from archfit.nn.initialise import initialise
from archfit.nn.shared_cells import SharedCell, Slots, Source
from archfit.spaces.supernet import Supernet

if TYPE_CHECKING:
    from archfit.spaces.cells import CellSpace


class CellSupernet(Supernet):
    """Shares weights as ENAS's code does: per cell, node, side, operation and the state that it reads.

    There a cell ends with a 1x1 convolution that has a slice per node and reduces the loose ends to the cell's filters.
    Here what reads them does that, as in its final networks: the entries of the two cells after it, and the classifier,
    have a slice per node.
    """

    def __init__(self, space: CellSpace, task: Task) -> None:
        super().__init__()
        self._space, self._task = space, task
        frame = space.frame(task)
        stem_filters: int = frame["stem_filters"]
        self._places = places(frame["stem"], space.filters, space.cells, last_relu=space.last_relu)
        self.stem, self.second_stem = stems(frame["stem"], task.channels, stem_filters, space.eps)
        every = tuple(range(2, space.nodes + 2))
        possible = space.outputs or (every, every)
        sources, cells = [Source(stem_filters, None)] * 2, []
        for place in self._places:
            cells.append(SharedCell(place, space.nodes, space.operations, sources[-2], sources[-1], space.eps))
            states = possible[place.reduces]
            sources.append(Source(place.filters * len(states), states))
        self.cells = nn.ModuleList(cells)
        self.classifier = Slots(nn.Linear(sources[-1].channels, task.classes), sources[-1].states)
        self.apply(initialise)
        self.apply(_normalise_by_the_batch)

    def forward(self, images: Tensor, architecture: Architecture) -> Tensor:
        specs = self._space.specs(architecture)
        ends = self._ends(specs)
        cells = [
            partial(cell, spec=specs[place.reduces], outputs_before=before, outputs_last=last)
            for cell, place, before, last in zip(self.cells, self._places, ends, ends[1:], strict=False)
        ]
        outputs = outputs_of(images, self.stem, self.second_stem, cells, bare=self._places[0].bare)
        logits: Tensor = self.classifier(outputs[-1].mean((2, 3)), ends[-1])
        return logits

    def cut(self, architecture: Architecture) -> CellNetwork:
        with torch.random.fork_rng(devices=()):
            network = self._space.build(architecture, self._task)
        network.to(next(self.parameters()).device)
        with torch.no_grad():
            for module, weights in self._parts(network, self._space.specs(architecture)):
                for name, parameter in module.named_parameters():
                    parameter.copy_(weights[name])
        return network

    def _ends(self, specs: tuple[CellSpec, CellSpec]) -> list[Sequence[int] | None]:
        """The states that are the output of the stem, twice, and of every cell."""
        return [None, None, *(specs[place.reduces].outputs for place in self._places)]

    def _parts(
        self, network: CellNetwork, specs: tuple[CellSpec, CellSpec]
    ) -> Iterator[tuple[nn.Module, Mapping[str, Tensor]]]:
        """The modules of a network that is cut out, with what they get."""
        ends = self._ends(specs)
        yield network.stem, dict(self.stem.named_parameters())
        if network.second_stem is not None and self.second_stem is not None:
            yield network.second_stem, dict(self.second_stem.named_parameters())
        for cell, shared, before, last in zip(network.cells, self.cells, ends, ends[1:], strict=False):
            assert isinstance(cell, Cell)
            assert isinstance(shared, SharedCell)
            if cell.before is not None and shared.before is not None:
                yield cell.before, shared.before.weights(before)
            if cell.last is not None:
                yield cell.last, shared.last.weights(last)
            for module, chosen in zip(cell.operations, shared.chosen(cell.spec), strict=True):
                yield module, dict(chosen.named_parameters())
        yield network.classifier, self.classifier.weights(ends[-1])


def _normalise_by_the_batch(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm2d):
        module.track_running_stats = False
        module.running_mean = module.running_var = module.num_batches_tracked = None
