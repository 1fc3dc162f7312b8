"""The user's verbs: from inputs to a run folder."""

from archfit.pipeline.estimate import Estimate, dry_run
from archfit.pipeline.outcome import Best, SearchResult
from archfit.pipeline.plan import Objects
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.verbs import (
    Measured,
    load,
    make_budget,
    measure,
    predict,
    recorded,
    report,
    resume,
    search,
    start,
)
from archfit.pipeline.watch import Silent, TrainingStatus, Watch

__all__ = [
    "Best",
    "Estimate",
    "Measured",
    "Objects",
    "SearchRequest",
    "SearchResult",
    "Silent",
    "TrainingStatus",
    "Watch",
    "dry_run",
    "load",
    "make_budget",
    "measure",
    "predict",
    "recorded",
    "report",
    "resume",
    "search",
    "start",
]
