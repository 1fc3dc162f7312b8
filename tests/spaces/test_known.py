from __future__ import annotations

from dataclasses import replace

import pytest

from archfit.errors import InputError
from archfit.spaces import KNOWN_SPACES, MNAS_SKELETON, MnasSpace, space_at, space_from


def test_mnas_is_searched_with_h_swish_and_is_else_as_published() -> None:
    expected = MnasSpace(0.5, (2, 3), replace(MNAS_SKELETON, activation="hswish"))
    assert space_at("mnas", 0.5, (2, 3)) == expected
    assert MnasSpace().skeleton.activation == "relu"


@pytest.mark.parametrize("name", KNOWN_SPACES)
def test_settings_restore_a_named_space(name: str) -> None:
    space = space_at(name, 0.5)
    assert space_from(name, space.settings()) == space


def test_blocks_are_those_of_mnas_alone() -> None:
    with pytest.raises(InputError, match="only the mnas space has such blocks"):
        space_at("enas-micro", searched_blocks=(2,))
