"""Published comparisons, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from archfit.catalogue.external import is_external
from archfit.catalogue.named import published_figures
from archfit.catalogue.reference import Published
from archfit.catalogue.references import get_reference
from archfit.spaces.skeleton import SMALL_IMAGE

_PAPER = "arXiv:1807.11626, table 1"


@dataclass(frozen=True)
class Row:
    """One row of a comparison.

    Attributes:
        label: As it is published.
        name: Of the network in the catalogue.
        image_size: Pixels.
        published: As the table gives them.
        note: How it differs from the published network.
    """

    label: str
    name: str
    image_size: int = 224
    published: Published = field(default_factory=Published)
    note: str = ""


def _row(
    label: str,
    name: str,
    params: float | None,
    madds: float,
    top1: float,
    top5: float | None = None,
    pixel1_ms: float | None = None,
    note: str = "",
) -> Row:
    """Parameters and multiply-adds in millions, as printed."""
    figures = Published(
        round(params * 1e6) if params is not None else None,
        round(madds * 1e6),
        top1,
        top5,
        pixel1_ms=pixel1_ms,
        source=_PAPER,
    )
    return Row(label, name, published=figures, note=note)


_EXCHANGED = "the table exchanges the two labels: by CondenseNet's own paper, G=C=8 has 2.9 M parameters, G=C=4 4.8 M"
_DARTS = (
    "the table has the figures of the paper's first version; these are the cells of its second, published with 4.7 M"
)
_MNASNET = (
    _row("MobileNetV1", "mobilenet-v1", 4.2, 575, 70.6, 89.5, 113),
    _row("SqueezeNext", "pytorchcv:sqnxt23v5_w2", 3.2, 708, 67.5, 88.2, note="2.0-SqNxt-23v5"),
    _row("ShuffleNet (1.5x)", "pytorchcv:shufflenet_g3_w3d2", 3.4, 292, 71.5, note="3 groups"),
    _row("ShuffleNet (2x)", "pytorchcv:shufflenet_g3_w2", 5.4, 524, 73.7, note="3 groups"),
    _row("ShuffleNetV2 (1.5x)", "torchvision:shufflenet_v2_x1_5", None, 299, 72.6),
    _row("ShuffleNetV2 (2x)", "torchvision:shufflenet_v2_x2_0", None, 597, 75.4),
    _row("CondenseNet (G=C=4)", "pytorchcv:condensenet74_c8_g8", 2.9, 274, 71.0, 90.0, note=_EXCHANGED),
    _row("CondenseNet (G=C=8)", "pytorchcv:condensenet74_c4_g4", 4.8, 529, 73.8, 91.7, note=_EXCHANGED),
    _row("MobileNetV2", "mobilenet-v2", 3.4, 300, 72.0, 91.0, 75),
    _row("MobileNetV2 (1.4x)", "mobilenet-v2-1.4", 6.9, 585, 74.7, 92.5, 143),
    _row("NASNet-A", "nasnet-a", 5.3, 564, 74.0, 91.3, 183),
    _row("AmoebaNet-A", "amoebanet-a", 5.1, 555, 74.5, 92.0, 190),
    _row("PNASNet", "pnasnet-5", 5.1, 588, 74.2, 91.9),
    _row("DARTS", "darts", 4.9, 595, 73.1, 91.0, note=_DARTS),
    _row("MnasNet-A1", "mnasnet-a1", 3.9, 312, 75.2, 92.5, 78),
    _row("MnasNet-A2", "mnasnet-a2", 4.8, 340, 75.6, 92.7, 84, note="a reconstruction"),
    _row("MnasNet-A3", "mnasnet-a3", 5.2, 403, 76.7, 93.3, 103, note="a reconstruction"),
)

SCALING_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)
SCALING_SIZES = (96, 128, 160, 192, 224)
_SCALING = tuple(
    Row(f"{name} {width:g}", name if width == 1.0 else f"{name}-{width:g}", size)
    for name in ("mnasnet-a1", "mobilenet-v2")
    for width in SCALING_WIDTHS
    for size in SCALING_SIZES
)

TABLES: dict[str, tuple[Row, ...]] = {"mnasnet": _MNASNET, "scaling": _SCALING}
"""Name -> rows: MnasNet's table 1, and mnasnet-a1 and mobilenet-v2 over widths and resolutions."""


def row_of(name: str, image_size: int) -> Row:
    """A row for a network asked for by name."""
    published = published_figures(name)
    if published.image_size <= SMALL_IMAGE < image_size:  # a network of ours for small images has another stem there
        published = replace(published, params=None, madds=None)
    return Row(name, name, image_size, published, "" if is_external(name) else get_reference(name).note)
