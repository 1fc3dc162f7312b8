"""The latency table of a search space, measured on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from archfit.architecture import SearchSpace, Task
from archfit.cost import Budget, parse_latency_ms
from archfit.device import CostCache, LatencyTable, LocalDevice
from archfit.errors import InputError
from archfit.pipeline.meter import CandidateMeter
from archfit.pipeline.plan import Objects, chosen_space
from archfit.pipeline.request import CUSTOM, SearchRequest
from archfit.pipeline.watch import Silent, Watch
from archfit.report.wording import duration, percent
from archfit.spaces import SharedSpace
from archfit.study.fitting import fit_space
from archfit.study.run_folder import write_file
from archfit.study.tabulating import TableProgress, tabulate
from archfit.training import one_thread

_FEWEST = 10
_MOST = 10_000


def measure_space(
    space: str | SearchSpace = "mnas",
    *,
    image_size: int,
    classes: int,
    channels: int = 3,
    latency: str | None = None,
    width: float | None = None,
    networks: int | None = None,
    runtime: str = "onnxruntime",
    threads: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    watch: Watch | None = None,
) -> LatencyTable:
    """Measures random networks of a space here, whole, and works out what each piece adds to a network's latency.

    What was measured before is read from the cost cache, so a table that was stopped is soon where it was.

    Args:
        space: "mnas", or an object of your own (see `archfit.spaces.SharedSpace`).
        image_size: Pixels of the input.
        classes: Logits.
        channels: Of the images, 1 or 3.
        latency: Bound with its unit that the space is scaled to first, as a search would; without it, and without
            `width`, the space is at its full size.
        width: Multiplier of the mnas space.
        networks: How many to measure; None stops when more do not help, at 400 at the latest.
        runtime: "onnxruntime" or "torch".
        threads: Of the runtime.
        seed: Of the networks.
        out: New JSON file.
        watch: Is told what happens; None is silent.

    Raises:
        ArchfitError: Something given cannot be used; the message says what to change.
    """
    watch = watch or Silent()
    for name, value in (("channels", channels), ("classes", classes)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if networks is not None and not _FEWEST <= networks <= _MOST:
        raise InputError(f"networks is {networks}; give from {_FEWEST} to {_MOST:,}")
    request = SearchRequest(
        CUSTOM,
        budget=Budget(latency_ms=parse_latency_ms(latency) if latency is not None else None),
        image_size=image_size,
        space=space if isinstance(space, str) else CUSTOM,
        width=width,
        runtime=runtime,
        threads=threads,
        seed=seed,
    )
    built = chosen_space(Objects(space=None if isinstance(space, str) else space), request)
    path = Path(out) if out is not None else None
    if path is not None:
        _check_free(path)
    device, task = LocalDevice(), Task(channels, image_size, classes)
    meter = CandidateMeter(device, task, runtime, threads, CostCache())
    with one_thread():
        built = _scaled(built, request, task, meter, watch)
        table = tabulate(
            _in_pieces(built),
            task,
            device,
            meter.sample,
            runtime=runtime,
            threads=threads,
            networks=networks,
            seed=seed,
            on_progress=table_progress(watch),
        )
    if path is not None:
        write_file(path, table.text().encode(), again="archfit measure --space ...")
    return table


def _scaled(space: SearchSpace, request: SearchRequest, task: Task, meter: CandidateMeter, watch: Watch) -> SearchSpace:
    if request.budget.latency_ms is None:
        return space

    def on_sample(label: str, count: int, fits: int) -> None:
        watch.step(f"scaling the space{f' ({label})' if label else ''}: {fits} of {count} networks within budget")

    scale = request.width is None
    fitted = fit_space(space, task, request.budget, meter.sample, scale=scale, seed=request.seed, on_sample=on_sample)
    if fitted.note is not None:
        watch.note(f"scaled to the budget: {fitted.note}")
    return fitted.space


def _in_pieces(space: SearchSpace) -> SharedSpace:
    if not isinstance(space, SharedSpace):
        raise InputError(
            f"space {space.name!r} has no pieces; a latency table needs a space with `pieces` and `supernet`"
        )
    return space


def table_progress(watch: Watch, tick: Callable[[], None] = lambda: None) -> Callable[[TableProgress], None]:
    """Tells how far the measuring is.

    Args:
        watch: Is told.
        tick: Called too, to count the time.
    """
    start = time.monotonic()

    def on_progress(progress: TableProgress) -> None:
        tick()
        done, limit = progress.networks, progress.limit
        text = f"measuring the space: {done} of at most {limit} networks"
        if done >= 5:
            text += f", at most {duration((time.monotonic() - start) / done * (limit - done))} left"
        if progress.error is not None:
            text += f"; networks left out are {percent(progress.error)} off (median)"
        watch.step(text)

    return on_progress


def _check_free(path: Path) -> None:
    if path.exists():
        raise InputError(f"output file {path} exists already; choose another --out")
    if not path.parent.is_dir():
        raise InputError(f"output folder {path.parent} does not exist; make it, or choose another --out")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"output folder {path.parent} cannot be written; mend its permissions or choose another --out")
