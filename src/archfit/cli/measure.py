"""`archfit measure`."""

from __future__ import annotations

from typing import Annotated

import typer

from archfit.cli.options import Json, Threads


def measure(
    network: Annotated[
        str, typer.Argument(help="An .onnx file, the folder of a run, or a name as mnasnet-a1.", show_default=False)
    ],
    threads: Threads = 1,
    runtime: Annotated[str, typer.Option(help="onnxruntime, or torch for a name.")] = "onnxruntime",
    image_size: Annotated[int, typer.Option(help="Pixels, for a name.")] = 224,
    classes: Annotated[int, typer.Option(help="Logits, for a name.")] = 1000,
    as_json: Json = False,
) -> None:
    """Measure the latency of a network on this machine."""
    import json

    from rich.console import Console

    from archfit.cli.tables import cost_table
    from archfit.pipeline import measure as run

    found = run(network, runtime=runtime, threads=threads, image_size=image_size, classes=classes)
    if as_json:
        typer.echo(json.dumps({"name": found.name, **found.cost.to_json()}))
    else:
        Console().print(cost_table(found))
