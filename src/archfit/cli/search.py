"""`archfit search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archfit.cli.options import SAMPLER_NAMES, Dataset, Flip, ImageSize, MaxCorrupt, Seed, Threads, TrainImages, numbers

_BUDGET = "Budget"
_LIMITS = "How long"


def search(
    dataset: Dataset,
    latency: Annotated[
        str | None, typer.Option(help="Bound on the latency of one image, with its unit: 0.3ms.", show_default=False)
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Bound on peak activations plus weights: 8MB.", show_default=False)
    ] = None,
    params: Annotated[str | None, typer.Option(help="Bound on parameters: 300k.", show_default=False)] = None,
    madds: Annotated[str | None, typer.Option(help="Bound on multiply-adds: 20M.", show_default=False)] = None,
    trials: Annotated[int | None, typer.Option(help="Stop after so many architectures.", show_default=False)] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Stop after so long: 90s, 30m, 2h. Half of it (or more, with shared weights) trains the "
            "finalists. 30m if nothing else limits it.",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many trials without a better one.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for the run. [default: runs/DATASET-...]", show_default=False),
    ] = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    flip: Flip = None,
    max_corrupt: MaxCorrupt = 0.05,
    method: Annotated[
        str, typer.Option(help="trials: each candidate trained alone. shared: one supernet for all (ENAS, TuNAS).")
    ] = "trials",
    space: Annotated[str, typer.Option(help="Search space: mnas, enas-micro or enas-macro.")] = "mnas",
    width: Annotated[
        float | None, typer.Option(help="Width multiplier of the space. [default: by the budget]", show_default=False)
    ] = None,
    searched_blocks: Annotated[
        str | None, typer.Option(help="Blocks that vary, as in 2,3,4,5,6. [default: all]", show_default=False)
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Trained network that candidates inherit weights from: a .safetensors or .pth file, the folder of a "
            "run, or a name. [default: random weights]",
            show_default=False,
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help=f"One of {SAMPLER_NAMES}.")] = "auto",
    reward: Annotated[str, typer.Option(help="absolute (TuNAS), soft or hard (MnasNet).")] = "absolute",
    metric: Annotated[str, typer.Option(help="accuracy, or balanced-accuracy for uneven classes.")] = "accuracy",
    device: Annotated[str, typer.Option(help="Where cost is measured: local.")] = "local",
    runtime: Annotated[str, typer.Option(help="What executes it there: onnxruntime or torch.")] = "onnxruntime",
    threads: Threads = 1,
    accelerator: Annotated[str, typer.Option(help="Where networks are trained: cpu, cuda, mps or auto.")] = "auto",
    proxy_epochs: Annotated[
        str | None,
        typer.Option(
            help="Epochs of a candidate's training; 0.5 is half of one. 1,3,9 trains the best third of those on to 3, "
            "and the best third of these to 9. With --method shared, of the best, trained alone. [default: by time]",
            show_default=False,
        ),
    ] = None,
    supernet_epochs: Annotated[
        float | None,
        typer.Option(help="Epochs of the supernet, with --method shared. [default: by time]", show_default=False),
    ] = None,
    supernet_learning_rate: Annotated[
        float | None,
        typer.Option(help="Of the supernet at its peak. [default: by the batch size]", show_default=False),
    ] = None,
    latency_table: Annotated[
        Path | None,
        typer.Option(
            help="Predict latencies from this file, as `archfit measure --space` writes it. [default: measure one]",
            show_default=False,
        ),
    ] = None,
    control: Annotated[
        int,
        typer.Option(help="With --method shared: random networks within the budget, trained like the winner."),
    ] = 3,
    final_epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of a finalist's full training. [default: by time]", show_default=False),
    ] = None,
    finalists: Annotated[int, typer.Option(help="How many of the best are trained in full.")] = 2,
    references: Annotated[
        str | None,
        typer.Option(
            help="Published networks to train by the same recipe, after the time limit: mnasnet-small,timm:NAME.",
            show_default=False,
        ),
    ] = None,
    prune_above: Annotated[
        float, typer.Option(help="A candidate past so many times a bound is recorded, not trained.")
    ] = 2.0,
    trial_time: Annotated[
        str | None,
        typer.Option(
            help="A candidate whose training takes longer is ended and recorded as failed: 10m. [default: 10 times "
            "what others took]",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Training processes, one thread each. [default: cores]", show_default=False),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="Where candidates are trained: local (processes of this machine) or ray (a cluster).")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster, HOST:PORT, or auto for the one on this machine. [default: start one here]",
            show_default=False,
        ),
    ] = None,
    trial_cpus: Annotated[float, typer.Option(help="With --executor ray: cores for each candidate.")] = 1,
    trial_gpus: Annotated[float, typer.Option(help="With --executor ray: GPUs for each; 0.5 shares one by two.")] = 0,
    storage: Annotated[
        str,
        typer.Option(help="Of the trials: sqlite, journal (less time a trial), or postgresql://user@host/database."),
    ] = "sqlite",
    study: Annotated[
        str | None,
        typer.Option(
            help="Name in the database; drivers that give the same one search together. [default: the run's]",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what the space costs, what fits, and how long it would take.")
    ] = False,
) -> None:
    """Search the network for a dataset that fits a budget; train, export, measure and test it."""
    from archfit.cli.live import LiveWatch, print_estimate, run_guarded
    from archfit.cost import parse_seconds
    from archfit.pipeline import Objects, SearchRequest, make_budget, start
    from archfit.pipeline import dry_run as estimate
    from archfit.study.limits import Limits

    request = SearchRequest(
        dataset=dataset,
        budget=make_budget(latency=latency, memory=memory, params=params, madds=madds),
        limits=Limits(trials, parse_seconds(time) if time is not None else None, patience),
        image_size=image_size,
        train_images=train_images,
        flip=flip,
        max_corrupt=max_corrupt,
        method=method,
        space=space,
        width=width,
        searched_blocks=numbers("searched_blocks", searched_blocks, int, "block numbers with commas, as in 2,3,4")
        if searched_blocks is not None
        else None,
        init=init,
        sampler=sampler,
        reward=reward,
        metric=metric,
        device=device,
        runtime=runtime,
        threads=threads,
        accelerator=accelerator,
        proxy_epochs=numbers("proxy_epochs", proxy_epochs, float, "a number, or rising ones as in 1,3,9")
        if proxy_epochs is not None
        else None,
        supernet_epochs=supernet_epochs,
        supernet_learning_rate=supernet_learning_rate,
        latency_table=str(latency_table) if latency_table is not None else None,
        control=control,
        final_epochs=final_epochs,
        finalists=finalists,
        references=tuple(name.strip() for name in references.split(",")) if references else (),
        prune_above=prune_above,
        trial_seconds=parse_seconds(trial_time) if trial_time is not None else None,
        workers=workers,
        executor=executor,
        address=address,
        trial_cpus=trial_cpus,
        trial_gpus=trial_gpus,
        storage=storage,
        study=study,
        seed=seed,
    )
    with LiveWatch() as watch:
        if dry_run:
            found = estimate(request, watch)
            watch.close()
            print_estimate(found, request)
            return
        run_guarded(lambda: start(request, Objects(), None, out, watch), watch)
