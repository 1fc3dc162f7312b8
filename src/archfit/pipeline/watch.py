"""What a long verb tells whoever watches it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from archfit.cost import Budget

if TYPE_CHECKING:
    from archfit.study.search import SearchStatus
    from archfit.study.shared_state import SharedStatus


@dataclass(frozen=True)
class TrainingStatus:
    """Full trainings that run beside each other.

    Attributes:
        title: As in "finalists" or "references".
        networks: Name -> the fields of `archfit.training.Progress`, for those that have begun.
        total: Number of networks.
        elapsed: Seconds since they began, or went on.
        seconds_left: By what was done in these; None where that is too little to tell by.
    """

    title: str
    networks: dict[str, dict[str, Any]]
    total: int
    elapsed: float
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """Of all steps, done, in [0, 1]."""
        return float(sum(p["step"] / p["steps"] for p in self.networks.values()) / max(1, self.total))


class TrainingClock:
    """Says how long full trainings have yet; what they had done before it was made tells nothing of their speed.

    Args:
        title: As in "finalists" or "references".
        total: Number of networks.
    """

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._start = time.monotonic()
        self._before: dict[str, float] = {}

    def status(self, networks: dict[str, dict[str, Any]]) -> TrainingStatus:
        """As of now.

        Args:
            networks: Name -> the fields of `archfit.training.Progress`, for those that have begun.
        """
        for name, progress in networks.items():
            self._before.setdefault(name, progress["step"] / progress["steps"])
        elapsed = time.monotonic() - self._start
        status = TrainingStatus(self._title, networks, self._total, elapsed)
        done = status.share - sum(self._before.values()) / max(1, self._total)
        return replace(status, seconds_left=elapsed * (1 - status.share) / done) if done > 0.02 else status


class Watch(Protocol):
    """Shows progress; every method may be called often and must be quick."""

    def started(self, folder: Path) -> None:
        """The run has a folder now; it can be resumed from there once it has a trial."""
        ...

    def note(self, text: str) -> None:
        """One line worth keeping: a decision, a skipped image, a lost worker."""
        ...

    def step(self, text: str) -> None:
        """What is being done now, until the next call of any method."""
        ...

    def searching(self, status: SearchStatus, budget: Budget) -> None:
        """The search changed."""
        ...

    def sharing(self, status: SharedStatus, budget: Budget) -> None:
        """The supernet or its controller learnt."""
        ...

    def training(self, status: TrainingStatus) -> None:
        """Full trainings went on."""
        ...


class Silent:
    """Shows nothing: the default in Python."""

    def started(self, folder: Path) -> None:
        del folder

    def note(self, text: str) -> None:
        del text

    def step(self, text: str) -> None:
        del text

    def searching(self, status: SearchStatus, budget: Budget) -> None:
        del status, budget

    def sharing(self, status: SharedStatus, budget: Budget) -> None:
        del status, budget

    def training(self, status: TrainingStatus) -> None:
        del status
