"""One layer of the mnas space with the weights of all its options, shared as TuNAS shares them (arXiv:2008.06120)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from archfit.nn.mbconv import EXPANSIONS, LayerSpec, Style, pooled, reduced_channels, window
from archfit.nn.sliced import SlicedConvolution, SlicedExcite

_SHARED = {"mbconv3": "mbconv", "mbconv6": "mbconv"}


class SharedSpec(NamedTuple):
    """The most that the options of a layer need.

    Attributes:
        ops: That it may be, as in `LayerSpec`.
        kernel: The largest.
        stride: Of all of them.
        se: The largest ratio.
        inputs: Channels at most.
        filters: Output channels at most.
        size: Of the input where strided convolutions pad as TensorFlow does, else 0.
    """

    ops: tuple[str, ...]
    kernel: int
    stride: int
    se: float
    inputs: int
    filters: int
    size: int = 0


class SharedLayer(nn.Module):
    """Any `LayerSpec` within a `SharedSpec`.

    Operations have weights of their own, but "mbconv3" and "mbconv6" share: the first has the first channels of the
    second's expansion. Kernels, channels and squeeze-and-excitation are slices too.
    """

    def __init__(self, most: SharedSpec, style: Style) -> None:
        super().__init__()
        rising = sorted(most.ops, key=lambda op: EXPANSIONS.get(op, 0))
        widest = {_SHARED.get(op, op): op for op in rising}
        self._narrowest = {_SHARED.get(op, op): op for op in reversed(rising)}
        self.ops = nn.ModuleDict({name: _operation(op, most, style) for name, op in widest.items()})

    def forward(self, x: Tensor, spec: LayerSpec, *, blended: bool = False) -> Tensor:
        """`(N, inputs, H, W)` to `(N, filters, ceil(H / stride), ...)`.

        Blended, it is the mean of all operations, the others as narrow as they come.
        """
        inputs = x.shape[1]
        own = _SHARED.get(spec.op, spec.op)
        others = [op for name, op in self._narrowest.items() if blended and name != own]
        out = self._through(x, spec)
        for op in others:
            out = out + self._through(x, spec._replace(op=op))
        if others:
            out = out / (len(others) + 1)
        if spec.skip == "identity":
            return out + x
        if spec.skip == "pool":
            return out + pooled(x, window(inputs).to(x), spec.stride, spec.filters)
        return out

    def _through(self, x: Tensor, spec: LayerSpec) -> Tensor:
        inputs = x.shape[1]
        for part, sizes in self.parts(spec, inputs):
            x = part(x, *sizes)
        return x

    @torch.no_grad()
    def begin_alike(self) -> None:
        """Gives all operations filters that find the same features, of those that "mbconv" or "dconv" begins with.

        Where each begins on its own, what comes after meets features that have nothing in common, and learns almost
        nothing until they have. An expansion passes its inputs on first; a full kernel is the product of a depthwise
        and a 1x1 one.
        """
        separate = [self.ops[name] for name in ("mbconv", "dconv", "separable") if name in self.ops]
        if not separate:
            return
        source, *others = (_filters(operation) for operation in separate)
        depthwise, pointwise = source["depthwise"], source["out"]
        if "expand" in source:
            inputs = source["expand"].shape[1]
            scale = float(source["expand"].std()) * inputs**0.5
            source["expand"][:inputs] = scale * torch.eye(inputs).view(inputs, inputs, 1, 1)
            depthwise, pointwise = depthwise[:inputs], pointwise[:, :inputs]
        for other in others:
            other["depthwise"].copy_(depthwise)
            other["out"].copy_(pointwise * (other["out"].std() / pointwise.std()))
        if "conv" in self.ops:
            full = _filters(self.ops["conv"])["out"]
            product = pointwise * depthwise.transpose(0, 1)
            full.copy_(product * (full.std() / product.std()))

    def parts(self, spec: LayerSpec, inputs: int) -> Sequence[tuple[nn.Module, tuple[int, ...]]]:
        """What runs, in the order of `archfit.nn.mbconv.Layer`; each with what its forward takes after its input."""
        operation = self.ops[_SHARED.get(spec.op, spec.op)]
        assert isinstance(operation, nn.ModuleDict)
        reduced = reduced_channels(inputs, spec.se)
        gate = [(operation["gate"], (reduced,))] if reduced else []
        if spec.op == "conv":
            return [(operation["out"], (spec.filters, spec.kernel)), *gate]
        wide = inputs * EXPANSIONS[spec.op]
        expand = [(operation["expand"], (wide, 1))] if "expand" in operation else []
        depthwise = (operation["depthwise"], (wide, spec.kernel))
        return [*expand, depthwise, *gate, (operation["out"], (spec.filters, 1))]


def _filters(operation: nn.Module) -> dict[str, Tensor]:
    assert isinstance(operation, nn.ModuleDict)
    return {name: part.convolution.weight for name, part in operation.items() if isinstance(part, SlicedConvolution)}


def _operation(op: str, most: SharedSpec, style: Style) -> nn.ModuleDict:
    parts = nn.ModuleDict()
    outside = most.filters if op == "conv" else most.inputs * EXPANSIONS[op]
    if op == "conv":
        parts["out"] = SlicedConvolution(
            most.inputs, most.filters, most.kernel, style, stride=most.stride, size=most.size
        )
    else:
        if outside > most.inputs:
            parts["expand"] = SlicedConvolution(most.inputs, outside, 1, style)
        parts["depthwise"] = SlicedConvolution(
            outside, outside, most.kernel, style, stride=most.stride, depthwise=True, size=most.size
        )
        parts["out"] = SlicedConvolution(outside, most.filters, 1, style, active=op == "separable")
    if most.se:
        parts["gate"] = SlicedExcite(outside, reduced_channels(most.inputs, most.se))
    return parts
