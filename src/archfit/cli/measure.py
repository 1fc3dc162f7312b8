"""`archfit measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archfit.cli.options import Json, Seed, Threads
from archfit.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table


def measure(
    network: Annotated[
        str | None,
        typer.Argument(help="An .onnx file, the folder of a run, or a name as mnasnet-a1.", show_default=False),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="In place of a network: a search space (mnas). Random networks of it are measured for a latency "
            "table, which says what each piece adds to a network's latency.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New JSON file for the table.", show_default=False)] = None,
    threads: Threads = 1,
    runtime: Annotated[str, typer.Option(help="onnxruntime, or torch for a name or a space.")] = "onnxruntime",
    image_size: Annotated[
        int | None, typer.Option(help="Pixels, for a name or a space. [default: 224 for a name]", show_default=False)
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Logits, for a name or a space. [default: 1000 for a name]", show_default=False)
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Of the images, for a space: 1 or 3. [default: 3]", show_default=False)
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(help="Scale the space to this bound first, as a search does: 0.3ms.", show_default=False),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(
            help="Width multiplier of the space. [default: by the latency; without one, 1]", show_default=False
        ),
    ] = None,
    networks: Annotated[
        int | None,
        typer.Option(
            help="How many of the space are measured. [default: until more do not help, at most 400]",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure the latency of a network on this machine, or a latency table for all networks of a space."""
    from rich.console import Console

    of_space = {"out": out, "channels": channels, "latency": latency, "width": width, "networks": networks}
    if space is None:
        if network is None:
            raise InputError("nothing to measure; give an ONNX file, a run folder or a name, or --space mnas")
        if given := [name for name, value in of_space.items() if value is not None]:
            raise InputError(f"{given[0]} is {of_space[given[0]]}, which only --space takes; leave one of the two out")
        shown, text = _network(
            network,
            runtime=runtime,
            threads=threads,
            image_size=224 if image_size is None else image_size,
            classes=1000 if classes is None else classes,
        )
    else:
        if network is not None:
            raise InputError(f"network {network} and space {space} are both given; measure one after the other")
        for name, value in (("image_size", image_size), ("classes", classes), ("out", out)):
            if value is None:
                raise InputError(f"{name} is missing; a space is measured with --image-size, --classes and --out")
        shown, text = _space(
            space,
            image_size=image_size,
            classes=classes,
            channels=3 if channels is None else channels,
            latency=latency,
            width=width,
            networks=networks,
            runtime=runtime,
            threads=threads,
            seed=seed,
            out=out,
        )
    if as_json:
        typer.echo(text)
    else:
        Console().print(shown)


def _network(name: str, **options: Any) -> tuple[Table, str]:
    import json

    from archfit.cli.tables import cost_table
    from archfit.pipeline import measure as run

    found = run(name, **options)
    return cost_table(found), json.dumps({"name": found.name, **found.cost.to_json()})


def _space(name: str, **options: Any) -> tuple[Table, str]:
    from archfit.cli.live import LiveWatch
    from archfit.cli.tables import latency_table_summary
    from archfit.pipeline import measure_space

    with LiveWatch() as watch:
        table = measure_space(name, **options, watch=watch)
    return latency_table_summary(table, options["out"]), table.text().rstrip()
