"""Networks side by side: parameters, multiply-adds, memory and latency on this machine, beside published figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from archfit._version import __version__
from archfit.architecture import Task
from archfit.catalogue import TABLES, Row, build_named, identity, row_of
from archfit.cost import Cost
from archfit.device import CostCache, Device, LocalDevice, cost_key, get_runtime, measure_cost
from archfit.errors import ArchfitError, InputError, unknown_name
from archfit.pipeline.watch import Silent, Watch
from archfit.report import Compared, write_comparison
from archfit.study.run_folder import RunFolder, write_json

COMPARISON = "compare.json"
PAGE = "compare.html"


@dataclass(frozen=True)
class Comparison:
    """Networks side by side.

    Attributes:
        title: Of the table.
        rows: In the order asked for.
        classes: Logits that all were built with.
        runtime: What executed them.
        device: Where.
        threads: Of the runtime.
        folder: Where it was written, or None.
    """

    title: str
    rows: tuple[Compared, ...]
    classes: int
    runtime: str
    device: str
    threads: int
    folder: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "classes": self.classes,
            "runtime": self.runtime,
            "device": self.device,
            "threads": self.threads,
            "archfit": __version__,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "networks": [row.to_json() for row in self.rows],
        }


def compare(
    names: Sequence[str] = (),
    *,
    table: str | None = None,
    image_size: int = 224,
    channels: int = 3,
    classes: int = 1000,
    runtime: str = "onnxruntime",
    threads: int = 1,
    out: str | Path | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Builds, counts and times networks of the catalogue on this machine; what was measured before is read back.

    Args:
        names: As "mnasnet-a1", "mobilenet-v2-0.5", "timm:mobilenetv3_small_100", "torchvision:shufflenet_v2_x1_0".
        table: "mnasnet" (table 1 of the paper) or "scaling"; a network of it that cannot be had says why.
        image_size: Pixels, for `names`.
        channels: Of the images.
        classes: Logits.
        runtime: "onnxruntime" or "torch".
        threads: Of the runtime.
        out: New folder for `compare.json` and `compare.html`.
        watch: Is told what is being measured.

    Raises:
        ArchfitError: A name is not known, or its network cannot be built or executed.
    """
    watch = watch or Silent()
    rows = _rows(names, table, image_size)
    for name, value in (("image_size", image_size), ("channels", channels), ("classes", classes), ("threads", threads)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    get_runtime(runtime)
    if out is not None:
        RunFolder.check_free(Path(out))
    device, cache = LocalDevice(), CostCache()
    compared, start = [], time.monotonic()
    for done, row in enumerate(rows):
        left = f", about {(time.monotonic() - start) / done * (len(rows) - done):.0f} s left" if done else ""
        watch.step(f"measuring {row.label} at {row.image_size} pixels, {done + 1} of {len(rows)}{left}")
        task = Task(channels, row.image_size, classes)
        try:
            cost, why = _cost(row.name, task, device, cache, runtime, threads), ""
        except ArchfitError as error:
            if table is None:
                raise
            cost, why = None, str(error)
        compared.append(Compared(row.label, row.name, row.image_size, row.published, cost, row.note, why))
    comparison = Comparison(
        title=f"table {table!r}" if table else "networks side by side",
        rows=tuple(compared),
        classes=classes,
        runtime=device.runtime_label(runtime),
        device=device.describe(),
        threads=threads,
        folder=Path(out) if out is not None else None,
    )
    if comparison.folder is not None:
        comparison.folder.mkdir(parents=True, exist_ok=True)
        write_json(comparison.folder / COMPARISON, comparison.to_json(), "archfit compare ... --out FOLDER")
        write_comparison(comparison.to_json(), comparison.rows, comparison.folder / PAGE)
    return comparison


def _rows(names: Sequence[str], table: str | None, image_size: int) -> list[Row]:
    if table is not None and table not in TABLES:
        raise unknown_name("table", table, TABLES)
    if not names and table is None:
        raise InputError("nothing to compare; give names, as mnasnet-a1 mobilenet-v2, or --table mnasnet")
    return [*(TABLES[table] if table is not None else ()), *(row_of(name, image_size) for name in names)]


def _cost(name: str, task: Task, device: Device, cache: CostCache, runtime: str, threads: int) -> Cost:
    key = cost_key(device, task, runtime=runtime, threads=threads, **identity(name, task))
    if (known := cache.get(key)) is not None:
        return known
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_named(name, task)
    return measure_cost(network.eval(), task, device, runtime=runtime, threads=threads, cache=cache, key=key)
