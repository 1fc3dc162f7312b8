"""Cells that hold the weights of every cell of a space and run one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from archfit.nn.cell_operations import FactorisedReduction, operation
from archfit.nn.cells import CellSpec, Place, entry, run, states_read
from archfit.nn.thrifty import THRIFTY, thrifty_join


class Source(NamedTuple):
    """What a cell or the classifier takes.

    Attributes:
        channels: At most.
        states: Of the cell that gives it, those that may be its output, of equal shares of the channels; None where
            it is always the same, as of the stem.
    """

    channels: int
    states: Sequence[int] | None


class Slots(nn.Module):
    """A module on the output of a cell, with a slice of its weights for each state that may be a part of that.

    Paths may run at once in several threads: the module itself is not changed.

    Args:
        inner: An entry of a cell or the classifier; takes all of them at once.
        states: What those are; None where the module takes something that is always the same.
    """

    def __init__(self, inner: nn.Module, states: Sequence[int] | None) -> None:
        super().__init__()
        self.inner = inner
        self.states = states

    def forward(self, x: Tensor, present: Sequence[int] | None) -> Tensor:
        """On the states that are present, in their order: `(N, channels * present, ...)`."""
        weights = self.weights(present)
        if isinstance(self.inner, nn.Linear):
            return F.linear(x, weights["weight"], weights["bias"])
        if isinstance(self.inner, FactorisedReduction):
            return self.inner.reduced(x, weights["even.weight"], weights["odd.weight"])
        entered: Tensor = self.inner.get_submodule("1")(F.conv2d(x, weights["0.weight"]))  # 1x1, then batch norm
        return entered

    def weights(self, present: Sequence[int] | None) -> dict[str, Tensor]:
        """The tensors of a module that takes these states alone."""
        weights: dict[str, Tensor] = dict(self.inner.named_parameters())
        if self.states is None or present is None or list(present) == list(self.states):
            return weights
        positions = [self.states.index(state) for state in present]
        return {name: _slices(value, positions, len(self.states)) for name, value in weights.items()}


def _slices(weight: Tensor, positions: Sequence[int], count: int) -> Tensor:
    """Of the inputs of `(outputs, inputs, ...)`, split into `count` slices."""
    if weight.dim() == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    return weight.reshape(outputs, count, inputs // count, *kernel)[:, positions].flatten(1, 2)


class SharedCell(nn.Module):
    """All cells of a space at one place of the network.

    Args:
        place: Where it stands.
        nodes: Number of them.
        operations: To choose from.
        before: What comes from the cell before last.
        last: What comes from the last one.
        eps: Added to the variance by batch norms.
    """

    def __init__(
        self, place: Place, nodes: int, operations: Sequence[str], before: Source, last: Source, eps: float
    ) -> None:
        super().__init__()
        self.place = place
        filters = place.filters
        self.before: Slots | None = None
        if not place.bare:
            self.before = Slots(entry(before.channels, filters, eps, shrink=place.shrink), before.states)
        self.last = Slots(entry(last.channels, filters, eps), last.states)
        self.operations = nn.ModuleDict()
        for node in range(nodes):
            for state in range(node + 2):
                inputs = before.channels if place.bare and state == 0 else filters
                stride = 2 if place.reduces and state < 2 else 1
                for name in operations:
                    for side in (0, 1):
                        module = operation(name, inputs, filters, stride, eps, THRIFTY)
                        self.operations[_key(node, side, name, state)] = module

    def forward(
        self,
        before: Tensor,
        last: Tensor,
        spec: CellSpec,
        outputs_before: Sequence[int] | None,
        outputs_last: Sequence[int] | None,
    ) -> Tensor:
        """As `Cell`; also takes which states the outputs of the two cells before are."""
        read = states_read(spec)
        inputs = [
            self.before(before, outputs_before) if 0 in read and self.before is not None else before,
            self.last(last, outputs_last) if 1 in read else last,
        ]
        return run(spec, self.place, inputs, self.chosen(spec), join=thrifty_join)

    def chosen(self, spec: CellSpec) -> list[nn.Module]:
        """The operations of a cell, two per node."""
        return [
            self.operations[_key(node, side, name, state)]
            for node, sides in enumerate(spec.nodes)
            for side, (name, state) in enumerate(sides)
        ]


def _key(node: int, side: int, name: str, state: int) -> str:
    return f"node{node + 1}_{side + 1}_{name}_of_{state}"
