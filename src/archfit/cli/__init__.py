"""The command line: one file per command, each a thin face of a verb."""

from __future__ import annotations

import errno
import sys

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main() -> None:
    """Runs the command line; exit code 2 for what the user can mend, 130 after Ctrl-C."""
    from archfit._process import keep_memory
    from archfit.cli.app import app
    from archfit.errors import ArchfitError

    keep_memory()
    try:
        app()
    except ArchfitError as error:
        print(f"archfit: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("archfit: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in _DISK and not error.filename:
            raise
        where = f"{error.filename}: " if error.filename else ""
        what_to_do = "; free some space or mend the permissions" if error.errno in _DISK else ""
        print(f"archfit: {where}{error.strerror}{what_to_do}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        print(
            "archfit: there is not enough memory; lower --image-size, --train-images, --width or --workers",
            file=sys.stderr,
        )
        sys.exit(2)


def _out_of_memory(error: Exception) -> bool:
    # torch has no type of its own for a host that is out of memory.
    text = str(error).lower()
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text
