"""`archfit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archfit.cli.options import SAMPLER_NAMES, Json, Seed, numbers

bench = typer.Typer(help="Compare parts of archfit on data of your own.", no_args_is_help=True, rich_markup_mode=None)


@bench.command("samplers")
def samplers(
    table: Annotated[
        Path,
        typer.Argument(help="CSV or JSON of trained networks: choices, accuracy, costs.", show_default=False),
    ],
    names: Annotated[str, typer.Option("--samplers", help=f"Of {SAMPLER_NAMES}.")] = "auto,evolution,random",
    evaluations: Annotated[str, typer.Option(help="Trials after which they are compared.")] = "50,100,200",
    seeds: Annotated[int, typer.Option(help="Searches by each.")] = 50,
    seed: Seed = 0,
    reward: Annotated[str, typer.Option(help="absolute, soft or hard; with a bound below.")] = "absolute",
    latency: Annotated[str | None, typer.Option(help="Bound, as 80ms.", show_default=False)] = None,
    memory: Annotated[str | None, typer.Option(help="Bound, as 8MB.", show_default=False)] = None,
    params: Annotated[str | None, typer.Option(help="Bound, as 3M.", show_default=False)] = None,
    madds: Annotated[str | None, typer.Option(help="Bound, as 100M.", show_default=False)] = None,
    against: Annotated[str, typer.Option(help="Sampler that the others are set in proportion to.")] = "evolution",
    workers: Annotated[int | None, typer.Option(help="Processes. [default: one per core]", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for bench.json and bench.html.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Play searches on a table of trained networks: regret and hypervolume of each sampler."""
    import json

    from rich.console import Console
    from rich.table import Table

    from archfit.cli.live import LiveWatch
    from archfit.pipeline import bench_samplers, make_budget
    from archfit.report.benching import cells, head, verdicts

    with LiveWatch() as watch:
        found = bench_samplers(
            table,
            samplers=[name.strip() for name in names.split(",") if name.strip()],
            evaluations=numbers("evaluations", evaluations, int, "numbers with commas, as in 50,100,200"),
            seeds=seeds,
            seed=seed,
            budget=make_budget(latency=latency, memory=memory, params=params, madds=madds),
            reward=reward,
            against=against,
            workers=workers,
            out=out,
            watch=watch,
        )
        watch.close()
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    console = Console()
    shown = Table(title="regret in percentage points, with half its 95 % interval", title_justify="left")
    for position, title in enumerate(head(found.evaluations)):
        shown.add_column(title, justify="right" if position else "left")
    for result in found.samplers:
        shown.add_row(*cells(result, found.evaluations))
    console.print(shown)
    for sentence in verdicts(found.to_json()):
        console.print(sentence, soft_wrap=True)
    if found.folder is not None:
        console.print(f"{found.folder} holds bench.html and bench.json", markup=False, soft_wrap=True)
