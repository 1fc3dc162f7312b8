"""The latency of any network of a space, looked up piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archfit.architecture import SearchSpace, Task
from archfit.cost import Latency, Piece
from archfit.device.kind_rates import Array, Rates
from archfit.device.latency_fit import Quantiles
from archfit.device.protocol import Device
from archfit.errors import InputError, unknown_name

TABLE_FORMAT = 2
_AGAIN = "measure one by: archfit measure --space NAME --image-size PIXELS --classes N --out FILE"


@dataclass(frozen=True)
class Entry:
    """What a piece adds to a whole network.

    Attributes:
        kind: Of the piece.
        madds: Of the piece.
        elements: Of the piece.
        networks: That held it among the measured ones; 0 where it is judged by pieces like it alone.
        p10_ms: 10th percentile of what is known of it.
        p50_ms: Median, which predictions use.
        p90_ms: 90th percentile.
    """

    kind: str
    madds: int
    elements: int
    networks: int
    p10_ms: float
    p50_ms: float
    p90_ms: float


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of the pieces of a space's networks on one device, from whole networks that were measured there.

    Where two pieces are in every network, only their sum is known; how it is shared between them is a guess.

    Attributes:
        space: Name.
        settings: Of the space.
        task: What its networks are built for.
        device: For people, as `Device.describe`.
        machine: Fingerprint of the device.
        runtime: With its version.
        threads: Of the runtime.
        networks: That were measured.
        error: Median relative error of a network's latency as predicted from all others.
        error_p90: 90th percentile of the same.
        measured: When, ISO 8601.
        overhead: What every network costs beside its pieces.
        rates: Per kind, for pieces that have no entry.
        entries: By the piece's key.
        batch: Images per inference.
    """

    space: str
    settings: Mapping[str, Any]
    task: Task
    device: str
    machine: str
    runtime: str
    threads: int
    networks: int
    error: float
    error_p90: float
    measured: str
    overhead: Quantiles
    rates: Mapping[str, Rates]
    entries: Mapping[str, Entry]
    batch: int = 1

    def predict(self, pieces: Sequence[Piece]) -> float:
        """Latency of a network in ms.

        A piece without an entry costs what its kind and size make expect; `unmeasured` counts those.

        Args:
            pieces: Of the network, as its space gives them.

        Raises:
            InputError: A piece has no entry, and none of its kind has one.
        """
        return self.overhead.p50_ms + sum(self._ms(piece) for piece in pieces)

    def latency(self, pieces: Sequence[Piece]) -> Latency:
        """The same with its error: p10 and p90 are those of networks that the table has not seen."""
        p50_ms = self.predict(pieces)
        return Latency(
            p50_ms,
            p50_ms * (1 - self.error_p90),
            p50_ms * (1 + self.error_p90),
            self.error,
            0,
            self.device,
            self.runtime,
            self.threads,
            self.batch,
        )

    def predict_many(self, networks: Sequence[Sequence[Piece]]) -> Array:
        """Latencies in ms, `(networks,)`, as of `predict`."""
        ms = [self._ms(piece) for pieces in networks for piece in pieces]
        owner = np.repeat(np.arange(len(networks)), [len(pieces) for pieces in networks])
        total = np.bincount(owner, weights=ms, minlength=len(networks))
        return np.asarray(self.overhead.p50_ms + total, dtype=np.float64)

    def unmeasured(self, pieces: Sequence[Piece]) -> int:
        """How many of the pieces were in no measured network."""
        return sum(piece.key not in self.entries or not self.entries[piece.key].networks for piece in pieces)

    def check(self, space: SearchSpace, task: Task, device: Device, *, runtime: str, threads: int) -> None:
        """Raises `InputError` with both values, if the table is not of this space, input, device and runtime."""
        pairs: list[tuple[str, object, object]] = [
            ("space", self.space, space.name),
            *_different(dict(self.settings), json.loads(json.dumps(space.settings()))),
            *((name.replace("_", " "), mine, getattr(task, name)) for name, mine in asdict(self.task).items()),
            ("device", self.device, device.describe()),
            ("machine", self.machine, device.fingerprint()),
            ("runtime", self.runtime, device.runtime_label(runtime)),
            ("threads", self.threads, threads),
        ]
        for what, mine, wanted in pairs:
            if mine != wanted:
                raise InputError(f"the latency table is of {what} {mine}, and {what} {wanted} is asked for; {_AGAIN}")

    def to_json(self) -> dict[str, Any]:
        return {"format": TABLE_FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LatencyTable:
        """Inverse of `to_json`. Raises `KeyError`, `TypeError` or `AttributeError` where it is something else."""
        parts = {name: content for name, content in value.items() if name != "format"}
        parts["task"] = Task(**value["task"])
        parts["overhead"] = Quantiles(**value["overhead"])
        parts["rates"] = {kind: Rates(**rate) for kind, rate in value["rates"].items()}
        parts["entries"] = {key: Entry(**entry) for key, entry in value["entries"].items()}
        return cls(**parts)

    def text(self) -> str:
        """`to_json` as text, one entry to a line."""
        content = self.to_json()
        lines = [f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in content.pop("entries").items()]
        head = json.dumps(content, indent=1).removesuffix("\n}")
        return head + ',\n "entries": {\n' + ",\n".join(lines) + "\n }\n}\n"

    @classmethod
    def read(cls, path: Path) -> LatencyTable:
        """The table in a file. Raises `InputError` where there is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (found := content["format"]) != TABLE_FORMAT:
                raise InputError(
                    f"{path} has format {found}, and this version of archfit reads {TABLE_FORMAT}; {_AGAIN}"
                )
            return cls.from_json(content)
        except OSError as error:
            raise InputError(f"latency table {path} cannot be read ({error.strerror}); {_AGAIN}") from None
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a latency table ({error}); {_AGAIN}") from None

    def _ms(self, piece: Piece) -> float:
        entry = self.entries.get(piece.key)
        if entry is not None:
            return entry.p50_ms
        if piece.kind not in self.rates:
            raise unknown_name("kind of piece in the latency table", piece.kind, self.rates)
        return self.rates[piece.kind].predict(piece)


def _different(mine: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Settings that are not alike, those inside of others by their own names."""
    for name in (*mine, *(name for name in wanted if name not in mine)):
        here, there = mine.get(name), wanted.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            yield from _different(here, there)
        elif here != there:
            yield name, here, there
