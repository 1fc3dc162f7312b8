"""Measuring the latency table of a space: which networks, how many, and what their pieces come to."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture
from archfit.cost import Cost, Piece
from archfit.device.kind_rates import Sample
from archfit.device.latency_fit import Quantiles, fit_latencies
from archfit.device.latency_table import Entry, LatencyTable
from archfit.device.protocol import Device
from archfit.errors import InputError
from archfit.spaces import SharedSpace

MOST_NETWORKS = 400
_STEP = 50
_IMPROVES = 0.9  # an error that 100 more networks leave above this share of itself has settled
_MOST_DRAWS = 20_000
_IDLE_DRAWS = 500
_TO_CHOOSE_FROM = 16
_FRUITLESS = 20
_MOST_TRIED = 10
"""Times as many networks as came with a latency, or as 50, are tried."""


@dataclass(frozen=True)
class TableProgress:
    """How far the measuring is.

    Attributes:
        networks: Measured.
        limit: How many there may be.
        error: Median relative error of networks left out of the table so far; None before the first fit.
    """

    networks: int
    limit: int
    error: float | None


def tabulate(
    space: SharedSpace,
    task: Task,
    device: Device,
    measure: Callable[[SearchSpace, Architecture], Cost],
    *,
    runtime: str,
    threads: int = 1,
    networks: int | None = None,
    seconds: float | None = None,
    enough: float = 0.0,
    seed: int = 0,
    on_progress: Callable[[TableProgress], None] = lambda _: None,
) -> LatencyTable:
    """A latency table from random networks of a space, measured whole.

    The error of networks left out is looked at after every 50; when the last 100 have not lowered it by a tenth, it
    is enough.

    Args:
        space: Whose pieces are wanted.
        task: Of the networks.
        device: That `measure` measures on.
        measure: Cost of an architecture. One that comes without a latency is passed over.
        runtime: Name of what executes them.
        threads: Of the runtime.
        networks: Exactly so many are measured, or all that the space has; None stops by the error, at
            `MOST_NETWORKS` at the latest.
        seconds: After which no further network is measured, once there are 50.
        enough: Error at which it stops, too, once there are 100 networks.
        seed: Of the networks.
        on_progress: Called after each network and each fit.

    Raises:
        InputError: No network came with a latency, or few of many.
    """
    limit = networks or MOST_NETWORKS
    pieces = _all_pieces(space, task, seed)
    samples: list[Sample] = []
    errors: list[float] = []
    start = time.monotonic()
    on_progress(TableProgress(0, limit, None))
    for tried, (architecture, parts) in enumerate(even_networks(space, task, seed), 1):
        latency = measure(space, architecture).latency
        if latency is not None:
            samples.append(Sample(tuple(parts), latency.p50_ms, latency.spread))
        on_progress(TableProgress(len(samples), limit, errors[-1] if errors else None))
        if tried >= _MOST_TRIED * max(len(samples), _STEP):
            raise InputError(
                f"of {tried} networks of space {space.name!r} {len(samples)} came near enough to the budget to be "
                "timed; raise the bounds, or lower --width"
            )
        late = seconds is not None and time.monotonic() - start > seconds
        if len(samples) == limit or (late and len(samples) >= _STEP):
            break
        if latency is None:
            continue
        if len(samples) % _STEP == 0:
            errors.append(float(np.median(np.abs(fit_latencies(samples, ()).errors))))
            on_progress(TableProgress(len(samples), limit, errors[-1]))
            if networks is None and (settled(errors) or (len(errors) > 1 and errors[-1] <= enough)):
                break
    if not samples:
        raise InputError(f"no network of space {space.name!r} could be timed; raise the budget")
    return _table(space, task, device, samples, pieces, runtime=runtime, threads=threads)


def settled(errors: Sequence[float]) -> bool:
    """Whether the last two of the errors after every 50 networks brought less than a tenth."""
    return len(errors) > 2 and errors[-1] > _IMPROVES * errors[-3]


def even_networks(space: SharedSpace, task: Task, seed: int) -> Iterator[tuple[Architecture, list[Piece]]]:
    """Canonical architectures, all different, with their pieces, so that each piece comes up about equally often.

    Of sixteen random ones it is always the one whose pieces were the rarest so far. It ends when the space seems to
    have no others.
    """
    rng = random.Random(seed)
    seen: set[Architecture] = set()
    held: Counter[str] = Counter()

    def rarity(pieces: Sequence[Piece]) -> float:
        return sum(1 / (1 + held[piece.key]) for piece in pieces) / len(pieces)

    fruitless = 0
    while fruitless < _FRUITLESS:
        drawn = [random_architecture(space, rng) for _ in range(_TO_CHOOSE_FROM)]
        rows = [(architecture, space.pieces(architecture, task)) for architecture in drawn]
        rows.sort(key=lambda row: rarity(row[1]), reverse=True)
        canonical = ((space.canonical(architecture, task), pieces) for architecture, pieces in rows)
        found = next((row for row in canonical if row[0] not in seen), None)
        fruitless = 0 if found else fruitless + 1
        if found:
            seen.add(found[0])
            held.update({piece.key for piece in found[1]})
            yield found


def _all_pieces(space: SharedSpace, task: Task, seed: int) -> dict[str, Piece]:
    """By their keys; architectures are drawn until five hundred in a row have nothing new."""
    rng = random.Random(seed)
    found: dict[str, Piece] = {}
    idle = 0
    for _ in range(_MOST_DRAWS):
        before = len(found)
        found |= {piece.key: piece for piece in space.pieces(random_architecture(space, rng), task)}
        idle = idle + 1 if len(found) == before else 0
        if idle == _IDLE_DRAWS:
            break
    return found


def _table(
    space: SharedSpace,
    task: Task,
    device: Device,
    samples: Sequence[Sample],
    drawn: dict[str, Piece],
    *,
    runtime: str,
    threads: int,
) -> LatencyTable:
    held = Counter(key for sample in samples for key in {piece.key for piece in sample.pieces})
    pieces = drawn | {piece.key: piece for sample in samples for piece in sample.pieces}
    ordered = [pieces[key] for key in sorted(pieces)]
    fit = fit_latencies(samples, ordered)
    off = np.abs(fit.errors)
    return LatencyTable(
        space=space.name,
        settings=json.loads(json.dumps(space.settings())),
        task=task,
        device=device.describe(),
        machine=device.fingerprint(),
        runtime=device.runtime_label(runtime),
        threads=threads,
        networks=len(samples),
        error=round(float(np.median(off)), 4),
        error_p90=round(float(np.quantile(off, 0.9)), 4),
        measured=datetime.now().astimezone().isoformat(timespec="seconds"),
        overhead=_rounded(fit.overhead),
        rates=fit.rates,
        entries={
            piece.key: Entry(piece.kind, piece.madds, piece.elements, held[piece.key], *_nanoseconds(entry))
            for piece, entry in zip(ordered, fit.entries, strict=True)
        },
    )


def _rounded(quantiles: Quantiles) -> Quantiles:
    return Quantiles(*_nanoseconds(quantiles))


def _nanoseconds(quantiles: Quantiles) -> tuple[float, float, float]:
    """Milliseconds without the digits that nothing can know."""
    return round(quantiles.p10_ms, 6), round(quantiles.p50_ms, 6), round(quantiles.p90_ms, 6)
