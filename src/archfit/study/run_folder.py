"""A run's folder: who may write to it, what was asked for, and what was decided on the way."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from archfit._files import write_whole
from archfit.errors import RunError

SCHEMA = 1
_RUN = "run.json"
_LOCK = "run.lock"
_PARTS = ("archfit_version", "created", "request", "decisions", "seconds")


class RunFolder:
    """One run on disk, locked by this process until `close`.

    What a clock or a measurement decided is stored by `decide` before it is used, and read back on resume.

    Attributes:
        path: The folder.
        request: What the user asked for, as JSON.
    """

    def __init__(self, path: Path, content: dict[str, Any], lock: int) -> None:
        self.path = path
        self._content = content
        self._lock = lock
        self._ticked = time.monotonic()

    @classmethod
    def create(cls, path: Path, request: Mapping[str, Any], version: str) -> RunFolder:
        """Makes the folder. Raises `RunError` where it exists already or cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except OSError as error:
            if path.exists():
                hint = f"go on with it by: archfit resume {path}" if (path / _RUN).is_file() else "choose another --out"
                raise RunError(f"output folder {path} exists already; {hint}") from None
            where = f"{error.filename}: {error.strerror}"
            raise RunError(f"output folder {path} cannot be made ({where}); choose another --out") from None
        content = {
            "schema": SCHEMA,
            "archfit_version": version,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "request": dict(request),
            "decisions": {},
            "seconds": {"search": 0.0, "train": 0.0},
        }
        try:
            run = cls(path, content, _take_lock(path))
        except RunError:
            (path / _LOCK).unlink(missing_ok=True)
            path.rmdir()
            raise
        try:
            run._write()
        except RunError as error:
            run.discard()
            cause = error.__context__
            reason = cause.strerror if isinstance(cause, OSError) else error
            raise RunError(
                f"output folder {path} cannot be written ({reason}); free some space or choose another --out"
            ) from None
        return run

    @staticmethod
    def check_free(path: Path) -> None:
        """Raises `RunError` where `path` exists already, or cannot be made."""
        if path.exists():
            hint = f"go on with it by: archfit resume {path}" if (path / _RUN).is_file() else "choose another --out"
            raise RunError(f"output folder {path} exists already; {hint}")
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            why = "cannot be written" if above.is_dir() else "is a file"
            raise RunError(f"output folder {path} cannot be made ({above} {why}); choose another --out")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Opens a run to go on with it. Raises `RunError` where it is none, in use, or of another schema."""
        read_run(path)  # before a lock is left in a folder that is no run
        lock = _take_lock(path)
        try:
            return cls(path, read_run(path), lock)
        except RunError:
            os.close(lock)
            raise

    @property
    def request(self) -> dict[str, Any]:
        return dict(self._content["request"])

    @property
    def created(self) -> str:
        return str(self._content["created"])

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time spent so far, all sessions: of the search, and of the final training."""
        return dict(self._content["seconds"])

    def decision(self, name: str) -> Any:
        """What was stored by `decide`, or None."""
        return self._content["decisions"].get(name)

    def decide(self, name: str, value: Any) -> Any:
        """Stores a decision for good and returns it."""
        self._content["decisions"][name] = value
        self._write()
        return value

    def add(self, name: str, amount: float) -> None:
        """Adds to a decision that is a number, at first 0."""
        self.decide(name, (self.decision(name) or 0.0) + amount)

    def tick(self, phase: str, *, at_least: float = 2.0) -> None:
        """Adds the wall time since the last tick to a phase; writes it if that was `at_least` seconds ago."""
        now = time.monotonic()
        if now - self._ticked >= at_least:
            self._content["seconds"][phase] += now - self._ticked
            self._ticked = now
            self._write()

    def close(self) -> None:
        """Releases the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def discard(self) -> None:
        """Removes the folder and all in it: nothing half-written is left of a run that could not begin."""
        import shutil

        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self) -> None:
        write_json(self.path / _RUN, self._content)


def read_run(path: Path) -> dict[str, Any]:
    """The content of a run's `run.json`, checked."""
    file = path / _RUN
    if not file.is_file():
        raise RunError(f"{path} is not a run of archfit: it has no {_RUN}; give the folder that a search wrote")
    try:
        content = json.loads(file.read_text())
        schema = content["schema"]
        if schema == SCHEMA and (lacking := [name for name in _PARTS if name not in content]):
            raise ValueError(f"it lacks {', '.join(lacking)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file} cannot be read ({error}); the run cannot be resumed, start a new one") from None
    if schema != SCHEMA:
        raise RunError(
            f"{path} was written by archfit {content.get('archfit_version', 'of unknown version')} "
            f"(run schema {schema}); this version reads schema {SCHEMA}: use that version, or start a new run"
        )
    return dict(content)


def write_json(path: Path, value: Any, again: str | None = None) -> None:
    """`write_file` with JSON."""
    write_file(path, json.dumps(value, indent=1).encode(), again)


def write_file(path: Path, content: bytes, again: str | None = None) -> None:
    """Writes so that the file is at all times either the old one or the new one.

    Args:
        path: Of the file.
        content: All of it.
        again: The command that writes it, for the error's message; None is the resume of the run it lies in.

    Raises:
        RunError: The disk is full or the folder cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise not_written(path, error, again) from None


def not_written(path: Path, error: OSError, again: str | None = None) -> RunError:
    """The error for a file that the system refused; `again` as of `write_file`."""
    return RunError(
        f"{path} cannot be written ({error.strerror}); free some space or mend the permissions, then: "
        f"{again or f'archfit resume {path.parent}'}"
    )


def _take_lock(path: Path) -> int:
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}); mend its permissions") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RunError(f"{path} is in use by another archfit process; wait for it or stop it first") from None
    except OSError as error:
        os.close(lock)
        raise RunError(f"{path} cannot be locked ({error.strerror}); choose a folder on another file system") from None
    return lock
