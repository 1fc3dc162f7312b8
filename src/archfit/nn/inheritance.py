"""What a network of the mnas space takes over from a trained one that is wider, deeper or otherwise different."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, zip_longest

import torch
from torch import Tensor, nn

from archfit.errors import WeightsError
from archfit.nn.mbconv import Layer, Network, SqueezeExcite
from archfit.nn.weights import other_channels

_OPEN_GATE = 3.0


@dataclass(frozen=True)
class Blocks:
    """A network with the number of layers in each of its blocks; a block may be empty."""

    network: Network
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if sum(self.counts) != len(self.network.layers):
            raise ValueError(f"blocks of {self.counts} layers; the network has {len(self.network.layers)}")

    def parts(self) -> list[list[_Parts]]:
        """The layers of each block, taken apart."""
        layers = (_Parts.of(layer) for layer in self.network.layers if isinstance(layer, Layer))
        return [list(islice(layers, count)) for count in self.counts]


@dataclass(frozen=True)
class _Parts:
    """The convolutions of a layer, each with its batch norm; `depthwise` is None for a plain convolution."""

    expand: _Filters | None
    depthwise: _Filters | None
    gate: SqueezeExcite | None
    out: _Filters
    identity: bool

    @staticmethod
    def of(layer: Layer) -> _Parts:
        body = list(layer.body)
        filters = [
            _Filters(module, norm)
            for module, norm in pairwise(body)
            if isinstance(module, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        ]
        gates = [module for module in body if isinstance(module, SqueezeExcite)]
        expand = filters[0] if len(filters) == 3 else None
        depthwise = filters[-2] if len(filters) > 1 else None
        return _Parts(expand, depthwise, gates[0] if gates else None, filters[-1], layer.skip == "identity")


@dataclass(frozen=True)
class _Filters:
    """A convolution without bias and the batch norm behind it."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d

    def folded(self) -> Tensor:
        """The filters times the scale that the batch norm gives them: `(outputs, inputs, k, k)`."""
        norm = self.norm
        assert norm.running_var is not None
        scale: Tensor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return self.convolution.weight * scale[:, None, None, None]

    def strength(self) -> Tensor:
        """L1 norm of each folded filter."""
        return self.folded().abs().sum((1, 2, 3))

    def take(self, source: _Filters, outputs: Tensor, inputs: Tensor | None) -> int:
        """Copies what `source` has for these channels; returns the number of weights that were copied.

        Args:
            source: Of the trained network.
            outputs: For each own output the source's, or -1 for none.
            inputs: The same of the inputs; None for a depthwise convolution.
        """
        weight = self.convolution.weight
        own_out, their_out = _pairs(outputs)
        if inputs is None:
            own_in = their_in = torch.zeros(1, dtype=torch.long)
        else:
            own_in, their_in = _pairs(inputs)
        taken = source.convolution.weight[their_out][:, their_in]
        weight[own_out[:, None], own_in] = _resized(taken, weight.shape[-1])
        self.take_norm(source, outputs)
        return len(own_out) * len(own_in) * weight.shape[-1] ** 2

    def take_norm(self, source: _Filters, outputs: Tensor) -> None:
        own, theirs = _pairs(outputs)
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(self.norm, name)[own] = getattr(source.norm, name)[theirs]


@torch.no_grad()
def inherit(network: Blocks, source: Blocks) -> float:
    """Fills a network in place with what fits of a trained one; the rest keeps its random weights.

    Layers belong together by their position in their block. Of filters and channels the strongest are kept, by the L1
    norm of filters with their batch norm folded in (arXiv:1608.08710), the same ones throughout a block where skips
    add them up. Kernels are cropped from the centre, or set into one of zeros. A plain convolution takes the product of
    the expansion, depthwise and projection filters. A layer that the source lacks adds nothing to its skip at first.
    The classifier stays random.

    Returns:
        Share of the weights that were inherited.

    Raises:
        WeightsError: The source has another number of blocks.
    """
    if len(network.counts) != len(source.counts):
        raise WeightsError(
            f"the weights are of a network of {len(source.counts)} blocks, the space has {len(network.counts)}; "
            "give those of a MnasNet, MobileNetV2 or EfficientNet-Lite"
        )
    ours, theirs = network.network, source.network
    stem, their_stem = (_Filters(*list(each.stem)[:2]) for each in (ours, theirs))  # type: ignore[arg-type]
    channels = _strongest(their_stem.strength(), stem.convolution.out_channels)
    inherited = _take_stem(stem, their_stem, channels)
    for own_block, their_block in zip(network.parts(), source.parts(), strict=True):
        if not own_block:
            channels = torch.full_like(channels, -1)
            continue
        outputs = None
        if their_block:
            score = torch.stack([parts.out.strength() for parts in their_block]).sum(0)
            outputs = _strongest(score, own_block[0].out.convolution.out_channels)
        for own, their in islice(zip_longest(own_block, their_block), len(own_block)):
            if their is None or outputs is None:
                if own.identity:
                    own.out.norm.weight.zero_()
            else:
                inherited += _take_layer(own, their, channels, outputs)
            channels = outputs if outputs is not None else torch.full((own.out.convolution.out_channels,), -1)
    if len(ours.head) and len(theirs.head):
        head, their_head = (_Filters(*list(each.head)[:2]) for each in (ours, theirs))  # type: ignore[arg-type]
        outputs = _strongest(their_head.strength(), head.convolution.out_channels)
        inherited += head.take(their_head, outputs, channels)
    return inherited / sum(weight.numel() for weight in ours.parameters() if weight.dim() > 1)


