"""Paths as users give them, and files that are whole whenever they are there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from archfit.errors import InputError


def expanded(path: str | Path) -> Path:
    """The path, "~" being the user's home. Raises `InputError` where the system knows no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{path} begins with the home of a user whom the system does not know") from None


def write_whole(path: Path, content: bytes) -> None:
    """Writes so that the file is at all times either the old one or the new one, also after a power cut.

    Args:
        path: Of the file, in a folder that is there.
        content: All of it.

    Raises:
        OSError: The system refused; nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's mode is for secrets; this is to be read like any file its owner writes.
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
