"""Cells and the network made of them (NASNet, arXiv:1707.07012; ENAS, arXiv:1802.03268), in plain PyTorch.

This file imports torch and files of its kind alone: its text becomes part of the stand-alone `network.py` that goes
out with a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfit.nn.cell_operations import FactorisedReduction, convolution, operation, reads_plain
from archfit.nn.initialise import initialise

Node = tuple[tuple[str, int], tuple[str, int]]


class CellSpec(NamedTuple):
    """What a cell computes. State 0 comes from the cell before last, state 1 from the last one.

    Attributes:
        nodes: States 2, 3, ...: each the sum of two operations on earlier states, (operation, state) both.
        outputs: States that are concatenated.
    """

    nodes: Sequence[Node]
    outputs: Sequence[int]


class Place(NamedTuple):
    """Where a cell stands in the network.

    Attributes:
        reduces: It is a reduction cell: its operations on the two inputs halve height and width.
        filters: Channels of every state.
        shrink: The cell before last has twice the height and width of the last one.
        bare: Input 0 comes before its ReLU and with its own channels, as in NASNet's first stem cell.
        active: Its output goes through a ReLU.
    """

    reduces: bool
    filters: int
    shrink: bool = False
    bare: bool = False
    active: bool = True


def places(stem: str, filters: int, cells: int, *, last_relu: bool) -> list[Place]:
    """All cells in order, those of the stem too; see `CellNetwork` for the arguments."""
    reductions = (cells // 3, 2 * cells // 3)
    plan = [(number in reductions, filters * 2 ** sum(at <= number for at in reductions)) for number in range(cells)]
    if stem == "cells":
        plan = [(True, filters // 4), (True, filters // 2), *plan]
    shrink = [stem == "strided", *(reduces for reduces, _ in plan)]
    return [
        Place(reduces, width, shrink[number], stem == "cells" and number == 0, last_relu or number < len(plan) - 1)
        for number, (reduces, width) in enumerate(plan)
    ]


class Cell(nn.Module):
    """A cell; an input that no node reads has no part in it.

    Args:
        spec: What it computes.
        place: Where it stands.
        before: Channels of the cell before last.
        last: Channels of the last cell.
        eps: Added to the variance by batch norms.
    """

    def __init__(self, spec: CellSpec, place: Place, before: int, last: int, eps: float) -> None:
        super().__init__()
        self.spec, self.place = spec, place
        read = states_read(spec)
        self.before = entry(before, place.filters, eps, shrink=place.shrink) if 0 in read and not place.bare else None
        self.last = entry(last, place.filters, eps) if 1 in read else None
        self.operations = nn.ModuleList(
            operation(name, before if place.bare and state == 0 else place.filters, place.filters, stride, eps)
            for node in spec.nodes
            for name, state in node
            for stride in [2 if place.reduces and state < 2 else 1]
        )

    def forward(self, before: Tensor, last: Tensor, drop_path: float = 0.0) -> Tensor:
        """`(N, filters * outputs, ...)` of the outputs of two cells."""
        inputs = [
            before if self.before is None else self.before(before),
            last if self.last is None else self.last(last),
        ]
        return run(self.spec, self.place, inputs, list(self.operations), drop_path)


def states_read(spec: CellSpec) -> set[int]:
    """Those that a node reads or that are an output."""
    return {state for node in spec.nodes for _, state in node}.union(spec.outputs)


def entry(inputs: int, filters: int, eps: float, *, shrink: bool = False) -> nn.Module:
    """What brings an input, after its ReLU, to the filters and the size of a cell."""
    return FactorisedReduction(inputs, filters, eps) if shrink else convolution(inputs, filters, 1, 1, eps)


def join(states: Sequence[Tensor], active: bool) -> Tensor:
    """The states one after the other, `(N, filters * states, H, W)`, after a ReLU if `active`."""
    joined = torch.cat(list(states), 1)
    return F.relu(joined, inplace=True) if active else joined


def run(
    spec: CellSpec,
    place: Place,
    states: list[Tensor],
    operations: Sequence[nn.Module],
    drop_path: float = 0.0,
    join: Callable[[Sequence[Tensor], bool], Tensor] = join,
) -> Tensor:
    """The output of a cell.

    All readers of a state share one ReLU of it, which takes the state's place where nobody needs that itself.

    Args:
        spec: What it computes.
        place: Where it stands.
        states: The two inputs, `(N, filters, H, W)`.
        operations: Two per node.
        drop_path: Probability that an image goes without an operation.
        join: Concatenates.
    """
    sides = [side for node in spec.nodes for side in node]
    plain = {state for (_, state), module in zip(sides, operations, strict=True) if reads_plain(module)}
    plain.update(spec.outputs, {0} if place.bare else ())
    active: dict[int, Tensor] = {}
    terms: list[Tensor] = []
    for (_, state), module in zip(sides, operations, strict=True):
        if not reads_plain(module) and state not in active:
            active[state] = F.relu(states[state], inplace=state not in plain)
        term: Tensor = module(states[state] if reads_plain(module) else active[state])
        terms.append(term if isinstance(module, nn.Identity) else without(term, drop_path))
        if len(terms) == 2:
            states.append(terms[0] + terms[1])
            terms.clear()
    return join([states[state] for state in spec.outputs], place.active)


def without(x: Tensor, drop_path: float) -> Tensor:
    """`x` but zero for some images, scaled so that the mean stays (FractalNet, arXiv:1605.07648)."""
    if drop_path <= 0.0:
        return x
    kept = x.new_empty(len(x), 1, 1, 1).bernoulli_(1.0 - drop_path)
    return x * (kept / (1.0 - drop_path))


class AuxiliaryHead(nn.Module):
    """Logits from the middle of the network, for training alone: `(N, channels, H, W)` after its ReLU in.

    As NASNet's, but for means over quarters of the map in place of windows of 5 pixels, so that any image size fits.
    """

    def __init__(self, channels: int, classes: int, eps: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.AdaptiveAvgPool2d(2),
            *convolution(channels, 128, 1, 1, eps),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768, eps=eps),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class CellNetwork(nn.Module):
    """Stem, cells with a reduction after a third and two thirds of them, mean over the image, linear classifier.

    While training, `drop_path` of an image's operations are left out, fewer in earlier cells; it begins at 0 and may
    be set at any time. Logits from the middle come of `with_auxiliary`, for a head that is no part of the network.

    Args:
        channels: Of the input images.
        classes: Number of logits.
        stem: "small" (a 3x3 convolution), "strided" (three 3x3 convolutions of stride 2) or "cells" (a 3x3 convolution
            of stride 2 and two reduction cells of a quarter and half of the filters).
        stem_filters: Output channels of its convolutions.
        filters: Channels of the states in the cells before the first reduction; each reduction doubles them.
        cells: Number of them, the two reductions among them, those of the stem not.
        normal: Nodes of a cell: two (operation, state) each.
        normal_outputs: States that are its output.
        reduction: The same of a reduction cell.
        reduction_outputs: The same.
        eps: Added to the variance by batch norms.
        last_relu: Whether there is one before the mean.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        stem: str,
        stem_filters: int,
        filters: int,
        cells: int,
        normal: Sequence[Node],
        normal_outputs: Sequence[int],
        reduction: Sequence[Node],
        reduction_outputs: Sequence[int],
        eps: float = 1e-5,
        last_relu: bool = True,
    ) -> None:
        super().__init__()
        self.drop_path = 0.0
        self.bare = stem == "cells"
        self.stem, self.second_stem = stems(stem, channels, stem_filters, eps)
        specs = {False: CellSpec(normal, normal_outputs), True: CellSpec(reduction, reduction_outputs)}
        outputs, modules = [stem_filters, stem_filters], []
        for place in places(stem, filters, cells, last_relu=last_relu):
            spec = specs[place.reduces]
            modules.append(Cell(spec, place, outputs[-2], outputs[-1], eps))
            outputs.append(place.filters * len(spec.outputs))
        self.cells = nn.ModuleList(modules)
        self.classifier = nn.Linear(outputs[-1], classes)
        self.middle = len(modules) - cells + 2 * cells // 3
        self.auxiliary_of = (outputs[2 + self.middle], classes, eps)
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(N, classes)` of normalised images `(N, channels, H, W)`."""
        logits: Tensor = self.classifier(self._outputs(image)[-1].mean((2, 3)))
        return logits

    def auxiliary(self) -> AuxiliaryHead:
        """A new head for `with_auxiliary`."""
        return AuxiliaryHead(*self.auxiliary_of)

    def with_auxiliary(self, image: Tensor, head: nn.Module) -> tuple[Tensor, Tensor]:
        """The logits, and those that a head gives after the second reduction."""
        outputs = self._outputs(image)
        return self.classifier(outputs[-1].mean((2, 3))), head(outputs[self.middle])

    def _outputs(self, image: Tensor) -> list[Tensor]:
        share = self.drop_path / len(self.cells) if self.training else 0.0
        cells = [partial(cell, drop_path=share * number) for number, cell in enumerate(self.cells, 1)]
        return outputs_of(image, self.stem, self.second_stem, cells, bare=self.bare)


def outputs_of(
    image: Tensor,
    stem: nn.Module,
    second_stem: nn.Module | None,
    cells: Sequence[Callable[[Tensor, Tensor], Tensor]],
    *,
    bare: bool,
) -> list[Tensor]:
    """The output of each cell; a cell takes those of the two before it.

    Args:
        image: `(N, channels, H, W)`.
        stem: Its output is the first cell's input 0 and, unless there is a second stem, input 1.
        second_stem: From the stem's output to the first cell's input 1.
        cells: In order.
        bare: The first cell's input 0 is the stem's output before its ReLU.
    """
    before = stem(image)
    last = F.relu(before, inplace=not bare)
    if not bare:
        before = last
    if second_stem is not None:
        last = F.relu(second_stem(last), inplace=True)
    outputs = []
    for cell in cells:
        before, last = last, cell(before, last)
        outputs.append(last)
    return outputs


def stems(stem: str, channels: int, filters: int, eps: float) -> tuple[nn.Sequential, nn.Sequential | None]:
    """What comes before the first cell's two inputs, and what comes between them."""
    if stem == "small":
        return convolution(channels, filters, 3, 1, eps), None
    if stem == "cells":
        first = nn.Conv2d(channels, filters, 3, 2, bias=False)  # without padding, as published
        return nn.Sequential(first, nn.BatchNorm2d(filters, eps=eps)), None
    half = filters // 2
    first_two = [*convolution(channels, half, 3, 2, eps), nn.ReLU(inplace=True), *convolution(half, filters, 3, 2, eps)]
    return nn.Sequential(*first_two), convolution(filters, filters, 3, 2, eps)
