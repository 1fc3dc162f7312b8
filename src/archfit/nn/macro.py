"""The operations of the ENAS macro space and the network made of them, in plain PyTorch.

This file imports torch alone: its text becomes part of the stand-alone `network.py` that goes out with a network.

It follows the authors' public code (arXiv:1802.03268; melodyguan/enas, general_child.py) as that shares weights, and
departs from it where a comment says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

OPERATIONS = ("conv3", "sep3", "conv5", "sep5", "avg3", "max3")


class LayerSpec(NamedTuple):
    """One layer of the network.

    Attributes:
        op: One of `OPERATIONS`; it takes the output of the layer before.
        skips: Numbers of earlier outputs that are added to its result, ascending: 0 is the stem, 1 the first layer.
            The layer before is none of them. (In the paper a layer chooses among all layers before it and the
            operation takes what was chosen; this is the authors' code.)
    """

    op: str
    skips: tuple[int, ...]


def stem(channels: int, filters: int, strides: Sequence[int]) -> nn.Sequential:
    """A 3x3 convolution with batch norm per stride, an activation between them and, as in ENAS, none at the end."""
    modules: list[nn.Module] = []
    for index, stride in enumerate(strides):
        if index:
            modules.append(nn.ReLU(inplace=True))
        inputs = filters if index else channels
        modules += [nn.Conv2d(inputs, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters)]
    return nn.Sequential(*modules)


def operation(name: str, filters: int) -> nn.Sequential:
    """1x1 convolution, batch norm, activation; then what the name says: `(N, filters, H, W)` in and out.

    Convolutions, separable ones (depthwise, then 1x1 with nothing between) too, end with batch norm and activation.
    """
    modules: list[nn.Module] = [nn.Conv2d(filters, filters, 1, bias=False), *_norm_and_activation(filters)]
    kernel = int(name[-1])
    if name.startswith("conv"):
        modules += [nn.Conv2d(filters, filters, kernel, 1, kernel // 2, bias=False), *_norm_and_activation(filters)]
    elif name.startswith("sep"):
        modules += [
            nn.Conv2d(filters, filters, kernel, 1, kernel // 2, groups=filters, bias=False),
            nn.Conv2d(filters, filters, 1, bias=False),
            *_norm_and_activation(filters),
        ]
    elif name.startswith("avg"):
        modules.append(nn.AvgPool2d(kernel, 1, kernel // 2, count_include_pad=False))
    else:
        modules.append(nn.MaxPool2d(kernel, 1, kernel // 2))
    return nn.Sequential(*modules)


def _norm_and_activation(filters: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]


class Reduction(nn.Module):
    """Factorised reduction: `(N, filters, H, W)` to `(N, filters, ceil(H / 2), ceil(W / 2))`, `filters` even.

    One half of the channels is computed from every second pixel, the other from the pixels one down and to the right.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(filters, filters // 2, 1, 2, bias=False)
        # The padding puts this one's grid on the odd pixels and, where H is odd, zeros after the last row. Shifting
        # the image instead would copy all of it; here a row and a column of the small result are dropped.
        self.odd = nn.Conv2d(filters, filters // 2, 1, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(x)[:, :, 1:, 1:]], 1))
        return out


def reduced_after(layers: Sequence[LayerSpec]) -> dict[int, tuple[int, ...]]:
    """Which outputs are reduced, by the number of the layer after which it happens: a third and two thirds.

    ENAS reduces all outputs there are; those that no later layer reads are left out here.
    """
    third = len(layers) // 3
    plan = {}
    for after in (third, 2 * third):
        read = {earlier for spec in layers[after:] for earlier in spec.skips if earlier < after}
        plan[after] = (*sorted(read), after)
    return plan


def last_output(
    first: Tensor,
    layers: Sequence[LayerSpec],
    operations: Iterable[nn.Module],
    norms: Iterable[nn.Module],
    reductions: nn.ModuleDict,
) -> Tensor:
    """The layers one after the other.

    Args:
        first: Output of the stem, `(N, filters, H, W)`.
        layers: In order.
        operations: One per layer.
        norms: Batch norm after the sum with the skips, one per layer but the first, which has no sum.
        reductions: By the number of the layer after which, and that of the output which is reduced, as in "4_2".

    Returns:
        Output of the last layer, `(N, filters, ceil(H / 4), ceil(W / 4))`.
    """
    plan = reduced_after(layers)
    outputs = {0: first}
    for number, (spec, apply, norm) in enumerate(zip(layers, operations, (None, *norms), strict=True), 1):
        x: Tensor = apply(outputs[number - 1])
        if norm is not None:
            # The final networks of ENAS concatenate here and mix by a 1x1 convolution: its weights depend on which
            # skips there are, so they cannot be shared. As what was searched is what is built, the sum is kept.
            for count, earlier in enumerate(spec.skips):
                x = x.add_(outputs[earlier]) if count else x + outputs[earlier]  # the sum is no one else's
            x = norm(x)
        outputs[number] = x
        if number in plan:
            outputs = {each: reductions[f"{number}_{each}"](outputs[each]) for each in plan[number]}
    return outputs[len(layers)]


class Network(nn.Module):
    """Stem, layers with skips and two reductions, mean over the image, drop-out, linear classifier.

    The number of channels is the same throughout, as it is while ENAS shares weights (its final networks double it at
    each reduction).

    Args:
        channels: Of the input images.
        classes: Number of logits.
        filters: Channels of every output, an even number.
        stem_strides: One 3x3 convolution each.
        layers: In order, each a `LayerSpec` or the same values as a plain tuple; at least three.
        dropout: Share of the features that is dropped before the classifier in training.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        filters: int,
        stem_strides: Sequence[int],
        layers: Sequence[tuple[str, tuple[int, ...]]],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.specs = tuple(LayerSpec(*values) for values in layers)
        self.stem = stem(channels, filters, stem_strides)
        self.operations = nn.ModuleList(operation(spec.op, filters) for spec in self.specs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters) for _ in self.specs[1:])
        self.reductions = nn.ModuleDict(
            {
                f"{after}_{each}": Reduction(filters)
                for after, read in reduced_after(self.specs).items()
                for each in read
            }
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(filters, classes)
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(N, classes)` of normalised images `(N, channels, H, W)`."""
        x = last_output(self.stem(image), self.specs, self.operations, self.norms, self.reductions)
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits


def initialise(module: nn.Module) -> None:
    """He's normal weights over the incoming connections. The classifier has a bias, which ENAS's has not."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
