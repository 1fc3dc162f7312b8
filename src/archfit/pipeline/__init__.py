"""The user's verbs: from inputs to a run folder."""

from archfit.pipeline.compare import Comparison, compare
from archfit.pipeline.estimate import Estimate, dry_run
from archfit.pipeline.measure import Measured, measure, predict
from archfit.pipeline.outcome import Best, SearchResult
from archfit.pipeline.plan import Objects
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.train import TrainResult, is_training
from archfit.pipeline.verbs import (
    load,
    make_budget,
    recorded,
    report,
    resume,
    search,
    start,
    train,
)
from archfit.pipeline.watch import Silent, TrainingStatus, Watch

__all__ = [
    "Best",
    "Comparison",
    "Estimate",
    "Measured",
    "Objects",
    "SearchRequest",
    "SearchResult",
    "Silent",
    "TrainResult",
    "TrainingStatus",
    "Watch",
    "compare",
    "dry_run",
    "is_training",
    "load",
    "make_budget",
    "measure",
    "predict",
    "recorded",
    "report",
    "resume",
    "search",
    "start",
    "train",
]
