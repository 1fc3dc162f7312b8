"""`archfit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archfit.cli.options import Json, Threads


def compare(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names: mnasnet-a1, mobilenet-v2-0.5, timm:NAME, torchvision:NAME; see `archfit models`.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="mnasnet: the paper's table 1. scaling: mnasnet-a1 and mobilenet-v2 over widths and resolutions.",
            show_default=False,
        ),
    ] = None,
    image_size: Annotated[int, typer.Option(help="Pixels, for names.")] = 224,
    channels: Annotated[int, typer.Option(help="Of the images: 3, or 1 for grey.")] = 3,
    classes: Annotated[int, typer.Option(help="Logits.")] = 1000,
    runtime: Annotated[str, typer.Option(help="onnxruntime or torch.")] = "onnxruntime",
    threads: Threads = 1,
    out: Annotated[
        Path | None, typer.Option(help="New folder for compare.json and compare.html.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Set networks side by side: parameters, multiply-adds and latency here, beside what was published."""
    import json

    from rich.console import Console

    from archfit.cli.live import LiveWatch
    from archfit.cli.tables import comparison_table
    from archfit.pipeline import compare as run
    from archfit.report.comparison import remarks

    with LiveWatch() as watch:
        found = run(
            networks or (),
            table=table,
            image_size=image_size,
            channels=channels,
            classes=classes,
            runtime=runtime,
            threads=threads,
            out=out,
            watch=watch,
        )
        watch.close()
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    console = Console()
    console.print(comparison_table(found))
    console.print(
        "publ.: how far the count lies from the published one; top-1: as published, ImageNet.", highlight=False
    )
    for text in remarks(found.rows):
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    if found.folder is not None:
        console.print(
            f"{found.folder} holds compare.json, compare.html.", highlight=False, markup=False, soft_wrap=True
        )
