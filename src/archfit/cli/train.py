"""`archfit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archfit.cli.options import Dataset, Flip, ImageSize, MaxCorrupt, Seed, Threads, TrainImages


def train(
    model: Annotated[
        str,
        typer.Argument(
            help="A name (see `archfit models`), timm:NAME, torchvision:NAME, an architecture.json, or a run's folder.",
            show_default=False,
        ),
    ],
    dataset: Dataset,
    epochs: Annotated[float, typer.Option(help="Passes over the training images.")] = 20,
    weights: Annotated[
        str | None,
        typer.Option(help="imagenet, or a .safetensors or .pth file. [default: random]", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the run. [default: runs/MODEL-DATASET-...]", show_default=False)
    ] = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    flip: Flip = None,
    max_corrupt: MaxCorrupt = 0.05,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better one.", show_default=False)
    ] = None,
    optimiser: Annotated[
        str | None, typer.Option(help="sgd, adamw or muon. [default: muon, adamw with weights]", show_default=False)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The peak.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", show_default=False)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of weights, not biases.", show_default=False)] = None,
    schedule: Annotated[
        str | None, typer.Option(help="cosine or one-cycle. [default: cosine]", show_default=False)
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="From 0 to 1.", show_default=False)] = None,
    mixup: Annotated[float | None, typer.Option(help="Alpha of mixup; 0 for none.", show_default=False)] = None,
    cutmix: Annotated[float | None, typer.Option(help="Alpha of cutmix; 0 for none.", show_default=False)] = None,
    cutout: Annotated[int | None, typer.Option(help="Side in pixels of the hidden square.", show_default=False)] = None,
    crop_padding: Annotated[
        int | None, typer.Option(help="Pixels added on each side before a random crop.", show_default=False)
    ] = None,
    rotation: Annotated[
        float | None, typer.Option(help="Degrees up to which images are turned.", show_default=False)
    ] = None,
    zoom: Annotated[
        float | None, typer.Option(help="Share by which images are scaled at most, as 0.1.", show_default=False)
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Copies of each image in a batch, each varied anew; steps take so many times as long.",
            show_default=False,
        ),
    ] = None,
    ema_decay: Annotated[
        float | None, typer.Option(help="Of the moving average of the weights.", show_default=False)
    ] = None,
    layer_decay: Annotated[
        float | None,
        typer.Option(help="Factor of the rate from each quarter to the one before it.", show_default=False),
    ] = None,
    unfreeze: Annotated[
        float | None,
        typer.Option(help="Share of the training over which layers open from the classifier down.", show_default=False),
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Times the cosine begins anew, each period twice as long.", show_default=False)
    ] = None,
    drop_path: Annotated[
        float | None, typer.Option(help="Networks of cells: share of paths left out at the end.", show_default=False)
    ] = None,
    auxiliary: Annotated[
        float | None, typer.Option(help="Networks of cells: weight of the auxiliary head's loss.", show_default=False)
    ] = None,
    sharpness: Annotated[
        float | None,
        typer.Option(
            help="Radius of sharpness-aware minimisation, as 0.15; steps take twice as long.", show_default=False
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="accuracy, or balanced-accuracy: keeps the best epoch.")] = "accuracy",
    runtime: Annotated[str, typer.Option(help="What times the network: onnxruntime or torch.")] = "onnxruntime",
    threads: Threads = 1,
    accelerator: Annotated[str, typer.Option(help="Where it trains: cpu, cuda, mps or auto.")] = "auto",
    devices: Annotated[
        int, typer.Option(help="GPUs, or processes of one thread each on the CPU, that train it together.")
    ] = 1,
    precision: Annotated[
        str | None, typer.Option(help="Lightning's: 32-true, 16-mixed, bf16-mixed.", show_default=False)
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a network by name on a dataset; export, measure and test it."""
    from archfit.cli.live import LiveWatch, run_guarded
    from archfit.pipeline import train as run

    recipe = {
        "optimiser": optimiser,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "label_smoothing": label_smoothing,
        "mixup": mixup,
        "cutmix": cutmix,
        "cutout": cutout,
        "crop_padding": crop_padding,
        "rotation": rotation,
        "zoom": zoom,
        "repeats": repeats,
        "ema_decay": ema_decay,
        "layer_decay": layer_decay,
        "unfreeze": unfreeze,
        "restarts": restarts,
        "drop_path": drop_path,
        "auxiliary": auxiliary,
        "sharpness": sharpness,
    }
    with LiveWatch() as watch:
        run_guarded(
            lambda: run(
                model,
                dataset,
                epochs=epochs,
                weights=weights,
                recipe={name: value for name, value in recipe.items() if value is not None},
                image_size=image_size,
                train_images=train_images,
                flip=flip,
                max_corrupt=max_corrupt,
                patience=patience,
                metric=metric,
                runtime=runtime,
                threads=threads,
                accelerator=accelerator,
                devices=devices,
                flags={"precision": precision} if precision is not None else None,
                seed=seed,
                out=out,
                watch=watch,
            ),
            watch,
        )
