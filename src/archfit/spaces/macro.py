"""The macro space of ENAS (arXiv:1802.03268, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from archfit.architecture import Architecture, Choice, Task, check_member, from_indices, to_indices
from archfit.cost import Piece
from archfit.errors import InputError, unknown_name
from archfit.nn import macro
from archfit.nn.macro import OPERATIONS, LayerSpec, Network
from archfit.spaces.macro_layers import network_steps
from archfit.spaces.macro_supernet import MacroSupernet
from archfit.spaces.mnas_layers import LayerRow
from archfit.spaces.source import arguments_source, module_source

FILTERS = (96, 80, 64, 48, 36, 30, 24, 20, 16, 14, 12, 10, 8)
LARGEST_MAP = 64


@dataclass(frozen=True)
class MacroSpace:
    """An operation per layer, and whether it gets the output of each earlier layer beside that of the last one.

    `layer4.op` is applied to the output of layer 3; `layer4.skip1` is 1 where the output of layer 1 is added to the
    result, `layer4.skip0` where that of the stem is. Choices and options are in the order in which ENAS's code writes
    an architecture as numbers. With 12 layers and all operations there are 6^12 * 2^66 = 1.6e29 points.

    Attributes:
        filters: Channels of every output, an even number; ENAS searches with 36.
        depth: Number of layers, at least 3; the resolution is halved after a third and two thirds of them.
        operations: To choose from, each once.
        dropout: Share of the features that is dropped before the classifier in training; ENAS has 0.1 in the search
            and 0.5 in its final training.
    """

    filters: int = 36
    depth: int = 12
    operations: tuple[str, ...] = OPERATIONS
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.filters < 2 or self.filters % 2:
            raise InputError(f"filters is {self.filters}; it must be an even number from 2 on, as 36")
        if self.depth < 3:
            raise InputError(f"depth is {self.depth}; it must be at least 3 layers, as 12")
        for name in self.operations:
            if name not in OPERATIONS:
                raise unknown_name("operation of the enas-macro space", name, OPERATIONS)
        if not self.operations or len(set(self.operations)) != len(self.operations):
            raise InputError(f"operations is {list(self.operations)}; choose from {list(OPERATIONS)}, each once")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; it must be from 0 to below 1, as 0.1")

    @property
    def name(self) -> str:
        return "enas-macro"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        choices = []
        for layer in range(1, self.depth + 1):
            choices.append(Choice(f"layer{layer}.op", self.operations))
            choices += [Choice(f"layer{layer}.skip{earlier}", (0, 1)) for earlier in range(layer - 1)]
        return tuple(choices)

    @property
    def skip_positions(self) -> tuple[tuple[int, ...], ...]:
        """Which of the choices are skip bits, layer by layer, for `archfit.samplers.skip_penalty`."""
        # The choices of layers 1, 2, 3, ... begin at 0, 1, 3, 6, ...: layer n has n of them, first its operation.
        starts = [layer * (layer - 1) // 2 for layer in range(1, self.depth + 1)]
        return tuple(tuple(range(start + 1, start + layer)) for layer, start in enumerate(starts, 1) if layer > 1)

    def settings(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "depth": self.depth,
            "operations": list(self.operations),
            "dropout": self.dropout,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> MacroSpace:
        """Inverse of `settings`."""
        return cls(settings["filters"], settings["depth"], tuple(settings["operations"]), settings["dropout"])

    def build(self, architecture: Architecture, task: Task) -> Network:
        return Network(**self.literals(architecture, task))

    def supernet(self, task: Task) -> MacroSupernet:
        return MacroSupernet(self, task)

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        """The architecture itself, its choices in the space's order: no two points build the same network.

        Each layer takes the one before, so none is idle, and each skip adds an output that nothing else adds.
        """
        check_member(self, architecture)
        return from_indices(self, to_indices(self, architecture))

    def literals(self, architecture: Architecture, task: Task) -> dict[str, Any]:
        """The arguments of `Network`, all of them plain Python values."""
        return {
            "channels": task.channels,
            "classes": task.classes,
            "filters": self.filters,
            "stem_strides": self.stem_strides(task),
            "layers": [tuple(spec) for spec in self.specs(architecture)],
            "dropout": self.dropout,
        }

    def specs(self, architecture: Architecture) -> list[LayerSpec]:
        """The layers in order. Raises `InputError` if the architecture is not a point of the space."""
        check_member(self, architecture)
        return [
            LayerSpec(
                str(architecture[f"layer{layer}.op"]),
                tuple(earlier for earlier in range(layer - 1) if architecture[f"layer{layer}.skip{earlier}"]),
            )
            for layer in range(1, self.depth + 1)
        ]

    @staticmethod
    def stem_strides(task: Task) -> tuple[int, ...]:
        """Of its convolutions: 1, and for images larger than 64 pixels as many 2s as bring them there.

        ENAS has images of 32 pixels; the first third of the layers runs at what the stem leaves.
        """
        size, halvings = task.image_size, 0
        while size > LARGEST_MAP:
            size, halvings = -(-size // 2), halvings + 1
        return (2,) * halvings or (1,)

    def smaller(self) -> MacroSpace | None:
        """The next cheaper space: fewer filters, and from 8 on three layers less, down to three."""
        if narrower := [filters for filters in FILTERS if filters < self.filters]:
            return replace(self, filters=narrower[0])
        depth = 3 * ((self.depth - 1) // 3)
        return replace(self, depth=depth) if depth else None

    def source(
        self,
        architecture: Architecture,
        task: Task,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> str:
        """The text of a Python module that rebuilds the network without archfit.

        Args:
            architecture: Of this space.
            task: What the network was built for.
            mean: Per channel, what the images were normalised with; None leaves it unsaid.
            std: The same.
            class_names: In the order of the logits.
        """
        arguments = arguments_source(
            self.literals(architecture, task),
            "op, outputs that are added (0 is the stem)",
            [f"layer {layer}" for layer in range(1, self.depth + 1)],
        )
        return module_source(macro, arguments, task, mean=mean, std=std, class_names=class_names)

    def layers(self, architecture: Architecture, task: Task) -> list[LayerRow]:
        """The network as a table: stem, every layer and reduction, pool and classifier."""
        return [step.row for step in network_steps(self.literals(architecture, task), task)]

    def pieces(self, architecture: Architecture, task: Task) -> list[Piece]:
        """Stem, operations at their resolution, one sum per skip, reductions, and the classifier with its mean."""
        steps = network_steps(self.literals(architecture, task), task)
        return [piece for step in steps for piece in step.pieces]
