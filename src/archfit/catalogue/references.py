"""The published networks that are points of our spaces or of a stated extension; those of the mnas space."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from archfit.catalogue.cells import CELL_REFERENCES
from archfit.catalogue.reference import Published, Reference, divisible_by_8, point, scaled
from archfit.errors import unknown_name
from archfit.spaces import MNAS_SKELETON, BlockChoices, MnasSpace, Skeleton

_MNASNET = "arXiv:1807.11626"
_LITE = "github.com/tensorflow/tpu, models/official/efficientnet/lite"


def _blocks(*rows: tuple[str, int, float, str, float, int]) -> list[BlockChoices]:
    """From (op, kernel, SE ratio, skip, filters factor, layers difference) per block."""
    return [BlockChoices(*row) for row in rows]


_SMALL = MnasSpace(
    skeleton=Skeleton(
        stem=8,
        filters=(8, 16, 16, 32, 32, 88, 144),
        layers=(1, 1, 2, 4, 3, 3, 1),
        strides=(1, 2, 2, 2, 1, 2, 1),
    )
)

_MNASNETS = (
    point(
        "mnasnet-a1",
        MnasSpace(),
        _blocks(
            ("dconv", 3, 0.0, "none", 1.0, 0),
            ("mbconv6", 3, 0.0, "identity", 1.0, 0),
            ("mbconv3", 5, 0.25, "identity", 1.25, 0),
            ("mbconv6", 3, 0.0, "identity", 1.25, 0),
            ("mbconv6", 3, 0.25, "identity", 1.25, -1),
            ("mbconv6", 5, 0.25, "identity", 1.0, 0),
            ("mbconv6", 3, 0.0, "none", 1.0, 0),
        ),
        Published(3_900_000, 312_000_000, 75.2, 92.5, pixel1_ms=78, source=f"{_MNASNET}, figure 7 and table 1"),
        weights="timm:semnasnet_100",
    ),
    point(
        "mnasnet-a2",
        MnasSpace(),
        _blocks(
            ("dconv", 3, 0.0, "none", 1.0, 0),
            ("mbconv6", 3, 0.0, "identity", 1.0, 0),
            ("mbconv3", 5, 0.25, "identity", 1.25, -1),
            ("mbconv6", 3, 0.0, "identity", 1.0, 0),
            ("mbconv6", 3, 0.25, "identity", 1.25, -1),
            ("mbconv6", 5, 0.0, "identity", 1.0, 0),
            ("mbconv6", 3, 0.0, "identity", 1.0, 1),
        ),
        Published(4_800_000, 340_000_000, 75.6, 92.7, pixel1_ms=84, source=f"{_MNASNET}, table 1"),
        note="a reconstruction: of all points that differ from A1 in at most four choices and, rounded, cost what A2 "
        "does, the closest; the real A2 is in no public code",
    ),
    point(
        "mnasnet-a3",
        MnasSpace(),
        _blocks(
            ("dconv", 3, 0.0, "none", 1.0, 0),
            ("mbconv6", 3, 0.0, "identity", 1.0, 1),
            ("mbconv3", 5, 0.25, "identity", 1.25, 0),
            ("mbconv6", 5, 0.0, "identity", 1.25, 0),
            ("mbconv6", 3, 0.25, "identity", 1.25, -1),
            ("mbconv6", 5, 0.25, "identity", 1.0, 0),
            ("mbconv6", 3, 0.0, "identity", 1.0, 1),
        ),
        Published(5_200_000, 403_000_000, 76.7, 93.3, pixel1_ms=103, source=f"{_MNASNET}, table 1"),
        note="a reconstruction: of all points that differ from A1 in at most three choices and, rounded, cost what A3 "
        "does, the closest; the real A3 is in no public code",
    ),
    point(
        "mnasnet-b1",
        MnasSpace(),
        _blocks(
            ("dconv", 3, 0.0, "none", 1.0, 0),
            ("mbconv3", 3, 0.0, "identity", 1.0, 1),
            ("mbconv3", 5, 0.0, "identity", 1.25, 0),
            ("mbconv6", 5, 0.0, "identity", 1.25, -1),
            ("mbconv6", 3, 0.0, "identity", 1.0, -1),
            ("mbconv6", 5, 0.0, "identity", 1.25, 1),
            ("mbconv6", 3, 0.0, "none", 1.0, 0),
        ),
        Published(
            4_400_000,
            315_000_000,
            74.5,
            pixel1_ms=77,
            source=f"{_MNASNET}, the model without squeeze-and-excitation; as in tensorflow/tpu",
        ),
        weights="torchvision:mnasnet1_0",
    ),
    point(
        "mnasnet-small",
        _SMALL,
        _blocks(
            ("dconv", 3, 0.0, "identity", 1.0, 0),
            ("mbconv3", 3, 0.0, "none", 1.0, 0),
            ("mbconv6", 3, 0.0, "identity", 1.0, 0),
            ("mbconv6", 5, 0.25, "identity", 1.0, 0),
            ("mbconv6", 3, 0.25, "identity", 1.0, 0),
            ("mbconv6", 5, 0.25, "identity", 1.0, 0),
            ("mbconv6", 3, 0.0, "none", 1.0, 0),
        ),
        Published(2_000_000, source="tensorflow/tpu, models/official/mnasnet"),
        extension="a skeleton of its own",
        weights="timm:mnasnet_small",
    ),
)

_V1 = point(
    "mobilenet-v1",
    MnasSpace(
        skeleton=Skeleton(
            stem=32,
            filters=(64, 128, 256, 512, 1024),
            layers=(1, 2, 2, 6, 2),
            strides=(1, 2, 2, 2, 2),
            head=0,
            activation="relu6",
        ),
        ops=("separable",),
    ),
    _blocks(*[("separable", 3, 0.0, "none", 1.0, 0)] * 5),
    Published(4_200_000, 575_000_000, 70.6, 89.5, pixel1_ms=113, source=f"{_MNASNET}, table 1; arXiv:1704.04861"),
    extension="separable convolutions with an activation after the 1x1, no head, ReLU6 (as its authors' code has it)",
    weights="timm:mobilenetv1_100",
)
_V2 = point(
    "mobilenet-v2",
    MnasSpace(skeleton=replace(MNAS_SKELETON, activation="relu6")),
    _blocks(("dconv", 3, 0.0, "none", 1.0, 0), *[("mbconv6", 3, 0.0, "identity", 1.0, 0)] * 6),
    Published(3_400_000, 300_000_000, 72.0, 91.0, pixel1_ms=75, source=f"{_MNASNET}, table 1; arXiv:1801.04381"),
    extension="ReLU6",
    weights="torchvision:mobilenet_v2",
)
_V2_WIDE = replace(
    scaled(_V2, 1.4, wider_head=True),
    note="the paper prints 6.9 M parameters; torchvision and timm have the 6.1 M of this one",
    weights="timm:mobilenetv2_140",
    published=Published(
        6_900_000, 585_000_000, 74.7, 92.5, pixel1_ms=143, source=f"{_MNASNET}, table 1; arXiv:1801.04381"
    ),
)


def _lite(number: int, width: float, depth: float, published: Published) -> Reference:
    """EfficientNet-Lite: B0's blocks without SE, ReLU6, stem, head and the depth of the first and last block fixed."""
    layers = [1, *(math.ceil(count * depth) for count in (2, 2, 3, 3, 4)), 1]
    skeleton = Skeleton(
        stem=32,
        filters=tuple(divisible_by_8(filters * width) for filters in (16, 24, 40, 80, 112, 192, 320)),
        layers=tuple(layers),
        strides=(1, 2, 2, 2, 1, 2, 1),
        activation="relu6",
        eps=1e-3,
        same_padding=True,
    )
    kernels = (3, 3, 5, 3, 5, 5, 3)
    blocks = [("mbconv6" if position else "dconv", kernel) for position, kernel in enumerate(kernels)]
    return point(
        f"efficientnet-lite{number}",
        MnasSpace(skeleton=skeleton),
        _blocks(*((op, kernel, 0.0, "identity" if op == "mbconv6" else "none", 1.0, 0) for op, kernel in blocks)),
        published,
        extension="ReLU6, TensorFlow's padding, EfficientNet's filters",
        weights=f"timm:tf_efficientnet_lite{number}",
        statistics=((127 / 255,) * 3, (128 / 255,) * 3),
    )


