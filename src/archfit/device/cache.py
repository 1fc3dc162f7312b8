"""What was measured before: one small file per cost, and the anchor's references, in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import platformdirs

from archfit._files import write_whole
from archfit.cost import Cost

COST_FORMAT = 3
"""Raise it when costs measured before are no longer comparable: old entries are then not found."""


def cache_key(**parts: Any) -> str:
    """64 hex digits of the parts' JSON and `COST_FORMAT`; the order of the parts does not matter.

    A cost depends on the canonical architecture, the space's settings, the task, runtime and version, threads, batch
    and the device's fingerprint: pass all of them.
    """
    text = json.dumps({**parts, "cost_format": COST_FORMAT}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class CostCache:
    """Costs and anchor references on disk.

    A disk that cannot be read or written costs time, not the search: it warns once, and measures again.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Nothing is read or written yet.

        Args:
            root: By default $ARCHFIT_CACHE, else the user's cache folder for archfit.
        """
        given = os.environ.get("ARCHFIT_CACHE")
        self.root = root or (Path(given) if given else platformdirs.user_cache_path("archfit"))
        self._warned = False

    def get(self, key: str) -> Cost | None:
        """The cost stored under the key; None if there is none, or it cannot be read."""
        value = self._read(self.root / "costs" / f"{key}.json")
        try:
            return _checked(Cost.from_json(value)) if isinstance(value, dict) else None
        except (TypeError, ValueError, AttributeError):
            return None

    def put(self, key: str, cost: Cost) -> None:
        self._write(self.root / "costs" / f"{key}.json", cost.to_json())

    def get_reference(self, key: str) -> float | None:
        """The anchor's time in ms stored under the key; None if there is none, or it cannot be read."""
        value = self._read(self.root / "anchors" / f"{key}.json")
        number = value.get("p50_ms") if isinstance(value, dict) else None
        return float(number) if isinstance(number, int | float) and 0 < number < math.inf else None

    def put_reference(self, key: str, p50_ms: float) -> None:
        self._write(self.root / "anchors" / f"{key}.json", {"p50_ms": p50_ms})

    def _read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:  # neither JSON nor UTF-8: cut short by a crash, say
            return None
        except OSError as error:
            self._warn("read", error)
            return None

    def _write(self, path: Path, value: Any) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(value).encode())
        except OSError as error:
            self._warn("write", error)

    def _warn(self, verb: str, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"cannot {verb} the cost cache at {self.root} ({error.strerror}); networks are measured again "
                "each time; set ARCHFIT_CACHE to a folder that can be written",
                RuntimeWarning,
                stacklevel=4,
            )


def _checked(cost: Cost) -> Cost:
    """The cost itself. Raises `ValueError` where a number is missing or impossible."""
    counts = (cost.params, cost.madds, cost.memory_bytes, cost.file_bytes)
    times = (cost.latency.p10_ms, cost.latency.p50_ms, cost.latency.p90_ms) if cost.latency else ()
    if not all(count is None or (isinstance(count, int) and count >= 0) for count in counts):
        raise ValueError(f"counts {counts} are not all whole numbers")
    if cost.params is None or cost.madds is None or not all(0 < time < math.inf for time in times):
        raise ValueError(f"{cost} is not complete")
    return cost
