from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from archfit._files import expanded, write_whole
from archfit.errors import InputError


def test_a_home_that_is_nobodys() -> None:
    assert expanded("~/photos") == Path.home() / "photos"
    with pytest.raises(InputError, match=r"^~nobody-of-that-name/photos begins with the home of a user"):
        expanded("~nobody-of-that-name/photos")


def test_a_file_is_replaced_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
