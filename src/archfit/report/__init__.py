"""What a finished run says of itself: the terminal summary, the page and its figures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archfit.report.evidence import pareto_front, search_against_random
    from archfit.report.load import read_result, result_from_json
    from archfit.report.page import write_report
    from archfit.report.record import RunResult
    from archfit.report.summary import print_summary

_HOMES = {
    "RunResult": "record",
    "pareto_front": "evidence",
    "print_summary": "summary",
    "read_result": "load",
    "result_from_json": "load",
    "search_against_random": "evidence",
    "write_report": "page",
}

__all__ = [
    "RunResult",
    "pareto_front",
    "print_summary",
    "read_result",
    "result_from_json",
    "search_against_random",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # Late, so that reading a record does not import Plotly.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
