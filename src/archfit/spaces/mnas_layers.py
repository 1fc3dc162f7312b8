"""A network of the mnas space as a table of its layers, for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.cost import count_params
from archfit.nn.mbconv import LayerSpec, Network


@dataclass(frozen=True)
class LayerRow:
    """One step of the network.

    Attributes:
        name: As in "stem", "block 3 layer 1", "head".
        kind: "conv", "dconv", "separable", "mbconv3", "mbconv6", "pool", "reduction" or "linear".
        detail: As in "3x3, stride 2, SE 0.25, identity skip".
        shape: Output (channels, height, width); (classes,) for the classifier.
        params: Learnt parameters.
        madds: Multiply-adds of one image.
    """

    name: str
    kind: str
    detail: str
    shape: tuple[int, ...]
    params: int
    madds: int


def layer_rows(literals: Mapping[str, Any], blocks: Sequence[Sequence[LayerSpec]], task: Task) -> list[LayerRow]:
    """Stem, layers, head, pool and classifier, from shapes alone: no weights are made.

    Args:
        literals: The arguments of `Network`.
        blocks: Its layers, block by block, for their names.
        task: What it is built for.
    """
    with torch.device("meta"):
        network = Network(**literals).eval()
        x = torch.empty(1, task.channels, task.image_size, task.image_size)
    named = [
        (f"block {block} layer {number}", spec)
        for block, specs in enumerate(blocks, 1)
        for number, spec in enumerate(specs, 1)
    ]
    steps: list[tuple[str, str, str, nn.Module]] = [
        ("stem", "conv", _spatial(3, literals["stem_stride"]), network.stem)
    ]
    steps += [(name, spec.op, _detail(spec), layer) for (name, spec), layer in zip(named, network.layers, strict=True)]
    if literals["head"]:
        steps.append(("head", "conv", _spatial(1, 1), network.head))
    steps += [
        ("pool", "pool", "mean over the image", _Mean()),
        ("classifier", "linear", f"{task.classes} classes", network.classifier),
    ]
    from torch.utils.flop_counter import FlopCounterMode  # late: it takes 75 MB with triton

    rows = []
    for name, kind, detail, module in steps:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            x = module(x)
        madds = int(counter.get_total_flops()) // 2
        rows.append(LayerRow(name, kind, detail, tuple(x.shape[1:]), count_params(module), madds))
    return rows


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def _spatial(kernel: int, stride: int) -> str:
    return f"{kernel}x{kernel}" + (f", stride {stride}" if stride > 1 else "")


def _detail(spec: LayerSpec) -> str:
    excite = f", SE {spec.se:g}" if spec.se else ""
    skip = "" if spec.skip == "none" else f", {spec.skip} skip"
    return _spatial(spec.kernel, spec.stride) + excite + skip
