"""The factorised hierarchical space of MnasNet (arXiv:1807.11626, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from archfit.architecture import Architecture, Choice, Option, Task, check_member
from archfit.cost import Piece
from archfit.errors import InputError
from archfit.nn.mbconv import EXPANSIONS, LayerSpec, Network
from archfit.nn.shared_mbconv import SharedSpec
from archfit.spaces.mnas_layers import LayerRow, layer_rows
from archfit.spaces.mnas_pieces import network_pieces
from archfit.spaces.mnas_source import network_source
from archfit.spaces.mnas_supernet import MnasSupernet
from archfit.spaces.skeleton import MNAS_SKELETON, Skeleton, scale_channels, scale_filters, strides_for

WIDTHS = (1.0, 0.85, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.18)
_SMALLEST_HEAD = 320

OPTIONS: dict[str, tuple[Option, ...]] = {
    "op": ("conv", "dconv", "mbconv3", "mbconv6"),
    "kernel": (3, 5),
    "se": (0.0, 0.25),
    "skip": ("none", "identity", "pool"),
    "filters": (0.75, 1.0, 1.25),
    "layers": (-1, 0, 1),
}

_PLAIN_SIZES = ((1.25, 1), (1.25, 0), (1.0, 0), (0.75, 0), (0.75, -1))
"""Factor of the filters and difference of the layers of networks that are alike throughout."""


class BlockChoices(NamedTuple):
    """The options of one block, named as in `OPTIONS`: `filters` is a factor, `layers` a difference."""

    op: str
    kernel: int
    se: float
    skip: str
    filters: float
    layers: int


@dataclass(frozen=True)
class MnasSpace:
    """Six choices per searched block, 432 options; all layers of a block are alike.

    Only a block's first layer has its stride and its change of channels. A block whose layers come to zero is left
    out; one with stride 2 keeps at least one layer. Blocks that are not searched are MobileNetV2's: the first is
    `dconv`, the others `mbconv6`, all with kernel 3, no SE, identity skip and the skeleton's filters and layers.

    Attributes:
        width: Multiplies the channels of stem and blocks (see `scale_filters`), not the head's.
        searched_blocks: Which blocks vary, from 1, ascending; None for all.
        skeleton: What is fixed.
        ops: Operations to choose from; beside those of `OPTIONS` there is "separable", MobileNetV1's.
        kernels: Odd kernel sizes to choose from.
    """

    width: float = 1.0
    searched_blocks: tuple[int, ...] | None = None
    skeleton: Skeleton = MNAS_SKELETON
    ops: tuple[str, ...] = ("conv", "dconv", "mbconv3", "mbconv6")
    kernels: tuple[int, ...] = (3, 5)

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise InputError(f"width is {self.width}; it must be a positive number, as in 0.5")
        blocks = len(self.skeleton.filters)
        searched = range(1, blocks + 1) if self.searched_blocks is None else self.searched_blocks
        if not searched or sorted(set(searched)) != list(searched) or searched[0] < 1 or searched[-1] > blocks:
            raise InputError(f"searched_blocks is {searched}; give ascending numbers from 1 to {blocks}, each once")
        object.__setattr__(self, "searched_blocks", tuple(searched))
        if not self.ops or not set(self.ops) <= {"conv", *EXPANSIONS}:
            raise InputError(f"ops is {list(self.ops)}; choose from {['conv', *EXPANSIONS]}")
        if not self.kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise InputError(f"kernels is {list(self.kernels)}; give odd sizes, as 3 and 5")

    @property
    def name(self) -> str:
        return "mnas"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        return tuple(
            Choice(f"block{block}.{field}", options)
            for block in self._searched
            for field, options in self._options.items()
        )

    def settings(self) -> dict[str, Any]:
        skeleton = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.skeleton).items()
        }
        return {
            "width": self.width,
            "searched_blocks": list(self._searched),
            "skeleton": skeleton,
            "ops": list(self.ops),
            "kernels": list(self.kernels),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> MnasSpace:
        """Inverse of `settings`."""
        fixed: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings["skeleton"].items()
        }
        options = {name: tuple(settings[name]) for name in ("ops", "kernels") if name in settings}
        return cls(settings["width"], tuple(settings["searched_blocks"]), Skeleton(**fixed), **options)

    def build(self, architecture: Architecture, task: Task) -> Network:
        return Network(**self.literals(architecture, task))

    def literals(self, architecture: Architecture, task: Task) -> dict[str, Any]:
        """The arguments of `Network`, all of them plain Python values."""
        return {
            "channels": task.channels,
            "classes": task.classes,
            "stem": self._stem,
            "stem_stride": strides_for(self.skeleton, task.image_size)[0],
            "layers": [tuple(spec) for block in self.blocks(architecture, task) for spec in block],
            "head": self.skeleton.head,
            "activation": self.skeleton.activation,
            "eps": self.skeleton.eps,
            "same_padding": task.image_size if self.skeleton.same_padding else 0,
        }

    def blocks(self, architecture: Architecture, task: Task) -> list[list[LayerSpec]]:
        """The layers of each block, empty for a block that is left out. A skip that no layer can take is "none"."""
        check_member(self, architecture)
        inputs, plan = self._stem, []
        for block in range(1, len(self.skeleton.filters) + 1):
            chosen = self._fixed(block)
            if block in self._searched:
                chosen = BlockChoices(*(architecture[f"block{block}.{field}"] for field in OPTIONS))  # type: ignore[arg-type]
            plan.append(self._block(block, chosen, inputs, task))
            inputs = plan[-1][-1].filters if plan[-1] else inputs
        return plan

    def supernet(self, task: Task) -> MnasSupernet:
        return MnasSupernet(self, task)

    def pieces(self, architecture: Architecture, task: Task) -> list[Piece]:
        """The stem, every layer where it stands, and head with classifier (see `archfit.spaces.mnas_pieces`)."""
        return network_pieces(self.literals(architecture, task), task)

    def largest(self, task: Task) -> tuple[list[list[SharedSpec]], int]:
        """For each block as many layers as it may have, each with the most that its options need.

        Returns:
            The layers, and how many channels come to the head at most.
        """
        stem_stride, strides = strides_for(self.skeleton, task.image_size)
        inputs, size, plan = self._stem, -(-task.image_size // stem_stride), []
        for block, stride in enumerate(strides, 1):
            options = self._options
            if block not in self._searched:
                options = {name: (option,) for name, option in self._fixed(block)._asdict().items()}
            filters = max(self._filters(block, float(factor)) for factor in options["filters"])
            counts = [self._count(block, int(difference)) for difference in options["layers"]]
            first = SharedSpec(
                tuple(map(str, options["op"])),
                max(map(int, options["kernel"])),
                stride,
                max(map(float, options["se"])),
                inputs,
                filters,
                size if self.skeleton.same_padding else 0,
            )
            plan.append([first, *(max(counts) - 1) * [first._replace(stride=1, inputs=filters)]])
            inputs, size = filters if min(counts) else max(inputs, filters), -(-size // stride)
        return plan, inputs

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        """Reads the choices back from the layers, taking the first options that build them.

        It sees that a layer may belong to either of two blocks that are alike, as well as what makes no difference
        inside a block.
        """
        layers = [spec for block in self.blocks(architecture, task) for spec in block]
        chosen = self._read(1, layers, self._stem, task)
        assert chosen is not None, "the architecture itself is a reading of its layers"
        return self.architecture([chosen[block - 1] for block in self._searched])

    def architecture(self, chosen: Sequence[BlockChoices]) -> Architecture:
        """From the choices of each searched block. Raises `InputError` for an option that is none of the space's."""
        values = [option for block in chosen for option in block]
        pairs = zip(self.choices, values, strict=True)
        return Architecture(self.name, tuple((c.name, c.options[c.index(value)]) for c, value in pairs))

    def plain_networks(self, task: Task) -> list[list[Architecture]]:
        """For each operation, networks that have it throughout, from large to small: what one would build by hand.

        Their kernels are the smallest, their skips identities; there is no SE. From one size to the next they shrink
        a third of the blocks at a time, the first ones first, so that one of them comes near to any budget.
        """
        count, ladders = len(self._searched), []
        for op in self.ops:
            plain = BlockChoices(op, min(self.kernels), 0.0, "identity", 1.0, 0)
            sizes = [plain._replace(filters=factor, layers=more) for factor, more in _PLAIN_SIZES]
            steps = [
                shrunk * [small] + (count - shrunk) * [large]
                for large, small in pairwise(sizes)
                for shrunk in (0, count // 3, 2 * count // 3)
            ]
            networks = [self.canonical(self.architecture(blocks), task) for blocks in [*steps, count * [sizes[-1]]]]
            ladders.append(list(dict.fromkeys(networks)))
        return ladders

    def smaller(self) -> MnasSpace | None:
        """The next cheaper space: one layer less per block, then narrower, then fewer layers still.

        Layers go first, since a runtime's latency has a part per layer and a short training favours shallow networks:
        of two on 10,000 images of Fashion-MNIST for 5 epochs, 6 wider convolutions (10 M MAdds) tested at 89.0 %,
        10 narrower ones (8 M) at 87.6 %. No block falls below one layer. The head narrows too, down to 320 channels:
        at a width of 0.18 one of 1,280 took a quarter of the MAdds and of the training (benchmarks/skeletons.py).
        """
        layers = tuple(max(1, count - 1) for count in self.skeleton.layers)
        shallower = replace(self, skeleton=replace(self.skeleton, layers=layers))
        if self.width == 1.0 and self.skeleton.layers == MNAS_SKELETON.layers:
            return shallower
        if narrower := [width for width in WIDTHS if width < self.width]:
            head = min(self.skeleton.head, max(_SMALLEST_HEAD, scale_channels(MNAS_SKELETON.head, narrower[0])))
            return replace(self, width=narrower[0], skeleton=replace(self.skeleton, head=head))
        return shallower if layers != self.skeleton.layers else None

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
        counts = [len(block) for block in self.blocks(architecture, task)]
        return network_source(
            self.literals(architecture, task), counts, task, mean=mean, std=std, class_names=class_names
        )

    def layers(self, architecture: Architecture, task: Task) -> list[LayerRow]:
        """The network as a table: stem, every layer, head, pool and classifier."""
        return layer_rows(self.literals(architecture, task), self.blocks(architecture, task), task)

    @property
    def _options(self) -> dict[str, tuple[Option, ...]]:
        return {**OPTIONS, "op": self.ops, "kernel": self.kernels}

    @property
    def _searched(self) -> tuple[int, ...]:
        return self.searched_blocks or ()

    @property
    def _stem(self) -> int:
        return scale_channels(self.skeleton.stem, self.width)

    @staticmethod
    def _fixed(block: int) -> BlockChoices:
        return BlockChoices("dconv" if block == 1 else "mbconv6", 3, 0.0, "identity", 1.0, 0)

    def _count(self, block: int, difference: int) -> int:
        least = 1 if self.skeleton.strides[block - 1] == 2 else 0
        return max(least, self.skeleton.layers[block - 1] + difference)

    def _filters(self, block: int, factor: float) -> int:
        return scale_filters(self.skeleton.filters[block - 1], self.width, factor)

    def _block(self, block: int, chosen: BlockChoices, inputs: int, task: Task) -> list[LayerSpec]:
        stride = strides_for(self.skeleton, task.image_size)[1][block - 1]
        filters = self._filters(block, chosen.filters)
        layers = []
        for _ in range(self._count(block, chosen.layers)):
            fits = stride == 1 and inputs == filters
            skip = "none" if chosen.skip == "identity" and not fits else chosen.skip
            layers.append(LayerSpec(chosen.op, chosen.kernel, stride, chosen.se, skip, filters))
            inputs, stride = filters, 1
        return layers

    def _read(self, block: int, layers: list[LayerSpec], inputs: int, task: Task) -> list[BlockChoices] | None:
        """Choices of blocks `block` and later that build exactly `layers`; None if there are none."""
        if block > len(self.skeleton.filters):
            return None if layers else []
        for chosen in self._candidates(block, layers):
            count = self._count(block, chosen.layers)
            if self._block(block, chosen, inputs, task) == layers[:count]:
                following = layers[count - 1].filters if count else inputs
                if (rest := self._read(block + 1, layers[count:], following, task)) is not None:
                    return [chosen, *rest]
        return None

    def _candidates(self, block: int, layers: list[LayerSpec]) -> Iterator[BlockChoices]:
        """What could have built a prefix of `layers`, in the order of the options."""
        if block not in self._searched:
            yield self._fixed(block)
            return
        first = BlockChoices(*(options[0] for options in self._options.values()))  # type: ignore[arg-type]
        for difference in (-1, 0, 1):
            count = self._count(block, difference)
            if count == 0:
                yield first._replace(layers=difference)
            elif count <= len(layers):
                like = layers[count - 1]
                for skip in ("none", "identity", "pool"):
                    for factor in (0.75, 1.0, 1.25):
                        yield BlockChoices(like.op, like.kernel, like.se, skip, factor, difference)
