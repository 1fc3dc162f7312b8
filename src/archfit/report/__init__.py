"""What a finished run says of itself: the terminal summary, the page and its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfit._lazy import door

if TYPE_CHECKING:
    from archfit.report.comparison import Compared, write_comparison
    from archfit.report.evidence import comparable, pareto_front, search_against_random
    from archfit.report.load import read_result, result_from_json
    from archfit.report.page import write_report
    from archfit.report.record import RunResult
    from archfit.report.sharing import evidence_sentence
    from archfit.report.summary import print_summary
    from archfit.report.training import TrainRecord, print_training, read_training, write_training_page

__all__ = [
    "Compared",
    "RunResult",
    "TrainRecord",
    "comparable",
    "evidence_sentence",
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

# Late, so that reading a record does not import Plotly.
__getattr__, __dir__ = door(
    __name__,
    {
        "comparison": ["Compared", "write_comparison"],
        "evidence": ["comparable", "pareto_front", "search_against_random"],
        "load": ["read_result", "result_from_json"],
        "page": ["write_report"],
        "record": ["RunResult"],
        "sharing": ["evidence_sentence"],
        "summary": ["print_summary"],
        "training": ["TrainRecord", "print_training", "read_training", "write_training_page"],
    },
)
