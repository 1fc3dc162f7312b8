from __future__ import annotations

from dataclasses import replace

import pytest

from archfit.errors import InputError
from archfit.spaces import MNAS_SKELETON, Skeleton
from archfit.spaces.skeleton import scale_channels, scale_filters, strides_for


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (16, (12, 16, 20)),
        (24, (16, 24, 32)),  # 18 and 30 are halfway between multiples of 4: to the even one
        (32, (24, 32, 40)),
        (64, (48, 64, 80)),
        (96, (64, 96, 112)),  # 72 and 120 down to multiples of 16
        (160, (112, 160, 192)),  # 120 and 200
        (320, (240, 320, 400)),
    ],
)
def test_filters_at_full_width(base: int, expected: tuple[int, ...]) -> None:
    assert tuple(scale_filters(base, 1.0, factor) for factor in (0.75, 1.0, 1.25)) == expected


@pytest.mark.parametrize(
    ("base", "width", "expected"),
    [
        (16, 0.5, (4, 8, 12)),  # 6 and 10 would both round to 8; each moves one step of 4
        (24, 0.5, (8, 12, 16)),  # 9 -> 8, 15 -> 16
        (96, 0.75, (48, 72, 80)),  # 72 is 64 or more: 54 -> 48, 90 -> 80
        (16, 0.18, (4, 4, 8)),  # 2.88 -> 4, and there is nothing below
        (320, 0.25, (48, 80, 96)),  # 60 -> 48, 100 -> 96
    ],
)
def test_filters_of_narrow_spaces(base: int, width: float, expected: tuple[int, ...]) -> None:
    assert tuple(scale_filters(base, width, factor) for factor in (0.75, 1.0, 1.25)) == expected


def test_stem_scales_to_multiples_of_four() -> None:
    # 32 * (1, 0.75, 0.5, 0.35, 0.25, 0.18) = 32, 24, 16, 11.2, 8, 5.76
    assert [scale_channels(32, width) for width in (1.0, 0.75, 0.5, 0.35, 0.25, 0.18)] == [32, 24, 16, 12, 8, 4]


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [
        (3, (1, (1, 1, 1, 1, 1, 1, 1))),  # nothing helps
        (8, (1, (1, 1, 1, 1, 1, 2, 1))),  # 8 -> 4
        (28, (1, (1, 1, 2, 2, 1, 2, 1))),  # 28 -> 14 -> 7 -> 4
        (32, (1, (1, 1, 2, 2, 1, 2, 1))),  # 32 -> 16 -> 8 -> 4
        (64, (1, (1, 2, 2, 2, 1, 2, 1))),  # 64 -> 32 -> 16 -> 8 -> 4
        (65, (2, (1, 2, 2, 2, 1, 2, 1))),  # above 64 nothing changes: 33 -> 17 -> 9 -> 5 -> 3
        (224, (2, (1, 2, 2, 2, 1, 2, 1))),
    ],
)
def test_small_images_lose_early_strides(image_size: int, expected: tuple[int, tuple[int, ...]]) -> None:
    assert strides_for(MNAS_SKELETON, image_size) == expected


def test_a_smaller_last_map_keeps_more_strides() -> None:
    skeleton = replace(MNAS_SKELETON, smallest_map=2)
    assert strides_for(skeleton, 64) == (2, MNAS_SKELETON.strides)
    assert strides_for(skeleton, 32) == (1, MNAS_SKELETON.strides)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": (1, 1)}, "same number of each"),
        ({"filters": (), "layers": (), "strides": ()}, "same number of each"),
        ({"stem": 0}, "stem is 0"),
        ({"smallest_map": 0}, "smallest_map is 0"),
        ({"head": -1}, "head is -1"),
        ({"eps": 0.0}, "eps is 0.0"),
        ({"filters": (0,)}, r"filters is \(0,\)"),
        ({"layers": (0,)}, "at least 1"),
        ({"strides": (3,)}, "must be 1 or 2"),
        ({"activation": "tanh"}, "'tanh'; it must be one of"),
    ],
)
def test_unusable_skeletons(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Skeleton(**{"stem": 8, "filters": (8,), "layers": (1,), "strides": (2,)} | values)
