"""A PostgreSQL server of the tests' own, from whatever of it the machine has installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCALE = {"LC_ALL": "C", "LANG": "C"}


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, default=None)


def reason_without() -> str | None:
    """Why no server can be started here, or None."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and _other_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def server() -> Iterator[str]:
    """URL of a new, empty database on the loopback; the server and its files end with the block."""
    place = programs()
    assert place is not None
    user = _other_user() if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="archfit-postgresql-") as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        with _started(place, folder, user) as url:
            yield url


@contextmanager
def _started(place: Path, folder: Path, user: pwd.struct_passwd | None) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def run(*words: str | Path) -> None:
        subprocess.run(
            [str(word) for word in words],
            check=True,
            capture_output=True,
            cwd=folder,
            env={**os.environ, **LOCALE},
            user=user.pw_uid if user is not None else None,
            group=user.pw_gid if user is not None else None,
            extra_groups=[] if user is not None else None,
            timeout=60,
        )

    run(place / "initdb", "-D", data, "-U", "archfit", "-A", "trust", "--no-sync")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -F"
    run(place / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql://archfit@127.0.0.1:{port}/postgres"
    finally:
        run(place / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def _other_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None
