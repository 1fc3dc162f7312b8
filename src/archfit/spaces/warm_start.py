"""A mnas space whose networks begin with what fits of a trained one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from archfit.architecture import Architecture, Task
from archfit.errors import InputError, RunError
from archfit.nn.inheritance import Blocks, inherit
from archfit.nn.mbconv import LayerSpec, Network
from archfit.spaces.mnas import BlockChoices, MnasSpace
from archfit.spaces.skeleton import MNAS_SKELETON

_IMAGES = 224


@dataclass(frozen=True)
class Trained:
    """A trained network that others take weights over from.

    Attributes:
        name: As it is shown.
        space: It is a point of.
        architecture: Its point.
        channels: Of its images.
        classes: Of its classifier.
        weights: Its tensors by name.
        statistics: Mean and deviation per channel that its images were normalised with.
    """

    name: str
    space: MnasSpace
    architecture: Architecture
    channels: int
    classes: int
    weights: Mapping[str, Tensor]
    statistics: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def task(self) -> Task:
        """What it is built for; the size of its images makes no difference to its weights."""
        return Task(self.channels, _IMAGES, self.classes)

    def to_bytes(self) -> bytes:
        """A `.safetensors` file that `read_trained` reads."""
        about = {
            "name": self.name,
            "settings": self.space.settings(),
            "architecture": self.architecture.to_json(),
            "channels": self.channels,
            "classes": self.classes,
            "statistics": self.statistics,
        }
        weights = {name: value.contiguous() for name, value in self.weights.items()}
        return save(weights, {"about": json.dumps(about)})

    def layers(self) -> list[list[LayerSpec]]:
        """Of `inheritable_layers`."""
        return inheritable_layers(self.name, self.space, self.architecture)

    def blocks(self) -> Blocks:
        """The network with its weights."""
        with torch.random.fork_rng(devices=()):
            network = self.space.build(self.architecture, self.task)
        network.load_state_dict(dict(self.weights))
        return Blocks(network, tuple(map(len, self.layers())))


def inheritable_layers(name: str, space: MnasSpace, architecture: Architecture) -> list[list[LayerSpec]]:
    """The layers of each block; where every layer is a block of its own, those of equal filters are one.

    Raises:
        InputError: The network called `name` has another number of blocks than the mnas space.
    """
    blocks = space.blocks(architecture, Task(3, _IMAGES, 1))
    if len(blocks) > len(MNAS_SKELETON.filters):
        runs = groupby((block for block in blocks if block), key=lambda block: block[-1].filters)
        blocks = [[layer for block in run for layer in block] for _, run in runs]
    if len(blocks) != len(MNAS_SKELETON.filters):
        raise InputError(
            f"{name} has {len(blocks)} blocks, the mnas space {len(MNAS_SKELETON.filters)}; candidates can inherit "
            "from a MnasNet, MobileNetV2, EfficientNet-Lite or ProxylessNAS"
        )
    return blocks


def read_trained(path: Path) -> Trained:
    """What `Trained.to_bytes` wrote. Raises `RunError` where it is missing or not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        mean, std = about["statistics"]
        return Trained(
            about["name"],
            MnasSpace.from_settings(about["settings"]),
            Architecture.from_json(about["architecture"]),
            about["channels"],
            about["classes"],
            weights,
            (tuple(mean), tuple(std)),
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); it holds what the run's networks begin with") from None


def _source(path: Path) -> tuple[Trained, Blocks]:
    """Read once in each process, and again where the file was written anew."""
    return _read_blocks(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=1)
def _read_blocks(path: Path, written_ns: int) -> tuple[Trained, Blocks]:
    trained = read_trained(path)
    return trained, trained.blocks()


@dataclass(frozen=True)
class WarmMnasSpace(MnasSpace):
    """The mnas space, its networks built with inherited weights (see `archfit.nn.inheritance.inherit`).

    Attributes:
        origin: File of the trained network, as `Trained.to_bytes` writes it; each process reads it once. Without it
            networks begin at random.
    """

    origin: Path | None = None

    # Weights are inherited by one network at a time, so this is no `SharedSpace`: None takes the method back, which
    # `isinstance` sees. Shared weights would begin at random and leave `origin` unused without a word.
    supernet = None  # type: ignore[assignment]

    @classmethod
    def around(
        cls,
        trained: Trained,
        origin: Path | None,
        *,
        width: float = 1.0,
        searched_blocks: tuple[int, ...] | None = None,
    ) -> WarmMnasSpace:
        """The space as it suits a trained network.

        It has that one's activation, and its strides on small images too, down to a last feature map of 2x2: filters
        that were trained at one scale are worth little at another.

        Args:
            trained: Stored in `origin` by the time a network is built.
            origin: File of it; None where only costs are wanted.
            width: Of the space.
            searched_blocks: Of the space.

        """
        theirs = trained.space.skeleton
        skeleton = replace(MNAS_SKELETON, activation=theirs.activation, eps=theirs.eps, smallest_map=2)
        return cls(width, searched_blocks, skeleton, origin=origin)

    def build(self, architecture: Architecture, task: Task) -> Network:
        network = super().build(architecture, task)
        if self.origin is not None:
            self.fill(network, [len(block) for block in self.blocks(architecture, task)])
        return network

    def fill(self, network: Network, counts: Sequence[int]) -> float:
        """Lets any network of this kind inherit; returns the share of its weights that did.

        Args:
            network: Filled in place.
            counts: Layers in each of its blocks.
        """
        assert self.origin is not None
        return inherit(Blocks(network, tuple(counts)), _source(self.origin)[1])

    def starting_points(self, task: Task) -> list[Architecture]:
        """The point nearest to the trained network, and the same with fewer filters and layers in every block."""
        assert self.origin is not None
        blocks = _source(self.origin)[0].layers()
        nearest = [self._nearest(number, blocks[number - 1]) for number in self._searched]
        smaller = [chosen._replace(filters=0.75, layers=-1) for chosen in nearest]
        found = [self.canonical(self.architecture(chosen), task) for chosen in (nearest, smaller)]
        return list(dict.fromkeys(found))

    def _nearest(self, block: int, layers: Sequence[LayerSpec]) -> BlockChoices:
        if not layers:
            return BlockChoices("dconv", self.kernels[0], 0.0, "identity", 1.0, -1)
        theirs = layers[-1]
        options = self._options
        counts = {difference: abs(self._count(block, difference) - len(layers)) for difference in (0, -1, 1)}
        filters = {factor: abs(self._filters(block, factor) - theirs.filters) for factor in (1.0, 0.75, 1.25)}
        return BlockChoices(
            theirs.op if theirs.op in self.ops else self.ops[0],
            min(self.kernels, key=lambda kernel: abs(kernel - theirs.kernel)),
            min((float(ratio) for ratio in options["se"]), key=lambda ratio: abs(ratio - theirs.se)),
            theirs.skip if theirs.skip == "pool" else "identity",
            min(filters, key=lambda factor: filters[factor]),
            min(counts, key=lambda difference: counts[difference]),
        )
