"""The names that `import archfit` offers."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import archfit


@pytest.mark.parametrize("name", archfit.__all__)
def test_no_public_name_is_hidden_by_a_room_of_the_same_name(name: str) -> None:
    # An import of a room makes it an attribute of the package, before which a late name steps back.
    for room in pkgutil.iter_modules(archfit.__path__):
        if room.name != "__main__":
            importlib.import_module(f"archfit.{room.name}")
    assert not isinstance(getattr(archfit, name), ModuleType)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'serch'"):
        archfit.serch  # noqa: B018
    assert set(archfit.__all__) == set(dir(archfit))
