"""Options that commands share, each with the same help everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from archfit.errors import InputError

Number = TypeVar("Number", int, float)

Dataset = Annotated[
    str,
    typer.Argument(
        help="digits, mnist, fashion-mnist, cifar10, cifar100, a .npz file, or a folder of class folders.",
        show_default=False,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(help="Resize images to so many pixels. [default: as they are]", show_default=False),
]
TrainImages = Annotated[
    int | None, typer.Option(help="Train on a class-balanced part of so many images.", show_default=False)
]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip", help="Mirrored images keep their label. [default: by the dataset]", show_default=False
    ),
]
MaxCorrupt = Annotated[float, typer.Option(help="Largest share of a folder's images that is skipped as unreadable.")]
Threads = Annotated[int, typer.Option(help="Threads of the runtime.")]
Seed = Annotated[int, typer.Option(help="Of everything random, the splits too.")]
SAMPLER_NAMES = "auto, evolution, gp, nsga2, ppo, predictor, random, reinforce, tpe"
"""`archfit.samplers.SAMPLERS`, whose import would make every `--help` wait."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def numbers(name: str, text: str, kind: Callable[[str], Number], wanted: str) -> tuple[Number, ...]:
    """What an option gives with commas. Raises `InputError`, which says what is `wanted`."""
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"{name} is {text!r}; give {wanted}") from None
