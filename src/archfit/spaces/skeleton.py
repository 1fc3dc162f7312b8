"""What the mnas space keeps fixed, and how widths and small images change it."""

from __future__ import annotations

from dataclasses import dataclass

from archfit.errors import InputError
from archfit.nn.mbconv import ACTIVATIONS

STEM_STRIDE = 2
SMALL_IMAGE = 64


@dataclass(frozen=True)
class Skeleton:
    """The fixed part of a mnas space; the three tuples have one entry per block.

    Attributes:
        stem: Output channels of the first convolution (3x3, stride 2).
        filters: Base output channels of each block.
        layers: Base number of layers of each block.
        strides: Of each block's first layer.
        head: Output channels of the last 1x1 convolution; the width multiplier leaves it alone; 0 leaves it out.
        activation: "relu", "relu6" or "hswish".
        eps: Added to the variance by batch norms.
        same_padding: Strided convolutions pad as TensorFlow does, which weights that were trained there need.
        smallest_map: Height and width that the last feature map keeps on small images (see `strides_for`).
    """

    stem: int
    filters: tuple[int, ...]
    layers: tuple[int, ...]
    strides: tuple[int, ...]
    head: int = 1280
    activation: str = "relu"
    eps: float = 1e-5
    same_padding: bool = False
    smallest_map: int = 4

    def __post_init__(self) -> None:
        counts = {"filters": len(self.filters), "layers": len(self.layers), "strides": len(self.strides)}
        if len(set(counts.values())) != 1 or not self.filters:
            raise InputError(f"skeleton has {counts} entries; it needs the same number of each, one per block")
        for name, values in (
            ("stem", (self.stem,)),
            ("filters", self.filters),
            ("smallest_map", (self.smallest_map,)),
        ):
            if min(values) < 1:
                raise InputError(f"skeleton {name} is {getattr(self, name)}; every value must be at least 1")
        if self.head < 0:
            raise InputError(f"skeleton head is {self.head}; it must be at least 1, or 0 for none")
        if not 0 < self.eps < 1:
            raise InputError(f"skeleton eps is {self.eps}; it must be a small positive number, as 1e-5")
        if min(self.layers) < 1:
            raise InputError(f"skeleton layers is {self.layers}; every block must have at least 1")
        if not set(self.strides) <= {1, 2}:
            raise InputError(f"skeleton strides is {self.strides}; every stride must be 1 or 2")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"skeleton activation is {self.activation!r}; it must be one of {list(ACTIVATIONS)}")


MNAS_SKELETON = Skeleton(
    stem=32,
    filters=(16, 24, 32, 64, 96, 160, 320),
    layers=(1, 2, 3, 4, 3, 3, 1),
    strides=(1, 2, 2, 2, 1, 2, 1),
)


def scale_channels(base: int, width: float) -> int:
    """`base` at a width multiplier: as it is at 1.0, else the nearest multiple of 4, at least 4."""
    return base if width == 1.0 else max(4, 4 * round(base * width / 4))


def scale_filters(base: int, width: float, factor: float) -> int:
    """Output channels of a block: the width multiplier first, then the block's own factor.

    From 64 channels on, scaled filters round down to a multiple of 16 (96 x 1.25 = 112). Below that they round to
    the nearest multiple of 4, at least 4 away from the unscaled number so that factors stay distinct; never below 4.
    """
    middle = scale_channels(base, width)
    if factor == 1.0:
        return middle
    if middle >= 64:
        return int(middle * factor) // 16 * 16
    nearest = 4 * round(middle * factor / 4)
    return max(nearest, middle + 4) if factor > 1.0 else max(4, min(nearest, middle - 4))


def strides_for(skeleton: Skeleton, image_size: int) -> tuple[int, tuple[int, ...]]:
    """Strides of the stem and of each block.

    For images of 64 pixels or less they become 1, from the stem on, until the last feature map is large enough: 4x4
    where the skeleton says nothing else.
    """
    strides = [STEM_STRIDE, *skeleton.strides]
    if image_size <= SMALL_IMAGE:
        for index in range(len(strides)):
            if _last_size(image_size, strides) >= skeleton.smallest_map:
                break
            strides[index] = 1
    return strides[0], tuple(strides[1:])


def _last_size(size: int, strides: list[int]) -> int:
    for stride in strides:
        size = -(-size // stride)
    return size
