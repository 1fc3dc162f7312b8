"""The user's verbs: from inputs to a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfit._lazy import door

if TYPE_CHECKING:
    from archfit.pipeline.benching import Bench, bench_samplers
    from archfit.pipeline.comparing import Comparison, compare
    from archfit.pipeline.estimate import Estimate, dry_run
    from archfit.pipeline.measuring import Measured, measure, predict
    from archfit.pipeline.outcome import Best, SearchResult
    from archfit.pipeline.plan import Objects
    from archfit.pipeline.request import SearchRequest
    from archfit.pipeline.tabling import measure_space
    from archfit.pipeline.training import TrainResult, is_training
    from archfit.pipeline.verbs import load, make_budget, recorded, report, resume, search, start, train
    from archfit.pipeline.watch import Silent, TrainingStatus, Watch

__all__ = [
    "Bench",
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
    "bench_samplers",
    "compare",
    "dry_run",
    "is_training",
    "load",
    "make_budget",
    "measure",
    "measure_space",
    "predict",
    "recorded",
    "report",
    "resume",
    "search",
    "start",
    "train",
]

# Late, so that comparing and measuring do not wait for what only training needs.
__getattr__, __dir__ = door(
    __name__,
    {
        "benching": ["Bench", "bench_samplers"],
        "comparing": ["Comparison", "compare"],
        "estimate": ["Estimate", "dry_run"],
        "measuring": ["Measured", "measure", "predict"],
        "outcome": ["Best", "SearchResult"],
        "plan": ["Objects"],
        "request": ["SearchRequest"],
        "tabling": ["measure_space"],
        "training": ["TrainResult", "is_training"],
        "verbs": ["load", "make_budget", "recorded", "report", "resume", "search", "start", "train"],
        "watch": ["Silent", "TrainingStatus", "Watch"],
    },
)
