"""The spaces that have a name on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from archfit.architecture import SearchSpace
from archfit.errors import InputError, unknown_name
from archfit.spaces.cells import CellSpace
from archfit.spaces.macro import MacroSpace
from archfit.spaces.mnas import MnasSpace
from archfit.spaces.skeleton import MNAS_SKELETON

KNOWN_SPACES: dict[str, type[MnasSpace] | type[CellSpace] | type[MacroSpace]] = {
    "mnas": MnasSpace,
    "enas-micro": CellSpace,
    "enas-macro": MacroSpace,
}


def space_at(name: str, width: float | None = None, searched_blocks: tuple[int, ...] | None = None) -> SearchSpace:
    """The space of that name as it is published, but for its width and the activation of mnas.

    That is h-swish, MobileNetV3's (arXiv:1905.02244): ONNX Runtime is as quick with it as with ReLU, and networks are
    more accurate (benchmarks/skeletons.py). `MnasSpace()` and the references have MnasNet's ReLU.

    Args:
        name: One of `KNOWN_SPACES`.
        width: Multiplier of the channels; None is 1.
        searched_blocks: Of the mnas space; None for all.
    """
    if name == "mnas":
        skeleton = replace(MNAS_SKELETON, activation="hswish")
        return MnasSpace(width=width or 1.0, searched_blocks=searched_blocks, skeleton=skeleton)
    if searched_blocks is not None:
        raise InputError(
            f"searched_blocks is {searched_blocks}, and space {name!r}; only the mnas space has such blocks"
        )
    if name not in KNOWN_SPACES:
        raise unknown_name("space", name, KNOWN_SPACES)
    space = CellSpace() if name == "enas-micro" else MacroSpace()
    return space if width is None else replace(space, filters=max(4, 2 * round(space.filters * width / 2)))


def space_from(name: str, settings: Mapping[str, Any]) -> SearchSpace:
    """The space that a run's files tell of.

    Raises:
        InputError: No space has that name, or a setting is missing.
    """
    if name not in KNOWN_SPACES:
        raise unknown_name("space", name, KNOWN_SPACES)
    try:
        return KNOWN_SPACES[name].from_settings(settings)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"the settings of space {name!r} are not whole ({error}); take those of a run") from None
