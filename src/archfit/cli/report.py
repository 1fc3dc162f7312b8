"""`archfit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)]) -> None:
    """Show a run's summary and write its report.html anew."""
    from rich.console import Console

    from archfit.pipeline import is_training, recorded
    from archfit.pipeline import report as write
    from archfit.report import print_summary, print_training, read_training
    from archfit.study.run_folder import read_run

    path = write(run)
    if is_training(read_run(run)["request"]):
        print_training(read_training(run), run, Console())
    else:
        print_summary(*recorded(run), run, Console())
    typer.echo(f"wrote {path}")
