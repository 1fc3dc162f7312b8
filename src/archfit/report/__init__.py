"""What a finished run says of itself: the terminal summary, the page and its figures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archfit.report.comparison import Compared, write_comparison
    from archfit.report.evidence import pareto_front, search_against_random
    from archfit.report.load import read_result, result_from_json
    from archfit.report.page import write_report
    from archfit.report.record import RunResult
    from archfit.report.summary import print_summary
    from archfit.report.training import TrainRecord, print_training, read_training, write_training_page

_HOMES = {
    "write_training_page": "training",
    "read_training": "training",
    "print_training": "training",
    "TrainRecord": "training",
    "Compared": "comparison",
    "RunResult": "record",
    "pareto_front": "evidence",
    "print_summary": "summary",
    "read_result": "load",
    "result_from_json": "load",
    "search_against_random": "evidence",
    "write_comparison": "comparison",
    "write_report": "page",
}

__all__ = [
    "Compared",
    "RunResult",
    "TrainRecord",
    "pareto_front",
    "print_summary",
    "print_training",
    "read_result",
    "read_training",
    "result_from_json",
    "search_against_random",
    "write_comparison",
    "write_report",
    "write_training_page",
]


def __getattr__(name: str) -> Any:
    # Late, so that reading a record does not import Plotly.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
