"""One layer of the mnas space with the weights of all its options, shared as TuNAS shares them (arXiv:2008.06120)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
        widest = {_SHARED.get(op, op): op for op in sorted(most.ops, key=lambda op: EXPANSIONS.get(op, 0))}
        self.ops = nn.ModuleDict({name: _operation(op, most, style) for name, op in widest.items()})

    def forward(self, x: Tensor, spec: LayerSpec) -> Tensor:
        """`(N, inputs, H, W)` to `(N, filters, ceil(H / stride), ...)`."""
        inputs = x.shape[1]
        out = x
        for part, sizes in self.parts(spec, inputs):
            out = part(out, *sizes)
        if spec.skip == "identity":
            return out + x
        if spec.skip == "pool":
            return out + pooled(x, window(inputs).to(x), spec.stride, spec.filters)
        return out

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
