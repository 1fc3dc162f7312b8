"""The shared weights of the mnas space (TuNAS, arXiv:2008.06120; ENAS, arXiv:1802.03268)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from archfit.architecture import Architecture, Task
from archfit.nn.initialise import initialise
from archfit.nn.mbconv import LayerSpec, Network, Style
from archfit.nn.shared_mbconv import SharedLayer
from archfit.nn.sliced import SlicedConvolution, SlicedLinear, sliced
from archfit.spaces.skeleton import strides_for
from archfit.spaces.supernet import Supernet

if TYPE_CHECKING:
    from archfit.spaces.mnas import MnasSpace

_REMEMBERED = 1024


class MnasSupernet(Supernet):
    """One `SharedLayer` for each place in each block, up to the deepest option, between stem and head.

    A step trains the weights of its path alone: the gradient of an operation that is not on it stays None, that of
    weights outside a slice is zero.

    Args:
        space: Whose architectures are the paths.
        task: What they are built for.
    """

    def __init__(self, space: MnasSpace, task: Task) -> None:
        super().__init__()
        self._space, self._task = space, task
        self._paths: dict[Architecture, list[list[LayerSpec]]] = {}
        skeleton, (most, outputs) = space.skeleton, space.largest(task)
        style = Style(skeleton.activation, skeleton.eps)
        self._stem, self._head = most[0][0].inputs, skeleton.head
        self.stem = SlicedConvolution(
            task.channels,
            self._stem,
            3,
            style,
            stride=strides_for(skeleton, task.image_size)[0],
            size=task.image_size if skeleton.same_padding else 0,
        )
        self.blocks = nn.ModuleList(nn.ModuleList(SharedLayer(layer, style) for layer in block) for block in most)
        self.head = SlicedConvolution(outputs, self._head, 1, style) if self._head else None
        self.classifier = SlicedLinear(self._head or outputs, task.classes)
        self.apply(initialise)
        for module in self.modules():
            if isinstance(module, SharedLayer):
                module.begin_alike()

    def forward(self, images: Tensor, architecture: Architecture) -> Tensor:
        """Logits `(N, classes)` of normalised images `(N, channels, H, W)` by the path of a canonical architecture."""
        return self._logits(images, architecture, blended=False)

    def blended(self, images: Tensor, architecture: Architecture) -> Tensor:
        """The same with the mean of all operations in each layer, TuNAS's warm-up (arXiv:2008.06120)."""
        return self._logits(images, architecture, blended=True)

    def _logits(self, images: Tensor, architecture: Architecture, *, blended: bool) -> Tensor:
        features = self.stem(images, self._stem, 3)
        for layer, spec in self._path(architecture):
            features = layer(features, spec, blended=blended)
        if self.head is not None:
            features = self.head(features, self._head, 1)
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits

    @torch.no_grad()
    def cut(self, architecture: Architecture) -> Network:
        """The path as `MnasSpace.build` makes it, with copies of the slices."""
        network = self._space.build(architecture, self._task)
        shared = (weight for part in self._parts(architecture) for weight in part.parameters())
        for own, weight in zip(network.parameters(), shared, strict=True):
            own.copy_(sliced(weight, own.shape))
        return network

    def _parts(self, architecture: Architecture) -> Iterator[nn.Module]:
        """What is on the path, in the order in which `Network` holds its like."""
        yield self.stem
        inputs = self._stem
        for layer, spec in self._path(architecture):
            yield from (part for part, _ in layer.parts(spec, inputs))
            inputs = spec.filters
        if self.head is not None:
            yield self.head
        yield self.classifier

    def _path(self, architecture: Architecture) -> Iterator[tuple[SharedLayer, LayerSpec]]:
        if architecture not in self._paths:
            if len(self._paths) == _REMEMBERED:
                self._paths.clear()
            self._paths[architecture] = self._space.blocks(architecture, self._task)
        for block, specs in zip(self.blocks, self._paths[architecture], strict=True):
            assert isinstance(block, nn.ModuleList)
            for layer, spec in zip(block, specs, strict=False):
                assert isinstance(layer, SharedLayer)
                yield layer, spec