def _take_stem(own: _Filters, their: _Filters, outputs: Tensor) -> int:
    adapted = other_channels(their.convolution.weight, own.convolution.in_channels)
    if adapted is None:
        return 0
    own_out, their_out = _pairs(outputs)
    own.convolution.weight[own_out] = adapted[their_out]
    own.take_norm(their, outputs)
    return len(own_out) * adapted[0].numel()


def _take_layer(own: _Parts, their: _Parts, inputs: Tensor, outputs: Tensor) -> int:
    if own.depthwise is None or their.depthwise is None:
        return _take_convolution(own, their, inputs, outputs)
    if their.expand is None or own.expand is None:
        return _take_unexpanded(own, their, inputs, outputs)
    kept = _pairs(outputs)[1]
    spread = their.depthwise.strength() * their.out.folded()[kept].abs().sum((0, 2, 3))
    hidden = _strongest(spread, own.depthwise.convolution.out_channels)
    count = own.expand.take(their.expand, hidden, inputs)
    count += own.depthwise.take(their.depthwise, hidden, None)
    count += own.out.take(their.out, outputs, hidden)
    return count + _take_gate(own.gate, their.gate, hidden)


def _take_unexpanded(own: _Parts, their: _Parts, inputs: Tensor, outputs: Tensor) -> int:
    """Where one of the two has no expansion: own channel i goes on as the source's hidden channel of input i."""
    assert own.depthwise is not None
    assert their.depthwise is not None
    hidden = inputs
    if their.expand is not None:  # of each input, the hidden channel that hands most of it on
        spread = their.depthwise.strength() * their.out.folded().abs().sum((0, 2, 3))
        best = (their.expand.folded()[:, :, 0, 0] * spread[:, None]).argmax(0)
        hidden = torch.where(inputs >= 0, best[inputs.clamp(min=0)], -1)
    if own.expand is not None:  # the first own hidden channels hand their inputs on as they are
        width, expanded = len(inputs), own.depthwise.convolution.out_channels
        own.expand.convolution.weight[:width] = torch.eye(width)[:, :, None, None]
        hidden = torch.cat([hidden, torch.full((expanded - width,), -1)])
    count = own.depthwise.take(their.depthwise, hidden, None)
    count += own.out.take(their.out, outputs, hidden)
    return count + _take_gate(own.gate, their.gate, hidden)


def _take_convolution(own: _Parts, their: _Parts, inputs: Tensor, outputs: Tensor) -> int:
    if own.depthwise is not None:  # filters of a plain convolution have no part for a factorised one
        if own.identity:
            own.out.norm.weight.zero_()
        return 0
    if their.depthwise is None:
        return own.out.take(their.out, outputs, inputs)
    product = their.out.convolution.weight[:, :, 0, 0]
    kernels = their.depthwise.folded()[:, 0]
    if their.expand is None:
        whole = torch.einsum("oh,hyx->ohyx", product, kernels)
    else:
        whole = torch.einsum("oh,hyx,hi->oiyx", product, kernels, their.expand.folded()[:, :, 0, 0])
    own_out, their_out = _pairs(outputs)
    own_in, their_in = _pairs(inputs)
    weight = own.out.convolution.weight
    if not len(own_in) or not len(own_out):
        return 0
    taken = _resized(whole[their_out][:, their_in], weight.shape[-1])
    rest = weight[own_out[:, None], own_in]
    weight[own_out[:, None], own_in] = taken * (rest.std() / taken.std().clamp(min=1e-12))
    _take_gate(own.gate, None, outputs)
    return taken.numel()


def _take_gate(own: SqueezeExcite | None, their: SqueezeExcite | None, hidden: Tensor) -> int:
    """Slices the gate; one that the source lacks begins open."""
    if own is None:
        return 0
    if their is None:
        own.expand.weight.zero_()
        assert own.expand.bias is not None
        own.expand.bias.fill_(_OPEN_GATE)
        return 0
    mine, theirs = _pairs(hidden)
    strength = their.reduce.weight.abs().sum((1, 2, 3))
    own_inner, their_inner = _pairs(_strongest(strength, own.reduce.out_channels))
    own.reduce.weight[own_inner[:, None], mine] = their.reduce.weight[their_inner][:, theirs]
    own.expand.weight[mine[:, None], own_inner] = their.expand.weight[theirs][:, their_inner]
    for own_bias, index, their_bias, other in (
        (own.reduce.bias, own_inner, their.reduce.bias, their_inner),
        (own.expand.bias, mine, their.expand.bias, theirs),
    ):
        assert own_bias is not None
        assert their_bias is not None
        own_bias[index] = their_bias[other]
    return 2 * len(mine) * len(own_inner)


def _strongest(score: Tensor, count: int) -> Tensor:
    """The `count` indices of highest score, ascending; -1 for those that there are not."""
    kept = score.topk(min(count, len(score))).indices.sort().values
    return torch.cat([kept, torch.full((count - len(kept),), -1)])


def _pairs(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Own and source index of every channel that has a source."""
    own = torch.nonzero(channels >= 0)[:, 0]
    return own, channels[own]


def _resized(filters: Tensor, kernel: int) -> Tensor:
    """Cropped from the centre, or in the centre of zeros: `(..., k, k)` to `(..., kernel, kernel)`."""
    margin = (kernel - filters.shape[-1]) // 2
    return nn.functional.pad(filters, (margin,) * 4)


def group_layers(filters: Sequence[int]) -> tuple[int, ...]:
    """Lengths of the runs of layers with the same output channels, which are a network's blocks."""
    counts: list[int] = []
    for position, number in enumerate(filters):
        if position and number == filters[position - 1]:
            counts[-1] += 1
        else:
            counts.append(1)
    return tuple(counts)
