"""What a named network of our spaces is, and how it is scaled in width."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from archfit.architecture import Architecture, Task
from archfit.errors import InputError
from archfit.spaces import BlockChoices, CellSpace, MnasSpace
from archfit.spaces.skeleton import scale_filters

IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's training images per channel, in 0..1."""


_FAMILIES = {
    "mnasnet": "MnasNet",
    "mobilenet-v1": "MobileNetV1",
    "mobilenet-v2": "MobileNetV2",
    "efficientnet-lite": "EfficientNet-Lite",
    "proxylessnas": "ProxylessNAS",
    "nasnet": "NASNet",
    "amoebanet": "AmoebaNet",
    "pnasnet": "PNASNet",
    "darts": "DARTS",
    "enas": "ENAS",
}


@dataclass(frozen=True)
class Published:
    """Figures as their authors published them, None where they gave none; of accuracy, ImageNet's.

    Attributes:
        params: Number of parameters.
        madds: Multiply-adds of one image.
        top1: Percent.
        top5: Percent.
        image_size: Pixels that the figures hold for.
        classes: Logits that they hold for.
        pixel1_ms: Latency on one big core of a Pixel 1.
        source: Where they stand.
    """

    params: int | None = None
    madds: int | None = None
    top1: float | None = None
    top5: float | None = None
    image_size: int = 224
    classes: int = 1000
    pixel1_ms: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Reference:
    """A published architecture that is a named point of one of our spaces, or of a stated extension of one.

    Attributes:
        name: In the catalogue.
        space: It is a point of.
        architecture: As published; `space.canonical` gives the one it shares with equal networks.
        published: Its figures.
        extension: What the space lacks for it as it is searched; empty for a point of the space itself.
        note: What a reader should know, as that it is a reconstruction.
        weights: Whose ImageNet weights fit, as "timm:tf_efficientnet_lite0"; empty where nobody publishes any.
        statistics: Mean and deviation per RGB channel that its ImageNet weights expect.
    """

    name: str
    space: MnasSpace | CellSpace
    architecture: Architecture
    published: Published
    extension: str = ""
    note: str = ""
    weights: str = ""
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET_STATISTICS

    @property
    def family(self) -> str:
        """As its authors write it."""
        return next(family for prefix, family in _FAMILIES.items() if self.name.startswith(prefix))

    def build(self, task: Task) -> nn.Module:
        """A new module with random weights; for images of 64 pixels or less with the space's smaller strides."""
        return self.space.build(self.architecture, task)


def point(
    name: str,
    space: MnasSpace,
    blocks: list[BlockChoices],
    published: Published,
    *,
    extension: str = "",
    note: str = "",
    weights: str = "",
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET_STATISTICS,
) -> Reference:
    """A reference from the choices of its blocks."""
    return Reference(name, space, space.architecture(blocks), published, extension, note, weights, statistics)


def divisible_by_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8, never more than 10 % below (MobileNetV2's rule)."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def scaled(reference: Reference, width: float, *, wider_head: bool) -> Reference:
    """The reference with all channels multiplied, each to a multiple of 8, as its authors' code does.

    Args:
        reference: At width 1.
        width: Above 0; 0.35 to 1.4 were published.
        wider_head: Whether the last 1x1 convolution grows above width 1, as MobileNetV2's does.
    """
    if not 0 < width < float("inf"):
        raise InputError(f"width of {reference.name} is {width}; give a positive number, as 0.5")
    assert isinstance(reference.space, MnasSpace)
    skeleton = reference.space.skeleton
    head = divisible_by_8(skeleton.head * max(1.0, width)) if wider_head else skeleton.head
    filters, blocks = [], []
    for number, base in enumerate(skeleton.filters, 1):
        chosen = BlockChoices(*(reference.architecture[f"block{number}.{field}"] for field in BlockChoices._fields))  # type: ignore[arg-type]
        filters.append(divisible_by_8(scale_filters(base, 1.0, chosen.filters) * width))
        blocks.append(chosen._replace(filters=1.0))
    narrower = replace(skeleton, stem=divisible_by_8(skeleton.stem * width), filters=tuple(filters), head=head)
    return point(
        f"{reference.name}-{width:g}",
        replace(reference.space, skeleton=narrower),
        blocks,
        Published(source=f"{reference.name} at width {width:g}"),
        extension=reference.extension,
        note=reference.note,
    )
