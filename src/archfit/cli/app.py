"""The Typer application that the commands are attached to."""

from __future__ import annotations

from typing import Annotated

import typer

from archfit._version import __version__
from archfit.cli.bench import bench
from archfit.cli.compare import compare
from archfit.cli.measure import measure
from archfit.cli.models import models
from archfit.cli.predict import predict
from archfit.cli.report import report
from archfit.cli.resume import resume
from archfit.cli.search import search
from archfit.cli.train import train

app = typer.Typer(
    name="archfit",
    help="Give it a dataset, a device and a budget; get back the network that fits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"archfit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""
    del version


for command in (search, train, resume, report, measure, predict, models, compare):
    app.command()(command)
app.add_typer(bench, name="bench")
