"""`archfit resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster, if it is another one now.", show_default=False)
    ] = None,
) -> None:
    """Go on with a search or a training after Ctrl-C, a crash or a power cut."""
    from archfit.cli.live import LiveWatch, run_guarded
    from archfit.pipeline import resume as go_on

    with LiveWatch() as watch:
        run_guarded(lambda: go_on(run, address=address, watch=watch), watch)
