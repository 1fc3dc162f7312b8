"""The user's verbs: from inputs to a run folder."""

from archfit.pipeline.outcome import Best, SearchResult
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.search import Objects
from archfit.pipeline.verbs import (
    Estimate,
    Measured,
    dry_run,
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
