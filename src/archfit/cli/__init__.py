"""The command line: one file per command, each a thin face of a verb."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; exit code 2 for what the user can mend, 130 after Ctrl-C."""
    from archfit.cli.app import app
    from archfit.errors import ArchfitError

    try:
        app()
    except ArchfitError as error:
        print(f"archfit: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("archfit: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
