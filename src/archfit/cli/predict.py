"""`archfit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or its network.onnx.", show_default=False)],
    pictures: Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)],
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 5,
) -> None:
    """Classify pictures with a run's network."""
    from archfit.pipeline import predict as classify

    for picture in pictures:
        answers = classify(run, picture)[:top]
        if len(pictures) > 1:
            typer.echo(f"{picture}:")
        width = max(len(name) for name, _ in answers)
        for name, share in answers:
            typer.echo(f"{name:<{width}}  {share:6.1%}")
