"""How long a search may run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archfit.errors import InputError
from archfit.study.record import TrialRecord

DEFAULT_SECONDS = 30 * 60.0


@dataclass(frozen=True)
class Limits:
    """A search stops at whichever comes first; without any, after 30 minutes.

    Attributes:
        trials: Architectures proposed in all, pruned and failed ones too.
        seconds: For search and final training together.
        patience: Trials in a row without a better reward, pruned ones too; see `trials_since_best`.
        search_share: Of the seconds, that the search has; the finalists get the rest.
    """

    trials: int | None = None
    seconds: float | None = None
    patience: int | None = None
    search_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("trials", "seconds", "patience"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} is {value}; it must be above zero")

    def with_default(self) -> Limits:
        """Itself, or 30 minutes where nothing is limited."""
        if self.trials is None and self.seconds is None and self.patience is None:
            return replace(self, seconds=DEFAULT_SECONDS)
        return self

    def to_json(self) -> dict[str, Any]:
        """What a user may ask for."""
        return {name: value for name, value in asdict(self).items() if name != "search_share"}

    @property
    def search_seconds(self) -> float | None:
        """That the search has; None where only trials are counted."""
        return self.search_share * self.seconds if self.seconds is not None else None

    @property
    def final_seconds(self) -> float | None:
        """That the finalists have at least."""
        return (1 - self.search_share) * self.seconds if self.seconds is not None else None


def trials_since_best(trials: Sequence[TrialRecord]) -> int:
    """Trials after the trained one with the best reward; all of them if none was trained. Failed ones, repeats and
    networks that were trained on are left out.

    Args:
        trials: That ended, in the order they did.
    """
    counted = [t for t in trials if t.state in ("complete", "pruned") and t.repeat_of is None and t.promotes is None]
    rewards = [t.reward if t.state == "complete" and t.reward is not None else float("-inf") for t in counted]
    if not rewards or max(rewards) == float("-inf"):
        return len(counted)
    return len(counted) - 1 - rewards.index(max(rewards))
