"""`archfit models`."""

from __future__ import annotations

from typing import Annotated

import typer

from archfit.cli.options import Json


def models(
    pattern: Annotated[
        str | None,
        typer.Argument(
            help="Part of a name, or a package: timm, torchvision, pytorchcv. [default: ours]", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the networks that can be trained, compared and measured by name."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from archfit.catalogue import PACKAGES, REFERENCES, external_names
    from archfit.cli.tables import reference_table
    from archfit.errors import MissingExtraError

    named = pattern.partition(":")[0] if pattern else None
    listed = [r for name, r in REFERENCES.items() if pattern is None or pattern.lower() in name]
    others: list[str] = []
    for package in PACKAGES if pattern else ():
        part = "" if pattern == package else (pattern or "").removeprefix(f"{package}:").lower()
        try:
            names = external_names(package)
        except MissingExtraError:
            if named == package:
                raise
            continue
        if named == package or named not in PACKAGES:
            others += [f"{package}:{name}" for name in names if part in name.lower()]
    if as_json:
        rows = [
            {
                "name": r.name,
                "family": r.family,
                "weights": r.weights,
                "extension": r.extension,
                "note": r.note,
                **asdict(r.published),
            }
            for r in listed
        ]
        typer.echo(json.dumps({"references": rows, "others": others}))
        return
    console = Console()
    if listed:
        console.print(reference_table(listed))
        for reference in listed:
            if reference.note:
                console.print(f"{reference.name}: {reference.note}", highlight=False, soft_wrap=True)
    for name in others:
        console.print(name, highlight=False, soft_wrap=True)
    if not listed and not others:
        console.print(
            f"no network's name has {pattern!r} in it; archfit models lists ours", highlight=False, markup=False
        )
    elif pattern is None:
        console.print(
            "mnasnet-a1, -b1, mobilenet-v1 and -v2 take a width: mobilenet-v2-0.5. Others by name: torchvision:NAME, "
            "timm:NAME, pytorchcv:NAME; archfit models timm lists them.",
            highlight=False,
            soft_wrap=True,
        )