_LITES = (
    _lite(0, 1.0, 1.0, Published(4_700_000, 407_000_000, 75.1, source=_LITE)),
    _lite(1, 1.0, 1.1, Published(5_400_000, 631_000_000, 76.7, image_size=240, source=_LITE)),
    _lite(2, 1.1, 1.2, Published(6_100_000, 899_000_000, 77.6, image_size=260, source=_LITE)),
    _lite(3, 1.2, 1.4, Published(8_200_000, 1_440_000_000, 79.8, image_size=280, source=_LITE)),
    _lite(4, 1.4, 1.8, Published(13_000_000, 2_640_000_000, 81.5, image_size=300, source=_LITE)),
)


def _proxyless() -> Reference:
    """Each layer chose for itself, so each is a block of its own: (filters, stride, expansion, kernel)."""
    layers = [
        (16, 1, 1, 3),
        *((32, 2, 3, 5), (32, 1, 3, 3)),
        *((40, 2, 3, 7), (40, 1, 3, 3), (40, 1, 3, 5), (40, 1, 3, 5)),
        *((80, 2, 6, 7), (80, 1, 3, 5), (80, 1, 3, 5), (80, 1, 3, 5)),
        *((96, 1, 6, 5), (96, 1, 3, 5), (96, 1, 3, 5), (96, 1, 3, 5)),
        *((192, 2, 6, 7), (192, 1, 6, 7), (192, 1, 3, 7), (192, 1, 3, 7)),
        (320, 1, 6, 7),
    ]
    ops = {1: "dconv", 3: "mbconv3", 6: "mbconv6"}
    return point(
        "proxylessnas-mobile",
        MnasSpace(
            skeleton=Skeleton(
                stem=32,
                filters=tuple(filters for filters, *_ in layers),
                layers=(1,) * len(layers),
                strides=tuple(stride for _, stride, _, _ in layers),
                activation="relu6",
            ),
            kernels=(3, 5, 7),
        ),
        _blocks(*((ops[expansion], kernel, 0.0, "identity", 1.0, 0) for _, _, expansion, kernel in layers)),
        Published(4_100_000, 320_000_000, 74.6, 92.2, pixel1_ms=78, source="arXiv:1812.00332, table 2"),
        extension="one layer per block, kernel 7, ReLU6",
    )


_ALL = (*_MNASNETS, _V1, _V2, _V2_WIDE, *_LITES, _proxyless(), *CELL_REFERENCES)
REFERENCES: dict[str, Reference] = {reference.name: reference for reference in _ALL}
"""By name, in the order in which they are listed."""

_ANY_WIDTH = {"mnasnet-a1": False, "mnasnet-b1": False, "mobilenet-v1": False, "mobilenet-v2": True}
"""Names that take a width, as `mobilenet-v2-0.5`, and whether the head grows above 1."""


def get_reference(name: str) -> Reference:
    """The reference of that name; `mobilenet-v2-0.75` is one at a width. Raises `InputError` with the nearest name."""
    if name in REFERENCES:
        return REFERENCES[name]
    match = re.fullmatch(r"(.+)-(\d*\.\d+|\d+\.?)", name)
    if match is not None and match[1] in _ANY_WIDTH:
        return scaled(REFERENCES[match[1]], float(match[2]), wider_head=_ANY_WIDTH[match[1]])
    raise unknown_name("reference", name, REFERENCES)
